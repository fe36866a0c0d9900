//! Checked rows of the tensor table, as tasks of a step.

use super::addends::AddendTable;
use super::layout::{GroupRow, Row, dtype};
use super::mixed::{mixed, mixed_with};
use super::pointers::pointer;
use super::row_checks::check;
use crate::dtype::RoundEveryOp;
use crate::error::Error;
use crate::gradients::addends::Addends;
use crate::parallel::{Runner, TaskList};
use crate::step::{Gradient, Plan, Slot, Summed, Types, fail};
use half::{bf16, f16};
use ndarray::{ArrayView1, ArrayViewMut1};
use std::marker::PhantomData;

/// Where the row of a part of a tensor comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The number of the tensor, by which its random bits differ from others'.
    pub number: u32,
    /// The element of the tensor that the part begins with.
    pub offset: usize,
    /// The address of the part's scales, if momentum has 8 bits.
    pub scales: u64,
}

/// Rows of the tensor table, checked. The owner of this value has exclusive access to the arrays.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    rows: &'a [Row],
    /// The number of the first row in the whole table.
    from: usize,
    clear: bool,
    /// What is added to their gradients.
    addends: Option<&'a AddendTable<'a>>,
    /// Where they come from, if they are parts.
    origins: Option<&'a [Origin]>,
    /// A bit for each dtype that occurs.
    dtypes: u32,
    /// Bytes of all gradients.
    pub bytes: usize,
}

impl<'a> Rows<'a> {
    /// Checks all rows from one on.
    ///
    /// # Safety
    /// The rows' addresses are null or valid for `length` elements of their type, exclusive for all that
    /// is written, for as long as `'a`; gradients are written if they are to be cleared.
    #[inline(always)]
    pub unsafe fn new(
        rows: &'a [Row],
        from: usize,
        groups: &[GroupRow],
        clear: bool,
        addends: Option<&'a AddendTable<'a>>,
    ) -> Result<Self, Error> {
        let (mut dtypes, mut bytes) = (0, 0_usize);
        for (index, row) in rows.iter().enumerate().skip(from) {
            if row.is_idle() {
                continue;
            }
            check(index, row)?;
            check_group(index, row, groups)?;
            dtypes |= 1_u32 << row.dtype();
            bytes = bytes.wrapping_add(bytes_of(row));
        }
        Ok(Rows { rows: &rows[from..], from, clear, addends, origins: None, dtypes, bytes })
    }

    /// Checks rows that are parts of tensors.
    ///
    /// # Safety
    /// As for [`Rows::new`]; scales are exclusive too.
    pub unsafe fn of_parts(
        rows: &'a [Row],
        origins: &'a [Origin],
        groups: &[GroupRow],
        addends: Option<&'a AddendTable<'a>>,
    ) -> Result<Self, Error> {
        // SAFETY: the caller's promise.
        let rows = unsafe { Rows::new(rows, 0, groups, false, addends) }?;
        Ok(Rows { origins: Some(origins), ..rows })
    }

    /// The types that the rows are computed in.
    pub fn types(&self) -> Types {
        use dtype::{
            BF16, BF16_PER_OP, BF16_STOCHASTIC, F16, F16_PER_OP, F16_STOCHASTIC, F32, F64,
        };
        let any = |dtypes: &[u32]| dtypes.iter().any(|dtype| self.dtypes >> dtype & 1 != 0);
        Types {
            f32: any(&[F32, F16, BF16, F16_STOCHASTIC, BF16_STOCHASTIC]),
            f64: any(&[F64]),
            f16: any(&[F16_PER_OP]),
            bf16: any(&[BF16_PER_OP]),
        }
    }
}

/// Checks that a row's group exists, and that it has a momentum buffer if the group needs one.
#[inline(always)]
fn check_group(index: usize, row: &Row, groups: &[GroupRow]) -> Result<(), Error> {
    match groups.get(row.group as usize) {
        None => Err(fail(index, "its group does not exist")),
        Some(group) if row.buffer == 0 && group.is_buffered() => {
            Err(fail(index, "it has no momentum buffer"))
        }
        _ => Ok(()),
    }
}

/// Bytes of the gradient of a row that is not idle, in the type that is computed in.
#[inline(always)]
fn bytes_of(row: &Row) -> usize {
    let element = if row.dtype() == dtype::F64 { size_of::<f64>() } else { size_of::<f32>() };
    element.wrapping_mul(row.length as usize)
}

