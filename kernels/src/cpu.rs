//! A step of float32 and float64 tensors, in one pass over memory.
//!
//! A step reads parameter, gradient and buffer once and writes parameter and buffer once: 20 bytes
//! per float32 element with momentum, 12 without (16 on a first step, which does not read the
//! buffer). Arrays of one step do not overlap, which ndarray's views already say in their types.

use crate::config::Config;
use crate::error::Error;
use crate::rule::Real;
use crate::share::{self, Tensors, Work, middle_of};
use crate::simd::Level;
use crate::sweep::{Group, Kernel};
use ndarray::{ArrayView1, ArrayViewMut1, Axis};

/// One parameter of a step: its data, gradient and momentum buffer, contiguous and of one length.
#[derive(Debug)]
pub struct Slot<'a, T> {
    /// The parameter, updated in place.
    pub param: ArrayViewMut1<'a, T>,
    /// Its gradient, only read.
    pub grad: ArrayView1<'a, T>,
    /// Its momentum buffer, updated in place; needed if the group has momentum.
    pub buffer: Option<ArrayViewMut1<'a, T>>,
    /// Whether the buffer has never been written: it is then not read.
    pub first: bool,
    /// The index of its group's hyperparameters.
    pub group: usize,
}

/// A parameter of any supported type.
#[derive(Debug)]
pub enum Tensor<'a> {
    /// float32
    F32(Slot<'a, f32>),
    /// float64
    F64(Slot<'a, f64>),
}

impl Tensor<'_> {
    fn reborrow(&mut self) -> Tensor<'_> {
        match self {
            Tensor::F32(slot) => Tensor::F32(slot.reborrow()),
            Tensor::F64(slot) => Tensor::F64(slot.reborrow()),
        }
    }
}

impl Work for Tensor<'_> {
    type Plan = [Group];

    #[inline(always)]
    fn bytes(&self) -> usize {
        match self {
            Tensor::F32(slot) => size_of::<f32>() * slot.grad.len(),
            Tensor::F64(slot) => size_of::<f64>() * slot.grad.len(),
        }
    }

    #[inline(always)]
    fn check(&self, index: usize, groups: &[Group]) -> Result<(), Error> {
        match self {
            Tensor::F32(slot) => slot.check(index, groups),
            Tensor::F64(slot) => slot.check(index, groups),
        }
    }

    fn halve(self) -> (Self, Self) {
        match self {
            Tensor::F32(slot) => both(slot.halve(), Tensor::F32),
            Tensor::F64(slot) => both(slot.halve(), Tensor::F64),
        }
    }

    #[inline(always)]
    fn sweep(self, groups: &[Group], level: Level) {
        match self {
            Tensor::F32(slot) => {
                let kernel = groups[slot.group].f32.choose(slot.first);
                slot.sweep(kernel, level);
            }
            Tensor::F64(slot) => {
                let kernel = groups[slot.group].f64.choose(slot.first);
                slot.sweep(kernel, level);
            }
        }
    }
}

pub(crate) fn both<A, B>((a, b): (A, A), wrap: impl Fn(A) -> B) -> (B, B) {
    (wrap(a), wrap(b))
}

impl<'t> Tensors for &mut [Tensor<'t>] {
    type Work<'a>
        = Tensor<'a>
    where
        Self: 'a;
    type Plan = [Group];

    fn count(&self) -> usize {
        self.len()
    }
    fn at(&mut self, index: usize) -> Option<Tensor<'_>> {
        Some(self[index].reborrow())
    }
    fn split(self, index: usize) -> (Self, Self) {
        self.split_at_mut(index)
    }
}

/// One step of every tensor, in place. All checks come before the first write.
///
/// # Errors
/// A group that does not exist, lengths that differ, views with gaps, and a missing buffer.
pub fn step<T>(tensors: T, groups: &[Group], config: &Config) -> Result<(), Error>
where
    T: Tensors<Plan = [Group]>,
{
    share::run(tensors, groups, config)
}

impl<T: Real> Slot<'_, T> {
    fn reborrow(&mut self) -> Slot<'_, T> {
        Slot {
            param: self.param.view_mut(),
            grad: self.grad.view(),
            buffer: self.buffer.as_mut().map(|buffer| buffer.view_mut()),
            ..*self
        }
    }

    #[inline(always)]
    fn check(&self, index: usize, groups: &[Group]) -> Result<(), Error> {
        let Some(group) = groups.get(self.group) else {
            return fail(index, "its group does not exist");
        };
        if self.grad.len() != self.param.len() {
            return fail(index, "its gradient has another length");
        }
        if self.param.as_slice().is_none() || self.grad.as_slice().is_none() {
            return fail(index, "its data or gradient is not contiguous");
        }
        match &self.buffer {
            None if group.buffered => fail(index, "it has no momentum buffer"),
            Some(buffer) if buffer.len() != self.param.len() || buffer.as_slice().is_none() => {
                fail(index, "its momentum buffer has another length or is not contiguous")
            }
            _ => Ok(()),
        }
    }

    #[inline(always)]
    fn sweep(self, kernel: &Kernel<T>, level: Level) {
        let param = self.param.into_slice().unwrap_or_default();
        let grad = self.grad.to_slice().unwrap_or_default();
        let buffer = self.buffer.and_then(ArrayViewMut1::into_slice).unwrap_or_default();
        kernel.run(level, param, grad, buffer);
    }

    fn halve(self) -> (Self, Self) {
        let middle = middle_of(self.grad.len());
        let (param, param_rest) = self.param.split_at(Axis(0), middle);
        let (grad, grad_rest) = self.grad.split_at(Axis(0), middle);
        let (buffer, buffer_rest) = self.buffer.map(|b| b.split_at(Axis(0), middle)).unzip();
        (
            Slot { param, grad, buffer, ..self },
            Slot { param: param_rest, grad: grad_rest, buffer: buffer_rest, ..self },
        )
    }
}

#[cold]
pub(crate) fn fail(index: usize, what: &str) -> Result<(), Error> {
    Err(Error::Table(format!("Cannot step tensor {index} as {what}")))
}
