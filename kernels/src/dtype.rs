//! The dtypes: elements as they lie in memory, and the type that a step computes them in.
//!
//! float32 and float64 are computed in as they are. The 16-bit types are computed in float32 and
//! rounded once at the end, or in [`RoundEveryOp`], which rounds after every operation as torch does.

use crate::lanes::{Lanes, Number, Real};
use crate::rule::Arithmetic;
use crate::simd::Level;
use half::{bf16, f16};
use pulp::{Simd, WithSimd};
use std::marker::PhantomData;

/// Elements that are converted at a time, where that is needed: arrays of so many of parameters,
/// gradients and buffers stay in a first-level cache.
pub const TILE: usize = 1 << 10;

/// An element that is stored in one type and computed with in another.
pub trait Element<T>: Copy + Send + Sync + 'static {
    /// A positive zero.
    const ZERO: Self;

    /// The slice itself, if it is stored as it is computed with.
    fn direct(_slice: &mut [Self]) -> Option<&mut [T]> {
        None
    }
    /// As `direct`, to read.
    fn as_direct(_slice: &[Self]) -> Option<&[T]> {
        None
    }
    /// Reads elements; the slices have one length.
    fn load(level: Level, from: &[Self], to: &mut [T]);
    /// Writes the nearest elements; the slices have one length.
    fn store(level: Level, from: &[T], to: &mut [Self]);
    /// Writes one of the two neighbors of each value, chosen by 16 random bits.
    fn scatter(level: Level, from: &[T], to: &mut [Self], _bits: &[u16]) {
        Self::store(level, from, to);
    }
}

/// An element of which the type says what it is computed in, with one rounding at the end.
pub trait Stored: Element<Self::Computed> {
    /// The type that it is computed in.
    type Computed: Number;
}

macro_rules! direct {
    ($type:ty) => {
        impl Element<$type> for $type {
            const ZERO: Self = 0.0;

            fn direct(slice: &mut [Self]) -> Option<&mut [$type]> {
                Some(slice)
            }
            fn as_direct(slice: &[Self]) -> Option<&[$type]> {
                Some(slice)
            }
            fn load(_: Level, from: &[Self], to: &mut [$type]) {
                to.copy_from_slice(from);
            }
            fn store(_: Level, from: &[$type], to: &mut [Self]) {
                to.copy_from_slice(from);
            }
        }

        impl Stored for $type {
            type Computed = $type;
        }
    };
}
direct!(f32);
direct!(f64);

macro_rules! half {
    ($type:ty, $widen:ident, $narrow:ident, $scatter:ident) => {
        impl Element<f32> for $type {
            const ZERO: Self = <$type>::ZERO;

            fn load(level: Level, from: &[Self], to: &mut [f32]) {
                level.run(Map { from, to, f: $widen });
            }
            fn store(level: Level, from: &[f32], to: &mut [Self]) {
                level.run(Map { from, to, f: $narrow });
            }
            fn scatter(level: Level, from: &[f32], to: &mut [Self], bits: &[u16]) {
                level.run(MapWithBits { from, to, bits, f: $scatter });
            }
        }

        impl Element<RoundEveryOp<$type>> for $type {
            const ZERO: Self = <$type>::ZERO;

            fn load(level: Level, from: &[Self], to: &mut [RoundEveryOp<$type>]) {
                level.run(Map { from, to, f: |x| RoundEveryOp::exactly($widen(x)) });
            }
            fn store(level: Level, from: &[RoundEveryOp<$type>], to: &mut [Self]) {
                level.run(Map { from, to, f: |x: RoundEveryOp<$type>| $narrow(x.value) });
            }
        }

        impl Stored for $type {
            type Computed = f32;
        }

        impl Half for $type {
            #[inline(always)]
            fn round(value: f32) -> f32 {
                $widen($narrow(value))
            }
        }
    };
}
half!(f16, widen_f16, nearest_f16, scatter_f16);
half!(bf16, widen_bf16, nearest_bf16, scatter_bf16);

// The conversions have no branches, so that their loops become vectors.

#[inline(always)]
fn widen_bf16(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// The nearest bfloat16, ties to even.
#[inline(always)]
pub(crate) fn nearest_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    bf16::from_bits(if x.is_nan() { 0x7fc0 } else { rounded as u16 })
}

/// Truncates after adding a random number below one unit of the last place.
#[inline(always)]
fn scatter_bf16(x: f32, random: u16) -> bf16 {
    let bits = x.to_bits().wrapping_add(u32::from(random)) >> 16;
    bf16::from_bits(if x.is_finite() { bits as u16 } else { nearest_bf16(x).to_bits() })
}

/// The least normal float16, 2^-14: below it, the units of float16 are 2^-24.
const LEAST_NORMAL: f32 = 1.0 / (1 << 14) as f32;
/// The difference of the exponents' biases, in the place of a float32's exponent.
const REBIAS: u32 = (127 - 15) << 23;

#[inline(always)]
pub(crate) fn widen_f16(x: f16) -> f32 {
    let (sign, magnitude) =
        (u32::from(x.to_bits() & 0x8000) << 16, u32::from(x.to_bits() & 0x7fff));
    let normal = (magnitude << 13) + REBIAS;
    let special = magnitude << 13 | 0x7f80_0000;
    let subnormal = (magnitude as f32 * (LEAST_NORMAL / 1024.0)).to_bits();
    let finite = if magnitude < 0x0400 { subnormal } else { normal };
    f32::from_bits(sign | if magnitude >= 0x7c00 { special } else { finite })
}

