//! Checked rows of the tensor table, as tasks of a step.

use super::extras::Extras;
use super::layout::{GroupRow, Row, dtype};
use super::parts::run_other;
use super::row_checks::check;
use super::slots::slot;
use crate::dtype::RoundEveryOp;
use crate::error::Error;
use crate::parallel::{Runner, TaskList};
use crate::step::{Plan, Slot, Types, fail};
use half::{bf16, f16};

/// Rows of the tensor table, checked. The owner of this value has exclusive access to the arrays.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    rows: &'a [Row],
    /// The number of the first row in the whole table.
    from: usize,
    clear: bool,
    /// What few steps have beside rows.
    extras: Option<&'a Extras<'a>>,
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
        extras: Option<&'a Extras<'a>>,
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
        Ok(Rows { rows: &rows[from..], from, clear, extras, dtypes, bytes })
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
            if let Some(extras) = self.extras {
                return extras.run(row, from + index, clear, runner);
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
