//! What is done to gradients before the rule sees them: unscaling and clipping.

use crate::rule::Real;
use crate::simd::Level;
use pulp::{Simd, WithSimd};

/// What is done to the gradients of a group, in this order; every factor is rounded once.
#[derive(Clone, Copy, Debug)]
pub struct Preparation<T> {
    scale: Option<T>,
    coefficient: Option<T>,
    limit: Option<T>,
}

impl<T: Real> Preparation<T> {
    /// Multiplies by `scale` and by `coefficient`, unless they are 1, and clamps to `-limit..=limit`,
    /// unless that is infinite.
    pub fn new(scale: f64, coefficient: f64, limit: f64) -> Self {
        let unless = |neutral: f64, value: f64| (value != neutral).then(|| T::from_f64(value));
        Preparation {
            scale: unless(1.0, scale),
            coefficient: unless(1.0, coefficient),
            limit: unless(f64::INFINITY, limit),
        }
    }

    /// Prepares gradients in place.
    pub fn run(&self, level: Level, grad: &mut [T]) {
        for factor in [self.scale, self.coefficient].into_iter().flatten() {
            level.run(Multiply { grad, factor });
        }
        if let Some(limit) = self.limit {
            level.run(Clamp { grad, limit });
        }
    }
}

struct Multiply<'a, T> {
    grad: &'a mut [T],
    factor: T,
}

impl<T: Real> WithSimd for Multiply<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let factor = T::splat(s, self.factor);
        each(s, self.grad, |g| T::mul(s, g, factor));
    }
}

struct Clamp<'a, T> {
    grad: &'a mut [T],
    limit: T,
}

impl<T: Real> WithSimd for Clamp<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let limit = T::splat(s, self.limit);
        each(s, self.grad, |g| T::clamp(s, g, limit));
    }
}

#[inline(always)]
fn each<T: Real, S: Simd>(s: S, slice: &mut [T], f: impl Fn(T::Lanes<S>) -> T::Lanes<S>) {
    let (vectors, rest) = T::split_mut::<S>(slice);
    vectors.iter_mut().for_each(|v| *v = f(*v));
    if !rest.is_empty() {
        let value = f(T::load(s, rest));
        T::store(s, rest, value);
    }
}
