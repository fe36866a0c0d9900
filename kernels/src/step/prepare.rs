//! What is done to gradients before the rule sees them: unscaling and clipping.

use crate::lanes::{self, Real};
use crate::rule::Arithmetic;
use crate::simd::Level;
use pulp::{Simd, WithSimd};

/// What is done to the gradients of a group, in this order; every factor is rounded once. What is not
/// asked for is done with a neutral factor, which changes no value and costs next to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preparation<T> {
    scale: T,
    coefficient: T,
    limit: T,
    neutral: bool,
}

impl<T: Real> Preparation<T> {
    /// Multiplies by `scale` and by `coefficient`, and clamps to `-limit..=limit`.
    pub(crate) fn new(scale: f64, coefficient: f64, limit: f64) -> Self {
        Preparation {
            scale: T::from_f64(scale),
            coefficient: T::from_f64(coefficient),
            limit: T::from_f64(limit),
            neutral: scale == 1.0 && coefficient == 1.0 && limit == f64::INFINITY,
        }
    }

    /// Whether it changes no value, so that it can be left out.
    pub(crate) fn is_neutral(&self) -> bool {
        self.neutral
    }

    /// Prepares gradients in place.
    pub(crate) fn run(&self, level: Level, grad: &mut [T]) {
        lanes::run::<T, _>(level, InPlace { preparation: *self, grad });
    }

    /// Prepares gradients on the way from one slice to another of the same length.
    pub(crate) fn copy(&self, level: Level, from: &[T], to: &mut [T]) {
        lanes::run::<T, _>(level, Copied { preparation: *self, from, to });
    }

    /// The same for vectors.
    #[inline(always)]
    pub(crate) fn vectors<S: Simd>(self, s: S) -> Prepare<S, T> {
        let [scale, coefficient, limit] =
            [self.scale, self.coefficient, self.limit].map(|value| T::splat(s, value));
        Prepare { s, scale, coefficient, limit }
    }
}

/// Prepares one vector at a time.
#[derive(Clone, Copy)]
pub(crate) struct Prepare<S: Simd, T: Real> {
    s: S,
    scale: T::Lanes<S>,
    coefficient: T::Lanes<S>,
    limit: T::Lanes<S>,
}

impl<S: Simd, T: Real> Prepare<S, T> {
    #[inline(always)]
    pub(crate) fn run(&self, g: T::Lanes<S>) -> T::Lanes<S> {
        let &Prepare { s, scale, coefficient, limit } = self;
        let a = T::arithmetic(s);
        T::clamp(s, a.mul(a.mul(g, scale), coefficient), limit)
    }
}

struct InPlace<'a, T> {
    preparation: Preparation<T>,
    grad: &'a mut [T],
}

impl<T: Real> WithSimd for InPlace<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let prepare = self.preparation.vectors(s);
        let (vectors, rest) = T::split_mut::<S>(self.grad);
        for v in vectors {
            *v = prepare.run(*v);
        }
        if !rest.is_empty() {
            let value = prepare.run(T::load(s, rest));
            T::store(s, rest, value);
        }
    }
}

struct Copied<'a, T> {
    preparation: Preparation<T>,
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Real> WithSimd for Copied<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let prepare = self.preparation.vectors(s);
        let (from, from_rest) = T::split::<S>(self.from);
        let (to, to_rest) = T::split_mut::<S>(self.to);
        for (to, &from) in to.iter_mut().zip(from) {
            *to = prepare.run(from);
        }
        if !to_rest.is_empty() {
            T::store(s, to_rest, prepare.run(T::load(s, from_rest)));
        }
    }
}
