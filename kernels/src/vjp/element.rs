//! The way back through one element.

use super::Sums;
use crate::rule::{Hyperparameters, Real, momentum};

/// Arithmetic of one element; the compiler makes vectors of it.
pub trait Scalar: Real {
    fn times(self, factor: Self) -> Self;
    fn times_plus(self, factor: Self, addend: Self) -> Self;
    fn plus(self, addend: Self) -> Self;
    fn sign_of(self) -> Self;
    fn wide(self) -> f64;
}

macro_rules! scalar {
    ($type:ty) => {
        impl Scalar for $type {
            #[inline(always)]
            fn times(self, factor: Self) -> Self {
                self * factor
            }
            #[inline(always)]
            fn times_plus(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
            }
            #[inline(always)]
            fn plus(self, addend: Self) -> Self {
                self + addend
            }
            #[inline(always)]
            fn sign_of(self) -> Self {
                f32::from(i8::from(self > 0.0) - i8::from(self < 0.0)).into()
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                self.into()
            }
        }
    };
}
scalar!(f32);
scalar!(f64);

#[derive(Clone, Copy)]
pub struct Factors<T> {
    orientation: T,
    decay: bool,
    weight_decay: T,
    momentum: T,
    blend: T,
    negative_lr: T,
    sign: bool,
}

impl<T: Real> Factors<T> {
    pub fn new(h: &Hyperparameters) -> Self {
        Factors {
            orientation: T::from_f64(if h.maximize { -1.0 } else { 1.0 }),
            decay: h.weight_decay != 0.0,
            weight_decay: T::from_f64(h.weight_decay),
            momentum: T::from_f64(h.momentum),
            blend: T::from_f64(1.0 - h.dampening),
            negative_lr: T::from_f64(-h.lr),
            sign: h.sign,
        }
    }
}

/// What comes of one element: the derivatives by parameter, gradient and buffer, and the terms of
/// the sums.
pub type Back<T> = (T, T, T, Sums);

/// The way back through one element; `b` and `dc` count only where there is a buffer.
#[inline(always)]
pub fn element<T: Scalar, const MOMENTUM: u8>(
    f: &Factors<T>,
    [p, g, b, dq, dc]: [T; 5],
) -> Back<T> {
    use momentum::{FIRST_NESTEROV, LATER, LATER_NESTEROV, NONE};
    let nesterov = MOMENTUM == FIRST_NESTEROV || MOMENTUM == LATER_NESTEROV;
    let later = MOMENTUM == LATER || MOMENTUM == LATER_NESTEROV;
    // The step once more.
    let g = f.orientation.times(g);
    let g = if f.decay { f.weight_decay.times_plus(p, g) } else { g };
    let c = if later { f.blend.times_plus(g, f.momentum.times(b)) } else { g };
    let u = if nesterov { f.momentum.times_plus(c, g) } else { c };
    let stepped = if f.sign { u.sign_of() } else { u };
    // And back.
    let zero = T::from_f64(0.0);
    let du = if f.sign { zero } else { f.negative_lr.times(dq) };
    let dc = if nesterov { f.momentum.times_plus(du, dc) } else { dc.plus(du) };
    let dg = match (later, nesterov) {
        (_, false) if MOMENTUM == NONE => du,
        (false, false) => dc,
        (false, true) => dc.plus(du),
        (true, false) => f.blend.times(dc),
        (true, true) => f.blend.times_plus(dc, du),
    };
    let dp = if f.decay { f.weight_decay.times_plus(dg, dq) } else { dq };
    let (kept, ahead) = (dc.wide() * b.wide(), du.wide() * c.wide());
    let terms = [
        -(dq.wide() * stepped.wide()),
        match (later, nesterov) {
            (true, true) => kept + ahead,
            (true, false) => kept,
            (false, true) => ahead,
            (false, false) => 0.0,
        },
        if later { -(dc.wide() * g.wide()) } else { 0.0 },
        dg.wide() * p.wide(),
    ];
    (dp, f.orientation.times(dg), f.momentum.times(dc), terms)
}
