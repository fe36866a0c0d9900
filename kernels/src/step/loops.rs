//! The direct loops: the rule over whole slices of one length, compiled once per choice of options.

use crate::lanes::{self, Real};
use crate::rule::{Factors, Hyperparameters, Lines, decay, momentum, update};
use crate::simd::Level;
use pulp::{Simd, WithSimd};

/// A loop over parameter, gradient and buffer of one length, compiled for one choice of options.
type Loop<T> = fn(Level, &Factors<T>, &mut [T], &[T], &mut [T]);

/// The rule with the options of a group chosen, ready to run over slices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel<T> {
    factors: Factors<T>,
    first: Loop<T>,
    later: Loop<T>,
}

impl<T: Real> Kernel<T> {
    /// Chooses the loops of a group.
    pub(crate) fn new(h: &Hyperparameters) -> Self {
        Kernel {
            factors: Factors::new(h, T::from_f64),
            first: choose(h, true),
            later: choose(h, false),
        }
    }

    /// The hyperparameters as the loops read them.
    pub(crate) fn factors(&self) -> &Factors<T> {
        &self.factors
    }

    /// One step, the first one of a parameter or a later one. The slices have one length; without
    /// momentum the buffer is not touched.
    #[inline(always)]
    pub(crate) fn run(&self, level: Level, first: bool, p: &mut [T], g: &[T], b: &mut [T]) {
        let run = if first { self.first } else { self.later };
        run(level, &self.factors, p, g, b);
    }
}

fn choose<T: Real>(h: &Hyperparameters, first: bool) -> Loop<T> {
    if h.sign { choose_decay::<T, true>(h, first) } else { choose_decay::<T, false>(h, first) }
}

fn choose_decay<T: Real, const SIGN: bool>(h: &Hyperparameters, first: bool) -> Loop<T> {
    use decay::{COUPLED, DECOUPLED, NONE};
    match h.decay() {
        NONE => choose_momentum::<T, NONE, SIGN>(h, first),
        COUPLED => choose_momentum::<T, COUPLED, SIGN>(h, first),
        _ => choose_momentum::<T, DECOUPLED, SIGN>(h, first),
    }
}

fn choose_momentum<T: Real, const DECAY: u8, const SIGN: bool>(
    h: &Hyperparameters,
    first: bool,
) -> Loop<T> {
    use momentum::{FIRST, FIRST_NESTEROV, LATER, LATER_NESTEROV};
    match (h.momentum != 0.0, first, h.nesterov) {
        (false, _, _) => |level, f, p, g, _| {
            lanes::run::<T, _>(level, Unbuffered::<T, DECAY, SIGN> { f, p, g });
        },
        (true, true, false) => buffered::<T, DECAY, FIRST, SIGN>,
        (true, true, true) => buffered::<T, DECAY, FIRST_NESTEROV, SIGN>,
        (true, false, false) => buffered::<T, DECAY, LATER, SIGN>,
        (true, false, true) => buffered::<T, DECAY, LATER_NESTEROV, SIGN>,
    }
}

fn buffered<T: Real, const DECAY: u8, const MOMENTUM: u8, const SIGN: bool>(
    level: Level,
    f: &Factors<T>,
    p: &mut [T],
    g: &[T],
    b: &mut [T],
) {
    lanes::run::<T, _>(level, Buffered::<T, DECAY, MOMENTUM, SIGN> { f, p, g, b });
}

/// The loop without a momentum buffer.
struct Unbuffered<'a, T, const DECAY: u8, const SIGN: bool> {
    f: &'a Factors<T>,
    p: &'a mut [T],
    g: &'a [T],
}

impl<T: Real, const DECAY: u8, const SIGN: bool> WithSimd for Unbuffered<'_, T, DECAY, SIGN> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lines = Lines { decay: DECAY, momentum: momentum::NONE, sign: SIGN };
        let (a, f) = (T::arithmetic(s), self.f.map(|factor| T::splat(s, factor)));
        let step = |p, g| update(a, &f, lines, p, g, g).0;
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
struct Buffered<'a, T, const DECAY: u8, const MOMENTUM: u8, const SIGN: bool> {
    f: &'a Factors<T>,
    p: &'a mut [T],
    g: &'a [T],
    b: &'a mut [T],
}

impl<T: Real, const DECAY: u8, const MOMENTUM: u8, const SIGN: bool> WithSimd
    for Buffered<'_, T, DECAY, MOMENTUM, SIGN>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let lines = Lines { decay: DECAY, momentum: MOMENTUM, sign: SIGN };
        let (a, f) = (T::arithmetic(s), self.f.map(|factor| T::splat(s, factor)));
        let step = |p, g, b| update(a, &f, lines, p, g, b);
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
