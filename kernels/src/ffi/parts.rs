//! Rows that are not stored as they are computed with, and rows that are parts of tensors, as tasks of a
//! step.
#![cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "only a world steps parts"))]

use super::layout::{Row, dtype};
use super::mixed::{mixed, mixed_with};
#[cfg(feature = "mpi")]
use super::pointers::pointer;
use super::slots::slot;
use crate::dtype::RoundEveryOp;
use crate::parallel::Runner;
#[cfg(feature = "mpi")]
use crate::registers::BLOCK;
use crate::step::{Mixed, Plan, Slot};
use half::{bf16, f16};

/// What a part of a tensor has to do with ballots.
#[derive(Clone, Copy, Debug)]
pub enum Ballots {
    /// Nothing.
    None,
    /// It casts them, into those at this address.
    #[cfg(feature = "mpi")]
    Cast(u64),
    /// It moves along those at this address, in place of its gradient.
    #[cfg(feature = "mpi")]
    Follow(u64),
}

/// Where the row of a part of a tensor comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The number of the tensor, by which its random bits differ from others'.
    pub number: u32,
    /// The element of the tensor that the part begins with.
    pub offset: usize,
    /// The address of the part's scales, if momentum has 8 bits.
    pub scales: u64,
    /// A ballot for each block, if it is computed with in float32.
    pub ballots: Ballots,
}

/// A part of a tensor that is computed with in float32 and stored in other ways.
///
/// # Safety
/// As for [`mixed_with`].
pub unsafe fn mixed_part<'a>(row: &Row, origin: Origin) -> Mixed<'a> {
    let Origin { number, offset, scales, .. } = origin;
    // SAFETY: the caller's promise.
    unsafe { mixed_with(row, number, false, scales) }.starting_at(offset)
}

/// As [`mixed_part`], of a part that casts ballots or moves along them.
///
/// # Safety
/// As for [`mixed_with`], and the address of the ballots is valid for as many as there are blocks,
/// exclusive, for as long as `'a`.
unsafe fn voting_part<'a>(row: &Row, origin: Origin) -> Mixed<'a> {
    #[cfg(feature = "mpi")]
    let ballots = |address| {
        let count = (row.length as usize).div_ceil(BLOCK);
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(pointer(address), count) }
    };
    // SAFETY: the caller's promise.
    unsafe {
        match origin.ballots {
            Ballots::None => mixed_part(row, origin),
            #[cfg(feature = "mpi")]
            Ballots::Cast(address) => mixed_part(row, origin).casting(ballots(address)),
            #[cfg(feature = "mpi")]
            Ballots::Follow(address) => mixed_part(row, origin).following(ballots(address)),
        }
    }
}

/// Runs a part of a tensor of any kind.
///
/// # Safety
/// As for [`slot`] and [`voting_part`].
#[inline(never)]
pub unsafe fn run_part(row: &Row, origin: Origin, runner: &Runner<'_, Plan>) {
    let number = origin.number;
    // SAFETY: the caller's promise.
    unsafe {
        match row.code() {
            dtype::F32 if matches!(origin.ballots, Ballots::None) => {
                runner.run::<Slot<'_, f32, f32, f32>>(slot(row, false));
            }
            dtype::F64 => runner.run::<Slot<'_, f64, f64, f64>>(slot(row, false)),
            dtype::F16_PER_OP | dtype::BF16_PER_OP => run_other(row, number, false, runner),
            _ => runner.run(voting_part(row, origin)),
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
