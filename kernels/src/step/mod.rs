//! One step of tensors of any dtype, in one pass over memory.
//!
//! A tensor that is stored as it is computed with takes the direct loop: it reads parameter, gradient
//! and buffer once and writes parameter and buffer once, which is 20 bytes per float32 element with
//! momentum and 12 without (16 on a first step, which does not read the buffer). What is computed with in
//! float32 and stored otherwise, or whose gradients are unscaled, clipped or cleared, takes the loop over
//! blocks, which converts in registers. Types that are rounded after every operation, and float64 of
//! which gradients are prepared, take the tiled loop. Which loop a tensor takes depends on nothing but the
//! tensor and its group.
//!
//! Arrays of one step do not overlap, which ndarray's views already say in their types.

mod arrays;
mod averaged;
mod ballots;
mod blocks;
mod failure;
pub(crate) mod loops;
mod mixed;
mod plan;
pub(crate) mod prepare;
mod slot;
mod storage;
mod summed;
mod tiled;
mod vectors;

pub use averaged::{Averaged, Divisible};
pub use ballots::{spread, tally};
pub(crate) use failure::fail;
pub use mixed::{Mixed, MixedGradient, Momentum, Param};
pub use plan::{Call, Plan, Types};
pub use slot::{Gradient, Slot};
pub use summed::Summed;

use crate::config::Config;
use crate::dtype::RoundEveryOp;
use crate::error::Error;
use crate::parallel::{self, Runner, Task, TaskList};
use half::{bf16, f16};

/// A parameter of any supported type.
#[derive(Debug)]
pub enum Tensor<'a> {
    /// float32
    F32(Slot<'a, f32, f32, f32>),
    /// float64
    F64(Slot<'a, f64, f64, f64>),
    /// float16, rounded after every operation
    F16PerOp(Slot<'a, f16, f16, RoundEveryOp<f16>>),
    /// bfloat16, rounded after every operation
    Bf16PerOp(Slot<'a, bf16, bf16, RoundEveryOp<bf16>>),
    /// Any that is computed with in float32
    Mixed(Mixed<'a>),
}

/// Does the same with the slot of any tensor.
macro_rules! dispatch {
    ($tensor:expr, $slot:ident => $body:expr) => {
        match $tensor {
            Tensor::F32($slot) => $body,
            Tensor::F64($slot) => $body,
            Tensor::F16PerOp($slot) => $body,
            Tensor::Bf16PerOp($slot) => $body,
            Tensor::Mixed($slot) => $body,
        }
    };
}

impl TaskList for &mut [Tensor<'_>] {
    type Plan = Plan;

    fn count(&self) -> usize {
        self.len()
    }
    fn bytes(&self, index: usize) -> usize {
        dispatch!(&self[index], slot => slot.bytes())
    }
    fn run(&mut self, index: usize, runner: &Runner<'_, Plan>) {
        dispatch!(&mut self[index], slot => runner.run(slot.reborrow()));
    }
    fn split(self, index: usize) -> (Self, Self) {
        self.split_at_mut(index)
    }
}

/// One step of every tensor, in place. All checks come before the first write.
///
/// # Errors
/// A group that does not exist, lengths that differ, views with gaps, and a missing buffer.
pub fn step(tensors: &mut [Tensor<'_>], plan: &Plan, config: &Config) -> Result<(), Error> {
    let mut bytes = 0;
    for (index, tensor) in tensors.iter().enumerate() {
        bytes += dispatch!(tensor, slot => slot.check(index, plan)?);
    }
    parallel::run(tensors, bytes, plan, config)
}
