//! The rule: what one step of SGD does to one element, written once for every native path.
//!
//! With `p` the parameter, `g` its gradient and `b` its momentum buffer:
//!
//! ```text
//! g <- maximize ? -g : g
//! if weight_decay != 0:  g <- fma(weight_decay, p, g)
//! if momentum != 0:
//!     first step of this parameter:  b <- g
//!     later:                         b <- fma(1 - dampening, g, round(momentum * b))
//!     u <- nesterov ? fma(momentum, b, g) : b
//! else u <- g
//! if sign:  u <- (0 < u) - (u < 0)
//! p <- fma(-lr, u, p)
//! ```
//!
//! `fma` rounds once; `1 - dampening` and `-lr` are computed in float64 and then rounded to the
//! element's type. This is the order of operations of `torch.optim.SGD(foreach=False)`.

use crate::simd::Level;
use pulp::{Simd, WithSimd};

/// A floating-point type that the rule works on, one SIMD vector at a time.
pub trait Real: Copy + Send + Sync + 'static {
    /// A vector of this type at a SIMD level.
    type Lanes<S: Simd>: Copy;

    /// Runs a loop over this type, compiled for a level.
    #[inline(always)]
    fn run<F: WithSimd>(level: Level, body: F) -> F::Output {
        level.run(body)
    }
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// A vector of equal elements.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Lanes<S>;
    /// `a * b + c`, rounded once.
    fn fma<S: Simd>(
        simd: S,
        a: Self::Lanes<S>,
        b: Self::Lanes<S>,
        c: Self::Lanes<S>,
    ) -> Self::Lanes<S>;
    /// `a * b`, rounded.
    fn mul<S: Simd>(simd: S, a: Self::Lanes<S>, b: Self::Lanes<S>) -> Self::Lanes<S>;
    /// `(0 < a) - (a < 0)`: +1, -1, or +0 for both zeros and for NaN.
    fn sign<S: Simd>(simd: S, a: Self::Lanes<S>) -> Self::Lanes<S>;
    /// `a`, or the nearer of `-limit` and `limit` if it lies beyond; NaN stays NaN.
    fn clamp<S: Simd>(simd: S, a: Self::Lanes<S>, limit: Self::Lanes<S>) -> Self::Lanes<S>;
    /// The whole vectors of a slice, and its rest.
    fn split<S: Simd>(slice: &[Self]) -> (&[Self::Lanes<S>], &[Self]);
    /// As `split`, to write.
    fn split_mut<S: Simd>(slice: &mut [Self]) -> (&mut [Self::Lanes<S>], &mut [Self]);
    /// A vector from a slice that is shorter than one.
    fn load<S: Simd>(simd: S, slice: &[Self]) -> Self::Lanes<S>;
    /// The beginning of a vector into a slice that is shorter than one.
    fn store<S: Simd>(simd: S, slice: &mut [Self], value: Self::Lanes<S>);
}

macro_rules! real {
    ($type:ty, $lanes:ident, $splat:ident, $fma:ident, $mul:ident, $sub:ident, $less:ident,
     $select:ident, $split:ident, $split_mut:ident, $load:ident, $store:ident) => {
        impl Real for $type {
            type Lanes<S: Simd> = S::$lanes;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$lanes {
                simd.$splat(value)
            }
            #[inline(always)]
            fn fma<S: Simd>(simd: S, a: S::$lanes, b: S::$lanes, c: S::$lanes) -> S::$lanes {
                simd.$fma(a, b, c)
            }
            #[inline(always)]
            fn mul<S: Simd>(simd: S, a: S::$lanes, b: S::$lanes) -> S::$lanes {
                simd.$mul(a, b)
            }
            #[inline(always)]
            fn sign<S: Simd>(simd: S, a: S::$lanes) -> S::$lanes {
                let (zero, one) = (simd.$splat(0.0), simd.$splat(1.0));
                let positive = simd.$select(simd.$less(zero, a), one, zero);
                let negative = simd.$select(simd.$less(a, zero), one, zero);
                simd.$sub(positive, negative)
            }
            #[inline(always)]
            fn clamp<S: Simd>(simd: S, a: S::$lanes, limit: S::$lanes) -> S::$lanes {
                let lowest = simd.$mul(simd.$splat(-1.0), limit);
                let a = simd.$select(simd.$less(limit, a), limit, a);
                simd.$select(simd.$less(a, lowest), lowest, a)
            }
            #[inline(always)]
            fn split<S: Simd>(slice: &[Self]) -> (&[S::$lanes], &[Self]) {
                S::$split(slice)
            }
            #[inline(always)]
            fn split_mut<S: Simd>(slice: &mut [Self]) -> (&mut [S::$lanes], &mut [Self]) {
                S::$split_mut(slice)
            }
            #[inline(always)]
            fn load<S: Simd>(simd: S, slice: &[Self]) -> S::$lanes {
                simd.$load(slice)
            }
            #[inline(always)]
            fn store<S: Simd>(simd: S, slice: &mut [Self], value: S::$lanes) {
                simd.$store(slice, value)
            }
        }
    };
}
real!(
    f32,
    f32s,
    splat_f32s,
    mul_add_f32s,
    mul_f32s,
    sub_f32s,
    less_than_f32s,
    select_f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    partial_load_f32s,
    partial_store_f32s
);
real!(
    f64,
    f64s,
    splat_f64s,
    mul_add_f64s,
    mul_f64s,
    sub_f64s,
    less_than_f64s,
    select_f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    partial_load_f64s,
    partial_store_f64s
);

