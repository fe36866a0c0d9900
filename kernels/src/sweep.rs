//! The loops: the rule over slices of one length, compiled once per choice of options.

use crate::rule::{Factors, Hyperparameters, Real, momentum, update};
use crate::simd::Level;
use pulp::{Simd, WithSimd};

/// A group's hyperparameters, with the compiled loop chosen for each type and state.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub(crate) buffered: bool,
    pub(crate) f32: Kernels<f32>,
    pub(crate) f64: Kernels<f64>,
}

impl Group {
    /// Chooses the loops.
    pub fn new(h: &Hyperparameters) -> Self {
        Group { buffered: h.momentum != 0.0, f32: Kernels::new(h), f64: Kernels::new(h) }
    }
}

/// The loops of one type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernels<T> {
    first: Kernel<T>,
    later: Kernel<T>,
}

impl<T: Real> Kernels<T> {
    pub(crate) fn new(h: &Hyperparameters) -> Self {
        Kernels { first: Kernel::new(h, true), later: Kernel::new(h, false) }
    }

    /// The loop of a parameter's first step, or of a later one.
    #[inline(always)]
    pub(crate) fn choose(&self, first: bool) -> &Kernel<T> {
        if first { &self.first } else { &self.later }
    }
}

/// A loop over parameter, gradient and buffer of one length, compiled for one choice of options.
type Sweep<T> = fn(Level, &Factors<T>, &mut [T], &[T], &mut [T]);

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
        (self.sweep)(level, &self.factors, p, g, b);
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
        (false, _, _) => |level, f, p, g, _| T::run(level, Plain::<T, D, S> { f, p, g }),
        (true, true, false) => sweep::<T, D, FIRST, S>,
        (true, true, true) => sweep::<T, D, FIRST_NESTEROV, S>,
        (true, false, false) => sweep::<T, D, LATER, S>,
        (true, false, true) => sweep::<T, D, LATER_NESTEROV, S>,
    }
}

fn sweep<T: Real, const D: bool, const M: u8, const S: bool>(
    level: Level,
    f: &Factors<T>,
    p: &mut [T],
    g: &[T],
    b: &mut [T],
) {
    T::run(level, Buffered::<T, D, M, S> { f, p, g, b });
}

/// The loop without a momentum buffer.
struct Plain<'a, T, const DECAY: bool, const SIGN: bool> {
    f: &'a Factors<T>,
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
    f: &'a Factors<T>,
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
