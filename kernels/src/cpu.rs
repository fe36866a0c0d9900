//! The CPU path: the rule over whole tensors, in one pass over memory.
//!
//! A step reads parameter, gradient and buffer once and writes parameter and buffer once: 20 bytes
//! per float32 element with momentum, 12 without (16 on a first step, which does not read the
//! buffer). Arrays of one step do not overlap, which ndarray's views already say in their types.

use crate::config::Config;
use crate::error::Error;
use crate::rule::{Factors, Hyperparameters, Real, momentum, update};
use crate::simd::Level;
use ndarray::{ArrayView1, ArrayViewMut1, Axis};
use pulp::NullaryFnOnce;
use rayon::prelude::*;

/// Elements that one task of the parallel region takes: large enough to hide the cost of a task,
/// small enough to balance two threads within a few percent on a model of a million elements.
const CHUNK: usize = 1 << 15;

/// Bytes below which a step stays on the calling thread, because waking another costs more.
const PARALLEL_BYTES: usize = 1 << 20;

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
    fn bytes(&self) -> usize {
        match self {
            Tensor::F32(slot) => slot.grad.len() * size_of::<f32>(),
            Tensor::F64(slot) => slot.grad.len() * size_of::<f64>(),
        }
    }

    fn check(&self, index: usize, groups: &[Hyperparameters]) -> Result<(), Error> {
        match self {
            Tensor::F32(slot) => slot.check(index, groups),
            Tensor::F64(slot) => slot.check(index, groups),
        }
    }

    fn step(&mut self, groups: &[Hyperparameters], level: Level, parallel: bool) {
        match self {
            Tensor::F32(slot) => slot.step(groups, level, parallel),
            Tensor::F64(slot) => slot.step(groups, level, parallel),
        }
    }
}

/// One step of every tensor, in place. All checks come before the first write.
///
/// # Errors
/// A group that does not exist, lengths that differ, views with gaps, and a missing buffer.
pub fn step(
    tensors: &mut [Tensor<'_>],
    groups: &[Hyperparameters],
    config: &Config,
) -> Result<(), Error> {
    let mut bytes = 0_usize;
    for (index, tensor) in tensors.iter().enumerate() {
        tensor.check(index, groups)?;
        bytes = bytes.saturating_add(tensor.bytes());
    }
    let level = config.level();
    if config.threads() == 1 || bytes < PARALLEL_BYTES {
        tensors.iter_mut().for_each(|tensor| tensor.step(groups, level, false));
    } else {
        config.pool()?.install(|| {
            tensors.par_iter_mut().for_each(|tensor| tensor.step(groups, level, true));
        });
    }
    Ok(())
}

impl<T: Real> Slot<'_, T> {
    fn check(&self, index: usize, groups: &[Hyperparameters]) -> Result<(), Error> {
        let fail = |what: &str| Err(Error::Table(format!("Cannot step tensor {index} as {what}")));
        let Some(group) = groups.get(self.group) else {
            return fail("its group does not exist");
        };
        if self.grad.len() != self.param.len() {
            return fail("its gradient has another length");
        }
        if self.param.as_slice().is_none() || self.grad.as_slice().is_none() {
            return fail("its data or gradient is not contiguous");
        }
        match &self.buffer {
            None if group.momentum != 0.0 => fail("it has no momentum buffer"),
            Some(buffer) if buffer.len() != self.param.len() || buffer.as_slice().is_none() => {
                fail("its momentum buffer has another length or is not contiguous")
            }
            _ => Ok(()),
        }
    }

    fn step(&mut self, groups: &[Hyperparameters], level: Level, parallel: bool) {
        let group = &groups[self.group];
        let kernel = Kernel::new(group, self.first, level);
        if parallel && self.grad.len() > CHUNK {
            self.step_in_chunks(&kernel);
        } else {
            let buffer = self.buffer.as_mut().and_then(|b| b.as_slice_mut());
            let (param, grad) = (self.param.as_slice_mut(), self.grad.as_slice());
            kernel.run(param.unwrap_or_default(), grad.unwrap_or_default(), buffer);
        }
    }

    fn step_in_chunks(&mut self, kernel: &Kernel<T>) {
        let params = self.param.axis_chunks_iter_mut(Axis(0), CHUNK).into_par_iter();
        let grads = self.grad.axis_chunks_iter(Axis(0), CHUNK).into_par_iter();
        let chunks = params.zip(grads);
        match &mut self.buffer {
            Some(buffer) => chunks
                .zip(buffer.axis_chunks_iter_mut(Axis(0), CHUNK).into_par_iter())
                .for_each(|((p, g), b)| kernel.run(owned(p), read(g), Some(owned(b)))),
            None => chunks.for_each(|(p, g)| kernel.run(owned(p), read(g), None)),
        }
    }
}