/// The hyperparameters of one parameter group, as the caller wrote them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Learning rate.
    pub lr: f64,
    /// Share of the momentum buffer that is kept; 0 turns momentum off.
    pub momentum: f64,
    /// Share of the gradient that is withheld from the momentum buffer.
    pub dampening: f64,
    /// L2 penalty; 0 turns it off.
    pub weight_decay: f64,
    /// Look ahead along the momentum.
    pub nesterov: bool,
    /// Ascend instead of descend.
    pub maximize: bool,
    /// Step by the sign of the update.
    pub sign: bool,
}

/// The hyperparameters as factors of the element's type, or as vectors of these.
#[derive(Clone, Copy, Debug)]
pub struct Factors<T> {
    orientation: T,
    weight_decay: T,
    momentum: T,
    blend: T,
    negative_lr: T,
}

impl<T: Real> Factors<T> {
    /// Rounds the hyperparameters to the element's type, each once.
    pub fn new(h: &Hyperparameters) -> Self {
        Self {
            orientation: T::from_f64(if h.maximize { -1.0 } else { 1.0 }),
            weight_decay: T::from_f64(h.weight_decay),
            momentum: T::from_f64(h.momentum),
            blend: T::from_f64(1.0 - h.dampening),
            negative_lr: T::from_f64(-h.lr),
        }
    }

    /// The factors as vectors of equal elements.
    #[inline(always)]
    pub fn splat<S: Simd>(self, simd: S) -> Factors<T::Lanes<S>> {
        Factors {
            orientation: T::splat(simd, self.orientation),
            weight_decay: T::splat(simd, self.weight_decay),
            momentum: T::splat(simd, self.momentum),
            blend: T::splat(simd, self.blend),
            negative_lr: T::splat(simd, self.negative_lr),
        }
    }

    /// The factors as a row of a table: orientation, weight decay, momentum, blend, -lr.
    pub fn words(&self) -> [T; 5] {
        [self.orientation, self.weight_decay, self.momentum, self.blend, self.negative_lr]
    }
}

/// What a step does with the momentum buffer: the values of `update`'s `MOMENTUM`.
pub mod momentum {
    /// No momentum: the buffer is neither read nor written.
    pub const NONE: u8 = 0;
    /// The parameter's first step: the buffer is written, not read.
    pub const FIRST: u8 = 1;
    /// As `FIRST`, with Nesterov's look-ahead.
    pub const FIRST_NESTEROV: u8 = 2;
    /// Every later step: the buffer is read and written.
    pub const LATER: u8 = 3;
    /// As `LATER`, with Nesterov's look-ahead.
    pub const LATER_NESTEROV: u8 = 4;
}

/// One step of one vector: takes parameter, gradient and buffer, returns the new parameter and the
/// new buffer. The options are constants, so that an element pays for none that is off.
#[inline(always)]
pub fn update<T: Real, S: Simd, const DECAY: bool, const MOMENTUM: u8, const SIGN: bool>(
    s: S,
    f: &Factors<T::Lanes<S>>,
    p: T::Lanes<S>,
    g: T::Lanes<S>,
    b: T::Lanes<S>,
) -> (T::Lanes<S>, T::Lanes<S>) {
    let g = T::mul(s, f.orientation, g); // exact: the factor is 1 or -1
    let g = if DECAY { T::fma(s, f.weight_decay, p, g) } else { g };
    let b = match MOMENTUM {
        momentum::NONE => b,
        momentum::FIRST | momentum::FIRST_NESTEROV => g,
        _ => T::fma(s, f.blend, g, T::mul(s, f.momentum, b)),
    };
    let u = match MOMENTUM {
        momentum::NONE => g,
        momentum::FIRST_NESTEROV | momentum::LATER_NESTEROV => T::fma(s, f.momentum, b, g),
        _ => b,
    };
    let u = if SIGN { T::sign(s, u) } else { u };
    (T::fma(s, f.negative_lr, u, p), b)
}