impl TaskList for Rows<'_> {
    type Plan = Plan;

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self, index: usize) -> usize {
        let row = &self.rows[index];
        if row.is_idle() { 0 } else { bytes_of(row) }
    }

    #[inline(always)]
    fn run(&mut self, index: usize, runner: &Runner<'_, Plan>) {
        let &mut Rows { from, clear, .. } = self;
        let row = &self.rows[index];
        if row.is_idle() {
            return;
        }
        // SAFETY: `check` has found the addresses neither null nor unaligned, `Rows::new`'s caller
        // vouches for them, and no slot lives longer than the exclusive borrow of these rows.
        unsafe {
            if let Some(addends) = self.addends {
                let number = from + index;
                let origin = self.origins.map(|origins| origins[number]);
                return run_summed(row, number as u32, clear, (addends.of(number), origin), runner);
            }
            if let Some(origins) = self.origins {
                return run_part(row, origins[from + index], runner);
            }
            match row.code() {
                dtype::F32 => runner.run::<Slot<'_, f32, f32, f32>>(slot(row, clear)),
                dtype::F64 => runner.run::<Slot<'_, f64, f64, f64>>(slot(row, clear)),
                _ => run_other(row, (from + index) as u32, clear, runner),
            }
        }
    }

    fn split(self, index: usize) -> (Self, Self) {
        let (a, b) = self.rows.split_at(index);
        (Rows { rows: a, ..self }, Rows { rows: b, from: self.from + index, ..self })
    }
}

/// A tensor that is stepped as it is, whatever the row says of a master copy.
///
/// # Safety
/// The row's addresses are null or aligned and valid for `length` elements of `H`, the buffer's of `B`,
/// exclusive for all that is written, for as long as `'a`.
#[inline(always)]
unsafe fn slot<'a, H, B, T>(row: &Row, clear: bool) -> Slot<'a, H, B, T> {
    let &Row { data, grad, buffer, length, group, .. } = row;
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
            first: row.is_first(),
            group: group as usize,
            computed: PhantomData,
        }
    }
}

/// Runs a tensor that is not stored as it is computed with.
///
/// # Safety
/// As for [`slot`] and [`mixed`].
#[inline(never)]
unsafe fn run_other(row: &Row, number: u32, clear: bool, runner: &Runner<'_, Plan>) {
    use dtype::{BF16_PER_OP, F16_PER_OP};
    type PerOp<'a, H> = Slot<'a, H, H, RoundEveryOp<H>>;
    // SAFETY: the caller's promise.
    unsafe {
        match row.dtype() {
            F16_PER_OP => runner.run::<PerOp<'_, f16>>(slot(row, clear)),
            BF16_PER_OP => runner.run::<PerOp<'_, bf16>>(slot(row, clear)),
            _ => runner.run(mixed(row, number, clear)),
        }
    }
}

/// Runs a part of a tensor of any kind.
///
/// # Safety
/// As for [`slot`] and [`mixed`].
#[inline(never)]
unsafe fn run_part(row: &Row, origin: Origin, runner: &Runner<'_, Plan>) {
    let Origin { number, offset, scales } = origin;
    // SAFETY: the caller's promise.
    unsafe {
        match row.code() {
            dtype::F32 => runner.run::<Slot<'_, f32, f32, f32>>(slot(row, false)),
            dtype::F64 => runner.run::<Slot<'_, f64, f64, f64>>(slot(row, false)),
            dtype::F16_PER_OP | dtype::BF16_PER_OP => run_other(row, number, false, runner),
            _ => runner.run(mixed_with(row, number, false, scales).starting_at(offset)),
        }
    }
}

/// Runs a tensor of any kind, or a part of one, whose gradient others may be added to.
///
/// # Safety
/// As for [`slot`] and [`mixed`].
#[inline(never)]
unsafe fn run_summed(
    row: &Row,
    number: u32,
    clear: bool,
    (addends, origin): (Addends<'_>, Option<Origin>),
    runner: &Runner<'_, Plan>,
) {
    use dtype::{BF16_PER_OP, F16_PER_OP, F32, F64};
    type Own<'a, H, T> = Slot<'a, H, H, T>;
    // SAFETY: the caller's promise.
    unsafe {
        if addends.is_empty() {
            return match row.code() {
                F32 => runner.run::<Own<'_, f32, f32>>(slot(row, clear)),
                F64 => runner.run::<Own<'_, f64, f64>>(slot(row, clear)),
                _ => run_other(row, number, clear, runner),
            };
        }
        match row.code() {
            F64 => runner.run(Summed { tensor: slot::<f64, f64, f64>(row, clear), addends }),
            F16_PER_OP => {
                let tensor: Own<'_, f16, RoundEveryOp<f16>> = slot(row, clear);
                runner.run(Summed { tensor, addends });
            }
            BF16_PER_OP => {
                let tensor: Own<'_, bf16, RoundEveryOp<bf16>> = slot(row, clear);
                runner.run(Summed { tensor, addends });
            }
            _ => {
                let tensor = match origin {
                    None => mixed(row, number, clear),
                    Some(Origin { number, offset, scales }) => {
                        mixed_with(row, number, clear, scales).starting_at(offset)
                    }
                };
                runner.run(Summed { tensor, addends });
            }
        }
    }
}

/// # Safety
/// The address is null or aligned, valid for `length` elements and nobody else's, for as long as `'a`.
#[inline(always)]
unsafe fn view<'a, T>(word: u64, length: usize) -> Option<ArrayViewMut1<'a, T>> {
    // SAFETY: the caller's promise.
    (word != 0).then(|| unsafe { ArrayViewMut1::from_shape_ptr(length, pointer(word)) })
}
