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
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Elements that one task of the parallel region takes: large enough to hide the cost of a task,
/// small enough to balance two threads within a few percent on a model of a million elements.
const CHUNK: usize = 1 << 15;

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

    #[inline(always)]
    fn step(&mut self, groups: &[Group], level: Level, parallel: bool) {
        match self {
            Tensor::F32(slot) => slot.step(&groups[slot.group].f32, level, parallel),
            Tensor::F64(slot) => slot.step(&groups[slot.group].f64, level, parallel),
        }
    }
}

/// One step of every tensor, in place. All checks come before the first write.
///
/// # Errors
/// A group that does not exist, lengths that differ, views with gaps, and a missing buffer.
pub fn step(tensors: &mut [Tensor<'_>], groups: &[Group], config: &Config) -> Result<(), Error> {
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
    fn step(&mut self, kernels: &Kernels<T>, level: Level, parallel: bool) {
        let kernel = if self.first { &kernels.first } else { &kernels.later };
        if parallel && self.grad.len() > CHUNK {
            return self.step_in_chunks(kernel, level);
        }
        let param = self.param.as_slice_mut().unwrap_or_default();
        let grad = self.grad.as_slice().unwrap_or_default();
        let buffer = self.buffer.as_mut().and_then(|b| b.as_slice_mut()).unwrap_or_default();
        kernel.run(level, param, grad, buffer);
    }

    #[inline(never)]
    fn step_in_chunks(&mut self, kernel: &Kernel<T>, level: Level) {
        let params = self.param.axis_chunks_iter_mut(Axis(0), CHUNK).into_par_iter();
        let grads = self.grad.axis_chunks_iter(Axis(0), CHUNK).into_par_iter();
        let chunks = params.zip(grads);
        match &mut self.buffer {
            Some(buffer) => chunks
                .zip(buffer.axis_chunks_iter_mut(Axis(0), CHUNK).into_par_iter())
                .for_each(|((p, g), b)| kernel.run(level, owned(p), read(g), owned(b))),
            None => chunks.for_each(|(p, g)| kernel.run(level, owned(p), read(g), &mut [])),
        }
    }
}

#[cold]
fn fail(index: usize, what: &str) -> Result<(), Error> {
    Err(Error::Table(format!("Cannot step tensor {index} as {what}")))
}

/// The elements of a view that `Slot::check` has found contiguous.
fn owned<T>(view: ArrayViewMut1<'_, T>) -> &mut [T] {
    view.into_slice().unwrap_or_default()
}

/// As `owned`, to read.
fn read<T>(view: ArrayView1<'_, T>) -> &[T] {
    view.to_slice().unwrap_or_default()
}

/// A group's hyperparameters, with the compiled loop chosen for each type and state.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    buffered: bool,
    f32: Kernels<f32>,
    f64: Kernels<f64>,
}

impl Group {
    /// Chooses the loops.
    pub fn new(h: &Hyperparameters) -> Self {
        Group { buffered: h.momentum != 0.0, f32: Kernels::new(h), f64: Kernels::new(h) }
    }
}

/// The loops of one type.
#[derive(Clone, Copy, Debug)]
struct Kernels<T> {
    first: Kernel<T>,
    later: Kernel<T>,
}

impl<T: Real> Kernels<T> {
    fn new(h: &Hyperparameters) -> Self {
        Kernels { first: Kernel::new(h, true), later: Kernel::new(h, false) }
    }
}

/// A loop over parameter, gradient and buffer of one length, compiled for one choice of options.
type Sweep<T> = fn(Level, Factors<T>, &mut [T], &[T], &mut [T]);

/// The rule with all options chosen, ready to run over slices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel<T> {
    factors: Factors<T>,
    sweep: Sweep<T>,
}

impl<T: Real> Kernel<T> {
    /// Chooses the loop.
    pub(crate) fn new(h: &Hyperparameters, first: bool) -> Self {
        Kernel { factors: Factors::new(h), sweep: choose_sweep(h, first) }
    }