/// The nearest float16, ties to even.
#[inline(always)]
pub(crate) fn nearest_f16(x: f32) -> f16 {
    let bits = x.to_bits() & 0x7fff_ffff;
    let normal = bits.wrapping_add(0x0fff + (bits >> 13 & 1)) >> 13;
    // Adding a number whose units are 2^-24 rounds to these.
    let subnormal = (f32::from_bits(bits) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits());
    from_magnitude(x, normal, subnormal)
}

/// As `scatter_bf16`.
#[inline(always)]
fn scatter_f16(x: f32, random: u16) -> f16 {
    let bits = x.to_bits() & 0x7fff_ffff;
    let normal = bits.wrapping_add(u32::from(random >> 3)) >> 13;
    let units = (f32::from_bits(bits) * (1_u64 << 40) as f32) as u32;
    from_magnitude(x, normal, units.wrapping_add(u32::from(random)) >> 16)
}

/// The float16 of the sign of `x` whose magnitude is given in two ways: as the upper bits of a
/// float32, if it is normal, and in units of 2^-24, if it is not.
#[inline(always)]
fn from_magnitude(x: f32, normal: u32, subnormal: u32) -> f16 {
    let normal = normal.wrapping_sub(REBIAS >> 13).min(0x7c00);
    let finite = if x.abs() < LEAST_NORMAL { subnormal } else { normal };
    let magnitude = if x.is_nan() { 0x7e00 } else { finite };
    f16::from_bits(magnitude as u16 | (x.to_bits() >> 16) as u16 & 0x8000)
}

/// A float32 that is rounded to `H` after every operation.
#[derive(Clone, Copy, Debug)]
pub struct RoundEveryOp<H> {
    value: f32,
    stored: PhantomData<H>,
}

/// A 16-bit type that [`RoundEveryOp`] rounds to.
pub trait Half: Element<f32> {
    /// The nearest value of the type, as a float32.
    fn round(value: f32) -> f32;
}

#[inline(never)]
fn round_apart<H: Half>(value: f32) -> f32 {
    H::round(value)
}

impl<H: Half> RoundEveryOp<H> {
    #[inline(always)]
    fn exactly(value: f32) -> Self {
        RoundEveryOp { value, stored: PhantomData }
    }
    #[inline(always)]
    fn rounded<S: Simd>(value: f32) -> Self {
        // Without vectors the loops would only be long.
        Self::exactly(if S::IS_SCALAR { round_apart::<H>(value) } else { H::round(value) })
    }
}

/// One element at a time. What torch does with factors was measured: that of a product stays float32,
/// that of a product and sum (`alpha` of `add_`) is rounded to the 16-bit type first.
impl<S: Simd, H: Half> Arithmetic for Lanes<S, RoundEveryOp<H>> {
    type Value = RoundEveryOp<H>;

    #[inline(always)]
    fn mul(self, a: Self::Value, b: Self::Value) -> Self::Value {
        RoundEveryOp::rounded::<S>(a.value * b.value)
    }
    #[inline(always)]
    fn fma(self, a: Self::Value, b: Self::Value, c: Self::Value) -> Self::Value {
        let RoundEveryOp { value: factor, .. } = Self::Value::rounded::<S>(a.value);
        RoundEveryOp::rounded::<S>(factor.mul_add(b.value, c.value))
    }
    #[inline(always)]
    fn sign(self, a: Self::Value) -> Self::Value {
        RoundEveryOp::exactly(f32::from(a.value > 0.0) - f32::from(a.value < 0.0))
    }
}

impl<H: Half> Real for RoundEveryOp<H> {
    const NARROW: bool = true;

    type Lanes<S: Simd> = RoundEveryOp<H>;
    type Arithmetic<S: Simd> = Lanes<S, RoundEveryOp<H>>;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        Self::exactly(value as f32)
    }
    #[inline(always)]
    fn arithmetic<S: Simd>(simd: S) -> Lanes<S, Self> {
        Lanes::new(simd)
    }
    #[inline(always)]
    fn splat<S: Simd>(_: S, value: Self) -> Self {
        value
    }
    #[inline(always)]
    fn clamp<S: Simd>(_: S, RoundEveryOp { value, .. }: Self, limit: Self) -> Self {
        let RoundEveryOp { value: limit, .. } = limit;
        Self::rounded::<S>(if value.is_nan() { value } else { value.clamp(-limit, limit) })
    }
    #[inline(always)]
    fn split<S: Simd>(slice: &[Self]) -> (&[Self], &[Self]) {
        (slice, &[])
    }
    #[inline(always)]
    fn split_mut<S: Simd>(slice: &mut [Self]) -> (&mut [Self], &mut [Self]) {
        (slice, &mut [])
    }
    #[inline(always)]
    fn load<S: Simd>(_: S, slice: &[Self]) -> Self {
        slice.first().copied().unwrap_or(Self::exactly(0.0))
    }
    #[inline(always)]
    fn store<S: Simd>(_: S, slice: &mut [Self], value: Self) {
        slice.iter_mut().take(1).for_each(|first| *first = value);
    }
}

/// A function of every element, compiled for a SIMD level.
struct Map<'a, A, B, F> {
    from: &'a [A],
    to: &'a mut [B],
    f: F,
}

impl<A: Copy, B, F: Fn(A) -> B> WithSimd for Map<'_, A, B, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Map { from, to, f } = self;
        to.iter_mut().zip(from).for_each(|(to, &from)| *to = f(from));
    }
}

/// As [`Map`], of every element and its random bits.
struct MapWithBits<'a, A, B, F> {
    from: &'a [A],
    to: &'a mut [B],
    bits: &'a [u16],
    f: F,
}

impl<A: Copy, B, F: Fn(A, u16) -> B> WithSimd for MapWithBits<'_, A, B, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let MapWithBits { from, to, bits, f } = self;
        to.iter_mut().zip(from).zip(bits).for_each(|((to, &from), &bits)| *to = f(from, bits));
    }
}
