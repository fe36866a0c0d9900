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

/// A floating-point type that the rule works on.
pub trait Real: Copy + Send + Sync + 'static {
    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// `self * factor + addend`, rounded once.
    fn fma(self, factor: Self, addend: Self) -> Self;
    /// `self * factor`, rounded.
    fn mul(self, factor: Self) -> Self;
    /// `(0 < self) - (self < 0)`: +1, -1, or +0 for both zeros and for NaN.
    fn sign(self) -> Self;
}

macro_rules! real {
    ($type:ty) => {
        impl Real for $type {
            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn fma(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
            }
            #[inline(always)]
            fn mul(self, factor: Self) -> Self {
                self * factor
            }
            #[inline(always)]
            fn sign(self) -> Self {
                let positive: Self = if self > 0.0 { 1.0 } else { 0.0 };
                let negative: Self = if self < 0.0 { 1.0 } else { 0.0 };
                positive - negative
            }
        }
    };
}
real!(f32);
real!(f64);

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

/// The hyperparameters as factors of the element's type.
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

/// One step of one element: takes parameter, gradient and buffer, returns the new parameter and the
/// new buffer. The options are constants, so that an element pays for none that is off.
#[inline(always)]
pub fn update<T: Real, const DECAY: bool, const MOMENTUM: u8, const SIGN: bool>(
    f: &Factors<T>,
    p: T,
    g: T,
    b: T,
) -> (T, T) {
    let g = g.mul(f.orientation); // exact: the factor is 1 or -1
    let g = if DECAY { f.weight_decay.fma(p, g) } else { g };
    let b = match MOMENTUM {
        momentum::NONE => b,
        momentum::FIRST | momentum::FIRST_NESTEROV => g,
        _ => f.blend.fma(g, f.momentum.mul(b)),
    };
    let u = match MOMENTUM {
        momentum::NONE => g,
        momentum::FIRST_NESTEROV | momentum::LATER_NESTEROV => f.momentum.fma(b, g),
        _ => b,
    };
    let u = if SIGN { u.sign() } else { u };
    (f.negative_lr.fma(u, p), b)
}
