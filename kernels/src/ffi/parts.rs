//! Rows that are not stored as they are computed with, and rows that are parts of tensors, as tasks of a
//! step.
#![cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "only a world steps parts"))]

use super::layout::{Row, dtype};
use super::mixed::{mixed, mixed_with};
use super::slots::slot;
use crate::dtype::RoundEveryOp;
use crate::parallel::Runner;
use crate::step::{Mixed, Plan, Slot};
use half::{bf16, f16};

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

/// A part of a tensor that is computed with in float32 and stored in other ways.
///
/// # Safety
/// As for [`mixed_with`].
pub unsafe fn mixed_part<'a>(row: &Row, origin: Origin) -> Mixed<'a> {
    let Origin { number, offset, scales } = origin;
    // SAFETY: the caller's promise.
    unsafe { mixed_with(row, number, false, scales) }.starting_at(offset)
}

/// Runs a part of a tensor of any kind.
///
/// # Safety
/// As for [`slot`] and [`mixed_with`].
#[inline(never)]
pub unsafe fn run_part(row: &Row, origin: Origin, runner: &Runner<'_, Plan>) {
    let number = origin.number;
    // SAFETY: the caller's promise.
    unsafe {
        match row.code() {
            dtype::F32 => runner.run::<Slot<'_, f32, f32, f32>>(slot(row, false)),
            dtype::F64 => runner.run::<Slot<'_, f64, f64, f64>>(slot(row, false)),
            dtype::F16_PER_OP | dtype::BF16_PER_OP => run_other(row, number, false, runner),
            _ => runner.run(mixed_part(row, origin)),
        }
    }
}

/// Runs a tensor that is not stored as it is computed with.
///
/// # Safety
/// As for [`slot`] and [`mixed`].
#[inline(never)]
pub unsafe fn run_other(row: &Row, number: u32, clear: bool, runner: &Runner<'_, Plan>) {
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
