//! What few steps have: gradients that are added to those of rows, averages of parameters, and rows that
//! are parts of tensors.

use super::addends::AddendTable;
use super::averages::AverageTable;
use super::layout::{CallRow, Row, dtype};
use super::mixed::mixed;
use super::parts::{Origin, mixed_part, run_part};
use super::slots::slot;
use crate::dtype::RoundEveryOp;
use crate::error::Error;
use crate::gradients::addends::Addends;
use crate::parallel::Runner;
use crate::step::{Averaged, Divisible, Plan, Slot, Summed};
use half::{bf16, f16};

/// Tables of a step beside that of its rows.
#[derive(Debug)]
pub struct Extras<'a> {
    addends: Option<AddendTable<'a>>,
    averages: Option<AverageTable<'a>>,
    /// Where rows come from, if they are parts of tensors: they have no averages then.
    origins: Option<&'a [Origin]>,
}

type Own<'a, H, T> = Slot<'a, H, H, T>;
type PerOp<'a, H> = Own<'a, H, RoundEveryOp<H>>;

impl<'a> Extras<'a> {
    /// Reads the tables that a call row names, for rows from one on; `None` if it names none.
    ///
    /// # Safety
    /// As for [`AddendTable::read`] and [`AverageTable::of_call`].
    #[inline(never)]
    pub unsafe fn of_call(
        call: &CallRow,
        rows: &[Row],
        from: usize,
    ) -> Result<Option<Self>, Error> {
        // SAFETY: the caller's promise.
        let (addends, averages) = unsafe {
            (AddendTable::of_call(call, rows, from)?, AverageTable::of_call(call, rows, from)?)
        };
        let is_any = addends.is_some() || averages.is_some();
        Ok(is_any.then_some(Extras { addends, averages, origins: None }))
    }

    /// What rows have that are parts of tensors, and what is added to their gradients.
    #[cfg(feature = "mpi")]
    pub fn of_parts(origins: &'a [Origin], addends: Option<AddendTable<'a>>) -> Self {
        Extras { addends, averages: None, origins: Some(origins) }
    }

    /// Runs the tensor of a row, which is not idle, by the number of the row in the whole table.
    ///
    /// # Safety
    /// As for [`slot`], [`mixed`] and [`AverageTable::find`].
    #[inline(never)]
    pub unsafe fn run(&self, row: &Row, number: usize, clear: bool, runner: &Runner<'_, Plan>) {
        let addends = self.addends.as_ref().map_or_else(Addends::default, |all| all.of(number));
        // SAFETY: the caller's promise.
        unsafe {
            if addends.is_empty() {
                if let Some(origins) = self.origins {
                    return run_part(row, origins[number], runner);
                }
                self.run_alone(row, number, clear, runner);
            } else {
                self.run_summed(row, number, clear, addends, runner);
            }
        }
    }

    /// # Safety
    /// As for [`Extras::run`].
    unsafe fn run_alone(&self, row: &Row, number: usize, clear: bool, runner: &Runner<'_, Plan>) {
        use dtype::{BF16_PER_OP, F16_PER_OP, F32, F64};
        // SAFETY: the caller's promise.
        unsafe {
            match row.code() {
                F32 => self.hand::<Own<'_, f32, f32>>(slot(row, clear), row, number, runner),
                F64 => self.hand::<Own<'_, f64, f64>>(slot(row, clear), row, number, runner),
                F16_PER_OP => self.hand::<PerOp<'_, f16>>(slot(row, clear), row, number, runner),
                BF16_PER_OP => self.hand::<PerOp<'_, bf16>>(slot(row, clear), row, number, runner),
                _ => self.hand(mixed(row, number as u32, clear), row, number, runner),
            }
        }
    }

    /// # Safety
    /// As for [`Extras::run`].
    unsafe fn run_summed(
        &self,
        row: &Row,
        number: usize,
        clear: bool,
        addends: Addends<'_>,
        runner: &Runner<'_, Plan>,
    ) {
        use dtype::{BF16_PER_OP, F16_PER_OP, F64};
        // SAFETY: the caller's promise.
        unsafe {
            match row.code() {
                F64 => {
                    let tensor: Own<'_, f64, f64> = slot(row, clear);
                    self.hand(Summed { tensor, addends }, row, number, runner);
                }
                F16_PER_OP => {
                    let tensor: PerOp<'_, f16> = slot(row, clear);
                    self.hand(Summed { tensor, addends }, row, number, runner);
                }
                BF16_PER_OP => {
                    let tensor: PerOp<'_, bf16> = slot(row, clear);
                    self.hand(Summed { tensor, addends }, row, number, runner);
                }
                _ => {
                    let tensor = match self.origins {
                        None => mixed(row, number as u32, clear),
                        Some(origins) => mixed_part(row, origins[number]),
                    };
                    self.hand(Summed { tensor, addends }, row, number, runner);
                }
            }
        }
    }

    /// Hands a tensor to a runner, with its average if it has one.
    ///
    /// # Safety
    /// As for [`AverageTable::find`].
    unsafe fn hand<S: Divisible>(
        &self,
        tensor: S,
        row: &Row,
        number: usize,
        runner: &Runner<'_, Plan>,
    ) {
        let averages = self.averages.as_ref();
        // SAFETY: the caller's promise.
        match averages.and_then(|all| unsafe { all.find(number, row.length as usize) }) {
            None => runner.run(tensor),
            Some((average, blend)) => runner.run(Averaged { tensor, average, blend }),
        }
    }
}
