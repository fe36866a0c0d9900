//! The rule: what one step of SGD does to one element, written once for every native path.
//!
//! With `p` the parameter, `g` its gradient and `b` its momentum buffer:
//!
//! ```text
//! g <- maximize ? -g : g
//! if weight_decay != 0:
//!     decoupled:  p <- round((1 - lr * weight_decay) * p)
//!     else:       g <- fma(weight_decay, p, g)
//! if momentum != 0:
//!     first step of this parameter:  b <- g
//!     later:                         b <- fma(1 - dampening, g, round(momentum * b))
//!     u <- nesterov ? fma(momentum, b, g) : b
//! else u <- g
//! if sign:  u <- (0 < u) - (u < 0)
//! p <- fma(-lr, u, p)
//! ```
//!
//! `fma` rounds once; `1 - dampening`, `-lr` and `1 - lr * weight_decay` are computed in float64 and
//! then rounded to the element's type. This is the order of operations of
//! `torch.optim.SGD(foreach=False)`; decoupled weight decay is that of `torch.optim.AdamW`.
//!
//! The functions are written over an arithmetic, so that the same text steps vectors of every type and
//! SIMD level ([`crate::step`]) and is differentiated one number at a time ([`crate::vjp`]).

/// The operations on values that the rule uses.
pub trait Arithmetic: Copy {
    /// A number, or a vector of them.
    type Value: Copy;

    /// `a * b`, rounded.
    fn mul(self, a: Self::Value, b: Self::Value) -> Self::Value;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::Value, b: Self::Value, c: Self::Value) -> Self::Value;
    /// `(0 < a) - (a < 0)`: +1, -1, or +0 for both zeros and for NaN.
    fn sign(self, a: Self::Value) -> Self::Value;
}

/// The hyperparameters of one parameter group, as the caller wrote them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Learning rate.
    pub lr: f64,
    /// Momentum factor: the fraction of the buffer that is kept; 0 turns momentum off.
    pub momentum: f64,
    /// Dampening: the fraction of the gradient that is left out of the buffer.
    pub dampening: f64,
    /// Weight decay; 0 turns it off.
    pub weight_decay: f64,
    /// Multiply the parameter by `1 - lr * weight_decay` instead of adding an L2 penalty to the gradient.
    pub decoupled_weight_decay: bool,
    /// Look ahead along the momentum.
    pub nesterov: bool,
    /// Ascend instead of descend.
    pub maximize: bool,
    /// Step by the sign of the update.
    pub sign: bool,
}

impl Hyperparameters {
    /// What a step does with the weight decay: one of the numbers of [`decay`].
    #[inline(always)]
    pub fn decay(&self) -> u8 {
        match (self.weight_decay != 0.0, self.decoupled_weight_decay) {
            (false, _) => decay::NONE,
            (true, false) => decay::COUPLED,
            (true, true) => decay::DECOUPLED,
        }
    }
}

/// The hyperparameters as factors of the element's type, or as vectors of these.
#[derive(Clone, Copy, Debug)]
pub struct Factors<V> {
    /// -1 to ascend, 1 to descend.
    pub orientation: V,
    /// The weight decay, as an L2 penalty.
    pub weight_decay: V,
    /// `1 - lr * weight_decay`, which decoupled weight decay multiplies by.
    pub shrink: V,
    /// The momentum.
    pub momentum: V,
    /// `1 - dampening`.
    pub blend: V,
    /// `-lr`.
    pub negative_lr: V,
}

impl<V> Factors<V> {
    /// Rounds the hyperparameters to the element's type, each once.
    pub fn new(h: &Hyperparameters, round: impl Fn(f64) -> V) -> Self {
        Factors {
            orientation: round(if h.maximize { -1.0 } else { 1.0 }),
            weight_decay: round(h.weight_decay),
            shrink: round(1.0 - h.lr * h.weight_decay),
            momentum: round(h.momentum),
            blend: round(1.0 - h.dampening),
            negative_lr: round(-h.lr),
        }
    }

    /// The factors in another form, as vectors of equal elements for example.
    #[inline(always)]
    pub fn map<W>(self, f: impl Fn(V) -> W) -> Factors<W> {
        Factors {
            orientation: f(self.orientation),
            weight_decay: f(self.weight_decay),
            shrink: f(self.shrink),
            momentum: f(self.momentum),
            blend: f(self.blend),
            negative_lr: f(self.negative_lr),
        }
    }
}

