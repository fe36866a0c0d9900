//! The boundary of [`crate::staged`].

use super::rows::{address, check_addresses, is_idle, pointer};
use super::sparse::step_matrices;
use super::{
    GROUP_ROW, Row, STATE_FIRST, config, group_table, guard, hyperparameters, missing, table,
};
use crate::element::Element;
use crate::error::Error;
use crate::random::Source;
use crate::rule::Real;
use crate::share::Tensors;
use crate::staged::{self, Call, Gradient, Plan, Slot, Tensor};
use ndarray::{ArrayView1, ArrayViewMut1};

/// Words of the row that says what a step does besides the rule: factor of the gradients, limit of
/// their elements, flags, the seed's two halves, the number of the step.
const CALL_ROW: usize = 6;

const FLAG_CLEAR: u32 = 1;

/// Nothing besides the rule.
const NOTHING: [f64; CALL_ROW] = [1.0, f64::INFINITY, 0.0, 0.0, 0.0, 0.0];

pub const F32: u32 = 0;
pub const F64: u32 = 1;
pub const F16: u32 = 2;
const BF16: u32 = 3;
pub const EACH_F16: u32 = 4;
const EACH_BF16: u32 = 5;
pub const STOCHASTIC_F16: u32 = 6;
const STOCHASTIC_BF16: u32 = 7;

/// Whether a row can only be stepped here.
#[inline(always)]
pub fn is_staged(row: &Row) -> bool {
    (F16..=STOCHASTIC_BF16).contains(&row.dtype())
}

/// `int32_t descent_step_with(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const double *groups, uint32_t group_count, const double *call)`: as `descent_step`, with what the
/// call row asks for.
///
/// # Safety
/// As `descent_step`; `call` is valid for reads of a call row; with its first flag, no gradient
/// overlaps any other array.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_step_with(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    groups: *const f64,
    group_count: u32,
    call: *const f64,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for all tables, and for the addresses in them.
        unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "step")?;
            step(rows, from as usize, group_table(groups, group_count, "step")?, call_row(call)?)
        }
    })
}

/// `int32_t descent_step_all(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const double *groups, uint32_t group_count, const double *call, const uint64_t *matrices,
/// uint32_t matrix_count, uint32_t first, uint32_t end)`: as `descent_step_with`, and then as
/// `descent_sparse_step` for the matrices `first..end`. It is one call, so that JavaScript, which does
/// not wait for it, cannot take the memory of the matrices away between two.
///
/// # Safety
/// As `descent_step_with` and `descent_sparse_step`.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_step_all(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    groups: *const f64,
    group_count: u32,
    call: *const f64,
    matrices: *const u64,
    matrix_count: u32,
    first: u32,
    end: u32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for all tables, and for the addresses in them.
        unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "step")?;
            let groups = group_table(groups, group_count, "step")?;
            step(rows, from as usize, groups, call_row(call)?)?;
            if first == end {
                return Ok(()); // without matrices there need not be a table of them
            }
            let matrices = table(matrices, matrix_count, first..end, "step")?;
            step_matrices(matrices, first as usize, groups)
        }
    })
}

/// # Safety
/// `call` is null or valid for reads of a call row for as long as `'a`.
unsafe fn call_row<'a>(call: *const f64) -> Result<&'a [f64; CALL_ROW], Error> {
    // SAFETY: the caller's promise.
    unsafe { call.cast::<[f64; CALL_ROW]>().as_ref() }.ok_or_else(|| missing("step"))
}

/// A plain step of rows of which some are of 16-bit types.
///
/// # Safety
/// As `descent_step`.
pub unsafe fn plain(rows: &[Row], from: usize, groups: &[[f64; GROUP_ROW]]) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    unsafe { step(rows, from, groups, &NOTHING) }
}

/// # Safety
/// As `descent_step_with`.
unsafe fn step(
    rows: &[Row],
    from: usize,
    groups: &[[f64; GROUP_ROW]],
    &[scale, limit, flags, seed_low, seed_high, number]: &[f64; CALL_ROW],
) -> Result<(), Error> {
    let source = Source { seed: [seed_low as u32, seed_high as u32], step: number as u64 };
    let groups = groups.iter().map(|row| (hyperparameters(row), row[GROUP_ROW - 1]));
    let plan = Plan::new(groups, &Call { scale, limit, source });
    let clear = flags as u32 & FLAG_CLEAR != 0;
    // SAFETY: the caller's promise.
    let rows = unsafe { Rows::new(rows, from, clear) }?;
    staged::step(rows, &plan, config()?)
}

