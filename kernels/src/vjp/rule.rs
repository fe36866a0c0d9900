//! The way back through one element.

use crate::lanes::{Number, Plain};
use crate::rule::{
    Arithmetic, Factors, Hyperparameters, Lines, decay, direction, gradient, momentum, velocity,
};

/// The derivatives with respect to the hyperparameters: lr, momentum, dampening, weight decay.
pub type Sums = [f64; 4];

/// What comes of one element: the derivatives with respect to parameter, gradient and buffer, and the
/// terms of the sums.
pub type Back<T> = (T, T, T, Sums);

/// The way back through one element; `b` and `dc` count only where there is a buffer.
#[inline(always)]
pub fn element<T: Number>(f: &Factors<T>, lines: Lines, [p, g, b, dq, dc]: [T; 5]) -> Back<T> {
    let a = Plain::new();
    let (later, nesterov) = (lines.reads_buffer(), lines.looks_ahead());
    // Recompute the forward step.
    let g = gradient(a, f, lines, p, g);
    let c = velocity(a, f, lines, g, b);
    let u = direction(a, f, lines, g, c);
    let stepped = if lines.sign { a.sign(u) } else { u };
    // Differentiate it.
    let du = if lines.sign { T::from(0) } else { a.mul(f.negative_lr, dq) };
    let dc = if nesterov { a.fma(f.momentum, du, dc) } else { dc + du };
    let dg = match (later, nesterov) {
        _ if lines.momentum == momentum::NONE => du,
        (false, false) => dc,
        (false, true) => dc + du,
        (true, false) => a.mul(f.blend, dc),
        (true, true) => a.fma(f.blend, dc, du),
    };
    let decoupled = lines.decay == decay::DECOUPLED;
    let dp = match lines.decay {
        decay::NONE => dq,
        decay::COUPLED => a.fma(f.weight_decay, dg, dq),
        _ => a.mul(f.shrink, dq),
    };
    let (kept, ahead) = (product(dc, b), product(du, c));
    let terms = [
        -product(dq, stepped),
        match (later, nesterov) {
            (true, true) => kept + ahead,
            (true, false) => kept,
            (false, true) => ahead,
            (false, false) => 0.0,
        },
        if later { -product(dc, g) } else { 0.0 },
        product(if decoupled { dq } else { dg }, p),
    ];
    (dp, a.mul(f.orientation, dg), a.mul(f.momentum, dc), terms)
}

/// The derivatives with respect to the hyperparameters, of the sums of all terms. With decoupled weight
/// decay the last of these is that of `dq * p`.
pub fn finish(h: &Hyperparameters, sums: Sums) -> Sums {
    let [lr, momentum, dampening, decay] = sums;
    match h.decay() {
        _ if !h.decoupled_weight_decay => sums,
        decay::NONE => [lr, momentum, dampening, -h.lr * decay],
        _ => [lr - h.weight_decay * decay, momentum, dampening, -h.lr * decay],
    }
}

/// A product in float64.
#[inline(always)]
fn product<T: Into<f64>>(a: T, b: T) -> f64 {
    a.into() * b.into()
}