/// What a step does with the weight decay. These are numbers because a loop has one as a constant
/// parameter.
pub mod decay {
    /// The weight decay is 0.
    pub const NONE: u8 = 0;
    /// It is added to the gradient, as an L2 penalty.
    pub const COUPLED: u8 = 1;
    /// It is taken from the parameter, before the step.
    pub const DECOUPLED: u8 = 2;
}

/// What a step does with the momentum buffer. These are numbers because a loop has one as a constant
/// parameter.
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

/// Which lines of the rule apply. Where they are constants, an element pays for none that is off.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    /// One of the numbers of [`decay`].
    pub decay: u8,
    /// One of the numbers of [`momentum`].
    pub momentum: u8,
    /// Step by the sign of the update.
    pub sign: bool,
}

impl Lines {
    /// The lines for hyperparameters, at the first step of a parameter or a later one.
    pub fn new(h: &Hyperparameters, first: bool) -> Self {
        use momentum::{FIRST, FIRST_NESTEROV, LATER, LATER_NESTEROV, NONE};
        let momentum = match (h.momentum != 0.0, first, h.nesterov) {
            (false, ..) => NONE,
            (true, true, false) => FIRST,
            (true, true, true) => FIRST_NESTEROV,
            (true, false, false) => LATER,
            (true, false, true) => LATER_NESTEROV,
        };
        Lines { decay: h.decay(), momentum, sign: h.sign }
    }

    /// Whether the step looks ahead along the momentum.
    #[inline(always)]
    pub fn looks_ahead(self) -> bool {
        matches!(self.momentum, momentum::FIRST_NESTEROV | momentum::LATER_NESTEROV)
    }

    /// Whether the step reads the momentum buffer.
    #[inline(always)]
    pub fn reads_buffer(self) -> bool {
        matches!(self.momentum, momentum::LATER | momentum::LATER_NESTEROV)
    }
}

/// The parameter with its weight decay, if that is decoupled.
#[inline(always)]
pub fn shrink<A: Arithmetic>(a: A, f: &Factors<A::Value>, lines: Lines, p: A::Value) -> A::Value {
    if lines.decay == decay::DECOUPLED { a.mul(f.shrink, p) } else { p }
}

/// The gradient with its direction and weight decay, if that is coupled.
#[inline(always)]
pub fn gradient<A: Arithmetic>(
    a: A,
    f: &Factors<A::Value>,
    lines: Lines,
    p: A::Value,
    g: A::Value,
) -> A::Value {
    let g = a.mul(f.orientation, g); // exact: the factor is 1 or -1
    if lines.decay == decay::COUPLED { a.fma(f.weight_decay, p, g) } else { g }
}

/// The new momentum buffer; `g` comes from [`gradient`], and `b` is not read on a first step.
#[inline(always)]
pub fn velocity<A: Arithmetic>(
    a: A,
    f: &Factors<A::Value>,
    lines: Lines,
    g: A::Value,
    b: A::Value,
) -> A::Value {
    if lines.reads_buffer() { a.fma(f.blend, g, a.mul(f.momentum, b)) } else { g }
}

/// What a parameter is moved along, before `sign`; `b` comes from [`velocity`] and is not read without
/// momentum.
#[inline(always)]
pub fn direction<A: Arithmetic>(
    a: A,
    f: &Factors<A::Value>,
    lines: Lines,
    g: A::Value,
    b: A::Value,
) -> A::Value {
    match lines.momentum {
        momentum::NONE => g,
        _ if lines.looks_ahead() => a.fma(f.momentum, b, g),
        _ => b,
    }
}

/// The new parameter; `p` comes from [`shrink`], `g` and `b` are as for [`direction`].
#[inline(always)]
pub fn descend<A: Arithmetic>(
    a: A,
    f: &Factors<A::Value>,
    lines: Lines,
    p: A::Value,
    g: A::Value,
    b: A::Value,
) -> A::Value {
    let u = direction(a, f, lines, g, b);
    a.fma(f.negative_lr, if lines.sign { a.sign(u) } else { u }, p)
}

/// One step: takes parameter, gradient and buffer, returns the new parameter and the new buffer, which
/// means nothing without momentum.
#[inline(always)]
pub fn update<A: Arithmetic>(
    a: A,
    f: &Factors<A::Value>,
    lines: Lines,
    p: A::Value,
    g: A::Value,
    b: A::Value,
) -> (A::Value, A::Value) {
    let p = shrink(a, f, lines, p);
    let g = gradient(a, f, lines, p, g);
    let b = velocity(a, f, lines, g, b);
    (descend(a, f, lines, p, g, b), b)
}