/// Rows of the tensor table, checked. Whoever has it has the arrays of its rows to itself.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub rows: &'a [Row],
    /// The number of the first row in the whole table.
    from: usize,
    clear: bool,
}

impl<'a> Rows<'a> {
    /// Checks all rows from one on.
    ///
    /// # Safety
    /// The rows' addresses are null or valid for `length` elements of their type, exclusive for all that
    /// is written, for as long as `'a`.
    pub unsafe fn new(rows: &'a [Row], from: usize, clear: bool) -> Result<Self, Error> {
        for (index, row) in rows.iter().enumerate().skip(from) {
            if !is_idle(row) {
                check(index, row)?;
            }
        }
        Ok(Rows { rows: &rows[from..], from, clear })
    }
}

pub fn check(index: usize, row: &Row) -> Result<(), Error> {
    let &Row { buffer, master, .. } = row;
    let dtype = row.dtype();
    match dtype {
        F32 => return check_addresses::<f32>(index, row),
        F64 => return check_addresses::<f64>(index, row),
        F16..=STOCHASTIC_BF16 => check_addresses::<u16>(index, row)?,
        _ => return Err(Error::Table(format!("Cannot step row {index}: dtype {dtype}"))),
    }
    if buffer != 0 && dtype != EACH_F16 && dtype != EACH_BF16 {
        address::<f32>(index, "buffer", buffer)?;
    }
    if master != 0 {
        address::<f32>(index, "master copy", master)?;
    }
    Ok(())
}

impl Tensors for Rows<'_> {
    type Work<'a>
        = Tensor<'a>
    where
        Self: 'a;
    type Plan = Plan;

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn at(&mut self, index: usize) -> Option<Tensor<'_>> {
        let row = &self.rows[index];
        let number = (self.from + index) as u32;
        // SAFETY: `check` has found the addresses neither null nor unaligned, `Rows::new`'s caller
        // vouches for them, and the view lives no longer than the exclusive borrow of these rows.
        unsafe {
            match row.dtype() {
                _ if is_idle(row) => None,
                F32 => Some(Tensor::F32(slot(row, number, self.clear))),
                F64 => Some(Tensor::F64(slot(row, number, self.clear))),
                F16 | STOCHASTIC_F16 => Some(Tensor::F16(slot(row, number, self.clear))),
                BF16 | STOCHASTIC_BF16 => Some(Tensor::Bf16(slot(row, number, self.clear))),
                EACH_F16 => Some(Tensor::EachF16(slot(row, number, self.clear))),
                _ => Some(Tensor::EachBf16(slot(row, number, self.clear))),
            }
        }
    }

    fn split(self, index: usize) -> (Self, Self) {
        let (a, b) = self.rows.split_at(index);
        (Rows { rows: a, ..self }, Rows { rows: b, from: self.from + index, ..self })
    }
}

/// # Safety
/// The row's addresses are null or aligned and valid for `length` elements of `H`, the buffer's of `B`,
/// the master copy's of `T`, exclusive for all that is written, for as long as `'a`.
unsafe fn slot<'a, H, B, T>(row: &Row, number: u32, clear: bool) -> Slot<'a, H, B, T>
where
    H: Element<T>,
    B: Element<T>,
    T: Real,
{
    let &Row { data, grad, buffer, master, length, group, .. } = row;
    let length = length as usize;
    // SAFETY: the caller's promise.
    unsafe {
        Slot {
            param: ArrayViewMut1::from_shape_ptr(length, pointer(data)),
            grad: match clear {
                true => Gradient::Cleared(ArrayViewMut1::from_shape_ptr(length, pointer(grad))),
                false => Gradient::Kept(ArrayView1::from_shape_ptr(length, pointer(grad))),
            },
            buffer: view(buffer, length),
            // Wide tensors are stepped as they are, whatever the word says.
            master: if is_staged(row) { view(master, length) } else { None },
            first: row.state() == STATE_FIRST,
            stochastic: row.dtype() >= STOCHASTIC_F16,
            group: group as usize,
            number,
            offset: 0,
        }
    }
}

/// # Safety
/// The address is null or aligned, valid for `length` elements and nobody else's, for as long as `'a`.
unsafe fn view<'a, T>(word: u64, length: usize) -> Option<ArrayViewMut1<'a, T>> {
    // SAFETY: the caller's promise.
    (word != 0).then(|| unsafe { ArrayViewMut1::from_shape_ptr(length, pointer(word)) })
}
