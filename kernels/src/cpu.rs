//! The CPU path: the rule over whole tensors, in one pass over memory.
//!
//! A step reads parameter, gradient and buffer once and writes parameter and buffer once: 20 bytes
//! per float32 element with momentum, 12 without (16 on a first step, which does not read the
//! buffer). Arrays of one step do not overlap, which ndarray's views already say in their types.

use crate::config::Config;
use crate::error::Error;
use crate::rule::Real;
use crate::simd::Level;
use crate::sweep::{Group, Kernel};
use ndarray::{ArrayView1, ArrayViewMut1, Axis};

/// Bytes of gradients that a thread takes at a time: enough to hide what handing them over costs,
/// few enough to balance two threads within a few percent on a model of a million elements.
const GRAIN_BYTES: usize = 1 << 18;

/// Elements to whose multiples tensors are cut, so that parts begin at lines of the cache as their
/// whole does.
const LINE: usize = 16;

/// Bytes below which a step stays on the calling thread, because waking another costs more.
pub(crate) const PARALLEL_BYTES: usize = 1 << 19;

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
    #[inline(always)]
    fn bytes(&self) -> usize {
        match self {
            Tensor::F32(slot) => slot.grad.len() * size_of::<f32>(),
            Tensor::F64(slot) => slot.grad.len() * size_of::<f64>(),
        }
    }

    #[inline(always)]
    fn check(&self, index: usize, groups: &[Group]) -> Result<(), Error> {
        match self {
            Tensor::F32(slot) => slot.check(index, groups),
            Tensor::F64(slot) => slot.check(index, groups),
        }
    }

    fn reborrow(&mut self) -> Tensor<'_> {
        match self {
            Tensor::F32(slot) => Tensor::F32(slot.reborrow()),
            Tensor::F64(slot) => Tensor::F64(slot.reborrow()),
        }
    }
}

/// Where the tensors of a step come from: views are made when they are looked at, so that a step of
/// many small tensors need not write them down first.
pub trait Tensors: Sized + Send {
    /// The number of tensors.
    fn count(&self) -> usize;
    /// A tensor, or none if it takes no part in the step.
    fn at(&mut self, index: usize) -> Option<Tensor<'_>>;
    /// The tensors before an index, and the rest.
    fn split(self, index: usize) -> (Self, Self);
}

impl Tensors for &mut [Tensor<'_>] {
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
pub fn step(mut tensors: impl Tensors, groups: &[Group], config: &Config) -> Result<(), Error> {
    let mut bytes = 0_usize;
    for index in 0..tensors.count() {
        if let Some(tensor) = tensors.at(index) {
            tensor.check(index, groups)?;
            bytes = bytes.saturating_add(tensor.bytes());
        }
    }
    let alone = config.threads() == 1 || bytes < PARALLEL_BYTES;
    let grain = if alone { usize::MAX } else { GRAIN_BYTES };
    let job = Job { groups, level: config.level(), grain };
    if alone {
        job.step_all(tensors);
    } else {
        config.pool()?.install(|| job.share(tensors, bytes));
    }
    Ok(())
}

/// What all threads of a step know.
#[derive(Clone, Copy)]
struct Job<'a> {
    groups: &'a [Group],
    level: Level,
    /// Bytes of gradients that are not shared out any further.
    grain: usize,
}

impl Job<'_> {
    /// Halves the work until the parts are small, and leaves these to whichever thread is free: each
    /// thread so walks through memory in one direction.
    fn share(self, mut tensors: impl Tensors, bytes: usize) {
        if bytes <= self.grain || tensors.count() == 1 {
            return self.step_all(tensors);
        }
        let (index, before) = middle(&mut tensors, bytes);
        let (a, b) = tensors.split(index);
        rayon::join(|| self.share(a, before), || self.share(b, bytes - before));
    }

    fn step_all(self, mut tensors: impl Tensors) {
        for index in 0..tensors.count() {
            match tensors.at(index) {
                Some(Tensor::F32(slot)) => {
                    let kernel = self.groups[slot.group].f32.choose(slot.first);
                    self.step(slot, kernel);
                }
                Some(Tensor::F64(slot)) => {
                    let kernel = self.groups[slot.group].f64.choose(slot.first);
                    self.step(slot, kernel);
                }
                None => {}
            }
        }
    }

    #[inline(always)]
    fn step<T: Real>(self, slot: Slot<'_, T>, kernel: &Kernel<T>) {
        if slot.grad.len() * size_of::<T>() > self.grain {
            return self.share_one(slot, kernel);
        }
        let param = slot.param.into_slice().unwrap_or_default();
        let grad = slot.grad.to_slice().unwrap_or_default();
        let buffer = slot.buffer.and_then(ArrayViewMut1::into_slice).unwrap_or_default();
        kernel.run(self.level, param, grad, buffer);
    }

    #[inline(never)]
    fn share_one<T: Real>(self, slot: Slot<'_, T>, kernel: &Kernel<T>) {
        let (a, b) = slot.halve();
        rayon::join(|| self.step(a, kernel), || self.step(b, kernel));
    }
}

/// Where the second half of so many bytes begins, with at least one tensor on either side, and the
/// bytes before it.
fn middle(tensors: &mut impl Tensors, bytes: usize) -> (usize, usize) {
    let mut before = 0;
    for index in 0..tensors.count() - 1 {
        let next = before + tensors.at(index).map_or(0, |tensor| tensor.bytes());
        if next > bytes / 2 && index > 0 {
            return (index, before);
        }
        before = next;
    }
    (tensors.count() - 1, before)
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

    fn halve(self) -> (Self, Self) {
        let middle = (self.grad.len() / 2).next_multiple_of(LINE);
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
fn fail(index: usize, what: &str) -> Result<(), Error> {
    Err(Error::Table(format!("Cannot step tensor {index} as {what}")))
}