    /// Slices have one length; without momentum the buffer is not touched.
    #[inline(always)]
    pub(crate) fn run(&self, level: Level, p: &mut [T], g: &[T], b: &mut [T]) {
        (self.sweep)(level, self.factors, p, g, b);
    }
}

fn choose_sweep<T: Real>(h: &Hyperparameters, first: bool) -> Sweep<T> {
    match (h.weight_decay != 0.0, h.sign) {
        (false, false) => choose_momentum::<T, false, false>(h, first),
        (false, true) => choose_momentum::<T, false, true>(h, first),
        (true, false) => choose_momentum::<T, true, false>(h, first),
        (true, true) => choose_momentum::<T, true, true>(h, first),
    }
}

fn choose_momentum<T: Real, const D: bool, const S: bool>(
    h: &Hyperparameters,
    first: bool,
) -> Sweep<T> {
    use momentum::{FIRST, FIRST_NESTEROV, LATER, LATER_NESTEROV};
    match (h.momentum != 0.0, first, h.nesterov) {
        (false, _, _) => |level, f, p, g, _| level.run(Plain::<T, D, S> { f, p, g }),
        (true, true, false) => sweep::<T, D, FIRST, S>,
        (true, true, true) => sweep::<T, D, FIRST_NESTEROV, S>,
        (true, false, false) => sweep::<T, D, LATER, S>,
        (true, false, true) => sweep::<T, D, LATER_NESTEROV, S>,
    }
}

fn sweep<T: Real, const D: bool, const M: u8, const S: bool>(
    level: Level,
    f: Factors<T>,
    p: &mut [T],
    g: &[T],
    b: &mut [T],
) {
    level.run(Buffered::<T, D, M, S> { f, p, g, b });
}

/// The loop without a momentum buffer.
struct Plain<'a, T, const DECAY: bool, const SIGN: bool> {
    f: Factors<T>,
    p: &'a mut [T],
    g: &'a [T],
}

impl<T: Real, const DECAY: bool, const SIGN: bool> WithSimd for Plain<'_, T, DECAY, SIGN> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let f = self.f.splat(s);
        let step = |p, g| update::<T, S, DECAY, { momentum::NONE }, SIGN>(s, &f, p, g, g).0;
        let (p, p_rest) = T::split_mut::<S>(self.p);
        let (g, g_rest) = T::split::<S>(self.g);
        for (p, &g) in p.iter_mut().zip(g) {
            *p = step(*p, g);
        }
        if !p_rest.is_empty() {
            let p = step(T::load(s, p_rest), T::load(s, g_rest));
            T::store(s, p_rest, p);
        }
    }
}

/// The loop with a momentum buffer.
struct Buffered<'a, T, const DECAY: bool, const MOMENTUM: u8, const SIGN: bool> {
    f: Factors<T>,
    p: &'a mut [T],
    g: &'a [T],
    b: &'a mut [T],
}

impl<T: Real, const DECAY: bool, const MOMENTUM: u8, const SIGN: bool> WithSimd
    for Buffered<'_, T, DECAY, MOMENTUM, SIGN>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let f = self.f.splat(s);
        let step = |p, g, b| update::<T, S, DECAY, MOMENTUM, SIGN>(s, &f, p, g, b);
        let (p, p_rest) = T::split_mut::<S>(self.p);
        let (g, g_rest) = T::split::<S>(self.g);
        let (b, b_rest) = T::split_mut::<S>(self.b);
        for ((p, &g), b) in p.iter_mut().zip(g).zip(b) {
            (*p, *b) = step(*p, g, *b);
        }
        if !p_rest.is_empty() {
            let (p, b) = step(T::load(s, p_rest), T::load(s, g_rest), T::load(s, b_rest));
            T::store(s, p_rest, p);
            T::store(s, b_rest, b);
        }
    }
}
