//! The types that are computed in, as vectors of a SIMD level and as plain numbers: the rule's
//! arithmetic for both, and how vectors get out of slices and into them.

use crate::rule::Arithmetic;
use crate::simd::Level;
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;
use std::ops::{Add, Div, Mul, Sub};

/// A type that is computed in, one SIMD vector at a time.
pub trait Real: Copy + Send + Sync + 'static {
    /// Whether wider vectors than AVX2's gain nothing and would make the library larger.
    const NARROW: bool = false;

    /// A vector of this type at a SIMD level.
    type Lanes<S: Simd>: Copy;
    /// The rule's arithmetic on such vectors.
    type Arithmetic<S: Simd>: Arithmetic<Value = Self::Lanes<S>>;

    /// The nearest value of this type.
    fn from_f64(value: f64) -> Self;
    /// The arithmetic of a SIMD level.
    fn arithmetic<S: Simd>(simd: S) -> Self::Arithmetic<S>;
    /// A vector of equal elements.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Lanes<S>;
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

/// Runs a loop over vectors of `T`, compiled for a level.
#[inline(always)]
pub(crate) fn run<T: Real, F: WithSimd>(level: Level, body: F) -> F::Output {
    if T::NARROW { level.run_narrow(body) } else { level.run(body) }
}

/// Adds a slice to another one of the same length.
pub(crate) fn add<T: Real>(level: Level, sum: &mut [T], term: &[T]) {
    run::<T, _>(level, Sum { sum, term });
}

struct Sum<'a, T> {
    sum: &'a mut [T],
    term: &'a [T],
}

impl<T: Real> WithSimd for Sum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (a, one) = (T::arithmetic(s), T::splat(s, T::from_f64(1.0)));
        let (sum, sum_rest) = T::split_mut::<S>(self.sum);
        let (term, term_rest) = T::split::<S>(self.term);
        for (sum, &term) in sum.iter_mut().zip(term) {
            *sum = a.fma(one, term, *sum); // the product is exact
        }
        if !sum_rest.is_empty() {
            let total = a.fma(one, T::load(s, term_rest), T::load(s, sum_rest));
            T::store(s, sum_rest, total);
        }
    }
}

/// The arithmetic of vectors of `T` at a SIMD level.
#[derive(Clone, Copy, Debug)]
pub struct Lanes<S, T> {
    simd: S,
    real: PhantomData<T>,
}

impl<S, T> Lanes<S, T> {
    /// The arithmetic of a SIMD level.
    #[inline(always)]
    pub(crate) fn new(simd: S) -> Self {
        Lanes { simd, real: PhantomData }
    }
}

macro_rules! real {
    ($type:ty, $lanes:ident, $splat:ident, $fma:ident, $mul:ident, $sub:ident, $less:ident,
     $select:ident, $split:ident, $split_mut:ident, $load:ident, $store:ident) => {
        impl<S: Simd> Arithmetic for Lanes<S, $type> {
            type Value = S::$lanes;

            #[inline(always)]
            fn mul(self, a: S::$lanes, b: S::$lanes) -> S::$lanes {
                self.simd.$mul(a, b)
            }
            #[inline(always)]
            fn fma(self, a: S::$lanes, b: S::$lanes, c: S::$lanes) -> S::$lanes {
                self.simd.$fma(a, b, c)
            }
            #[inline(always)]
            fn sign(self, a: S::$lanes) -> S::$lanes {
                let Lanes { simd, .. } = self;
                let (zero, one) = (simd.$splat(0.0), simd.$splat(1.0));
                let positive = simd.$select(simd.$less(zero, a), one, zero);
                let negative = simd.$select(simd.$less(a, zero), one, zero);
                simd.$sub(positive, negative)
            }
        }

        impl Real for $type {
            type Lanes<S: Simd> = S::$lanes;
            type Arithmetic<S: Simd> = Lanes<S, $type>;

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn arithmetic<S: Simd>(simd: S) -> Lanes<S, $type> {
                Lanes::new(simd)
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$lanes {
                simd.$splat(value)
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

        impl Number for $type {
            #[inline(always)]
            fn mul_add(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
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

/// A type that is also computed in one number at a time; the compiler makes vectors of such loops.
pub trait Number:
    Real
    + From<i8>
    + Into<f64>
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    /// `self * factor + addend`, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
}

/// The arithmetic of numbers.
#[derive(Clone, Copy, Debug)]
pub struct Plain<T>(PhantomData<T>);

impl<T> Plain<T> {
    /// The arithmetic, which has no state.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Plain(PhantomData)
    }
}

impl<T: Number> Arithmetic for Plain<T> {
    type Value = T;

    #[inline(always)]
    fn mul(self, a: T, b: T) -> T {
        a * b
    }
    #[inline(always)]
    fn fma(self, a: T, b: T, c: T) -> T {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn sign(self, a: T) -> T {
        let zero = T::from(0);
        T::from(i8::from(a > zero) - i8::from(a < zero))
    }
}