/// The elements of a view that `Slot::check` has found contiguous.
fn owned<T>(view: ArrayViewMut1<'_, T>) -> &mut [T] {
    view.into_slice().unwrap_or_default()
}

/// As `owned`, to read.
fn read<T>(view: ArrayView1<'_, T>) -> &[T] {
    view.to_slice().unwrap_or_default()
}

/// The rule with one group's options chosen, ready to run over slices.
struct Kernel<T> {
    factors: Factors<T>,
    decay: bool,
    momentum: u8,
    sign: bool,
    level: Level,
}

impl<T: Real> Kernel<T> {
    fn new(group: &Hyperparameters, first: bool, level: Level) -> Self {
        let momentum = match (group.momentum != 0.0, first, group.nesterov) {
            (false, _, _) => momentum::NONE,
            (true, true, false) => momentum::FIRST,
            (true, true, true) => momentum::FIRST_NESTEROV,
            (true, false, false) => momentum::LATER,
            (true, false, true) => momentum::LATER_NESTEROV,
        };
        let decay = group.weight_decay != 0.0;
        Kernel { factors: Factors::new(group), decay, momentum, sign: group.sign, level }
    }

    /// Chooses the compiled loop. Slices have one length.
    fn run(&self, p: &mut [T], g: &[T], b: Option<&mut [T]>) {
        match (self.decay, self.sign) {
            (false, false) => self.run_with::<false, false>(p, g, b),
            (false, true) => self.run_with::<false, true>(p, g, b),
            (true, false) => self.run_with::<true, false>(p, g, b),
            (true, true) => self.run_with::<true, true>(p, g, b),
        }
    }

    fn run_with<const D: bool, const S: bool>(&self, p: &mut [T], g: &[T], b: Option<&mut [T]>) {
        use momentum::{FIRST, FIRST_NESTEROV, LATER, LATER_NESTEROV};
        let (f, level) = (&self.factors, self.level);
        let Some(b) = b.filter(|_| self.momentum != momentum::NONE) else {
            return level.run(Plain::<T, D, S> { f, p, g });
        };
        match self.momentum {
            FIRST => level.run(Buffered::<T, D, FIRST, S> { f, p, g, b }),
            FIRST_NESTEROV => level.run(Buffered::<T, D, FIRST_NESTEROV, S> { f, p, g, b }),
            LATER => level.run(Buffered::<T, D, LATER, S> { f, p, g, b }),
            _ => level.run(Buffered::<T, D, LATER_NESTEROV, S> { f, p, g, b }),
        }
    }
}

/// The loop without a momentum buffer.
struct Plain<'a, T, const DECAY: bool, const SIGN: bool> {
    f: &'a Factors<T>,
    p: &'a mut [T],
    g: &'a [T],
}

impl<T: Real, const DECAY: bool, const SIGN: bool> NullaryFnOnce for Plain<'_, T, DECAY, SIGN> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (p, &g) in self.p.iter_mut().zip(self.g) {
            (*p, _) = update::<T, DECAY, { momentum::NONE }, SIGN>(self.f, *p, g, g);
        }
    }
}

/// The loop with a momentum buffer.
struct Buffered<'a, T, const DECAY: bool, const MOMENTUM: u8, const SIGN: bool> {
    f: &'a Factors<T>,
    p: &'a mut [T],
    g: &'a [T],
    b: &'a mut [T],
}

impl<T: Real, const DECAY: bool, const MOMENTUM: u8, const SIGN: bool> NullaryFnOnce
    for Buffered<'_, T, DECAY, MOMENTUM, SIGN>
{
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for ((p, &g), b) in self.p.iter_mut().zip(self.g).zip(self.b.iter_mut()) {
            (*p, *b) = update::<T, DECAY, MOMENTUM, SIGN>(self.f, *p, g, *b);
        }
    }
}
