//! Sparse gradients: the rule for a matrix of which only some rows have a gradient.
//!
//! A row may be named more than once. As in torch, what comes out depends on the options:
//!
//! - without momentum and sign, each entry is a step of its own, in the order in which they come;
//! - else the entries of a row are added up first, in that order, and make one step;
//! - with momentum, a row without an entry has a gradient of zeros. That changes nothing before the
//!   row's first entry, as its buffer is all zeros: so a step writes the rows that are in use, which
//!   have had an entry in some step.
//!
//! Weight decay is refused, because torch refuses it: it would write every row.

mod part;
mod sort;
mod used;

use crate::config::Config;
use crate::error::Error;
use crate::lanes::Real;
use crate::parallel::PARALLEL_BYTES;
use crate::rule::Hyperparameters;
use crate::step::loops::Kernel;
use part::{Mode, Part, Shared};
pub use sort::Scratch;

/// One matrix of a step, row by row.
#[derive(Debug)]
pub struct SparseSlot<'a, T> {
    /// The parameter: [rows, columns], updated in place.
    pub param: &'a mut [T],
    /// The momentum buffer, of the same shape; all zeros at the first step. Empty without momentum.
    pub buffer: &'a mut [T],
    /// The rows that have a gradient, in any order.
    pub indices: &'a [u32],
    /// Their gradients: [indices, columns].
    pub values: &'a [T],
    /// Elements of a row.
    pub columns: usize,
    /// Whether the buffer has never been written.
    pub first: bool,
    /// The rows in use, a bit for each row, to which the step adds those that it names: all other rows
    /// of the buffer are +0. None if every row may be in use.
    pub used: Option<&'a mut [u32]>,
    /// The index of its group's hyperparameters.
    pub group: usize,
}

/// A sparse step of any supported type.
#[derive(Debug)]
pub enum SparseTensor<'a> {
    /// float32
    F32(SparseSlot<'a, f32>),
    /// float64
    F64(SparseSlot<'a, f64>),
}

/// One step of every matrix, in place. All checks come before the first write.
///
/// # Errors
/// A group that does not exist or decays, an index out of range, lengths that differ.
pub fn step(
    tensors: &mut [SparseTensor<'_>],
    groups: &[Hyperparameters],
    scratch: &mut Scratch,
    config: &Config,
) -> Result<(), Error> {
    for (number, tensor) in tensors.iter().enumerate() {
        match tensor {
            SparseTensor::F32(slot) => slot.check(number, groups)?,
            SparseTensor::F64(slot) => slot.check(number, groups)?,
        }
    }
    for tensor in tensors {
        match tensor {
            SparseTensor::F32(slot) => slot.step(groups, scratch, config)?,
            SparseTensor::F64(slot) => slot.step(groups, scratch, config)?,
        }
    }
    Ok(())
}

impl<T: Real> SparseSlot<'_, T> {
    fn check(&self, number: usize, groups: &[Hyperparameters]) -> Result<(), Error> {
        let fail = |what: &str| Err(Error::Table(format!("Cannot step matrix {number} as {what}")));
        let Some(h) = groups.get(self.group) else {
            return fail("its group does not exist");
        };
        if h.weight_decay != 0.0 {
            return fail("a sparse gradient needs weight decay 0");
        }
        if self.columns == 0 || !self.param.len().is_multiple_of(self.columns) {
            return fail("its length is not a multiple of its columns");
        }
        if self.indices.len().checked_mul(self.columns) != Some(self.values.len()) {
            return fail("its indices and values differ in number");
        }
        if self.buffer.len() != if h.momentum == 0.0 { 0 } else { self.param.len() } {
            return fail("its momentum buffer has another length");
        }
        let rows = self.param.len() / self.columns;
        if self.used.as_ref().is_some_and(|bits| !used::fits(bits, rows)) {
            return fail("its rows in use are not rows of it");
        }
        match self.indices.iter().find(|&&row| row as usize >= rows) {
            Some(row) => fail(&format!("row {row} does not exist")),
            None => Ok(()),
        }
    }

    fn step(
        &mut self,
        groups: &[Hyperparameters],
        scratch: &mut Scratch,
        config: &Config,
    ) -> Result<(), Error> {
        let h = &groups[self.group];
        let rows = self.param.len() / self.columns;
        let buffered = h.momentum != 0.0;
        let listed = match &mut self.used {
            Some(bits) if buffered => scratch.list_used(bits, self.indices, rows),
            _ => false,
        };
        let mode = match (buffered, self.first, h.sign) {
            (false, _, false) => Mode::EachEntry,
            (true, false, _) if listed => Mode::UsedRows,
            (true, false, _) => Mode::EveryRow,
            _ => Mode::NamedRows,
        };
        let (keys, used) = scratch.sort(self.indices, rows);
        let used = if mode == Mode::UsedRows { used } else { &[] };
        let shared = Shared {
            mode,
            kernel: Kernel::new(h),
            first: self.first,
            level: config.level(),
            values: self.values,
            columns: self.columns,
        };
        let part = Part { from: 0, param: self.param, buffer: self.buffer, keys, used };
        if config.threads() == 1 || part.work(&shared) * size_of::<T>() < PARALLEL_BYTES {
            part.run(&shared);
        } else {
            config.pool()?.install(|| part.run_split(&shared));
        }
        Ok(())
    }
}
