//! Elements as they lie in memory, and the type that a step computes in.
//!
//! float32 and float64 are computed in as they are. The 16-bit types are computed in float32 and
//! rounded once at the end, or in [`Each`], which rounds after every operation as torch does.

use crate::rule::Real;
use crate::simd::Level;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::{Simd, WithSimd};

/// An element that is stored in one type and computed with in another.
pub trait Element<T>: Copy + Send + Sync + 'static {
    /// A positive zero.
    const ZERO: Self;

    /// The slice itself, if it is stored as it is computed with.
    fn direct(_slice: &mut [Self]) -> Option<&mut [T]> {
        None
    }
    /// Reads elements; the slices have one length.
    fn load(level: Level, from: &[Self], to: &mut [T]);
    /// Writes the nearest elements; the slices have one length.
    fn store(level: Level, from: &[T], to: &mut [Self]);
    /// Writes one of the two neighbours of each value, chosen by 16 random bits.
    fn scatter(level: Level, from: &[T], to: &mut [Self], _bits: &[u16]) {
        Self::store(level, from, to);
    }
}

macro_rules! direct {
    ($type:ty) => {
        impl Element<$type> for $type {
            const ZERO: Self = 0.0;

            fn direct(slice: &mut [Self]) -> Option<&mut [$type]> {
                Some(slice)
            }
            fn load(_: Level, from: &[Self], to: &mut [$type]) {
                to.copy_from_slice(from);
            }
            fn store(_: Level, from: &[$type], to: &mut [Self]) {
                to.copy_from_slice(from);
            }
        }
    };
}
direct!(f32);
direct!(f64);

impl Element<f32> for f16 {
    const ZERO: Self = f16::ZERO;

    fn load(_: Level, from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }
    fn store(_: Level, from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
    fn scatter(level: Level, from: &[f32], to: &mut [Self], bits: &[u16]) {
        level.run(Map3 { from, to, bits, f: scatter_f16 });
    }
}

impl Element<f32> for bf16 {
    const ZERO: Self = bf16::ZERO;

    fn load(level: Level, from: &[Self], to: &mut [f32]) {
        level.run(Map { from, to, f: |x: bf16| f32::from_bits(u32::from(x.to_bits()) << 16) });
    }
    fn store(level: Level, from: &[f32], to: &mut [Self]) {
        level.run(Map { from, to, f: nearest_bf16 });
    }
    fn scatter(level: Level, from: &[f32], to: &mut [Self], bits: &[u16]) {
        level.run(Map3 { from, to, bits, f: scatter_bf16 });
    }
}

/// The nearest bfloat16, ties to even; without a branch, so that the loop becomes vectors.
#[inline(always)]
fn nearest_bf16(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    bf16::from_bits(if x.is_nan() { 0x7fc0 } else { rounded as u16 })
}

/// Truncates after adding a random number below one unit of the last place.
#[inline(always)]
fn scatter_bf16(x: f32, random: u16) -> bf16 {
    let bits = x.to_bits().wrapping_add(u32::from(random));
    if x.is_finite() { bf16::from_bits((bits >> 16) as u16) } else { nearest_bf16(x) }
}

/// As `scatter_bf16`; below 2^-14 the units of float16 stay 2^-24.
#[inline(always)]
fn scatter_f16(x: f32, random: u16) -> f16 {
    const SMALLEST_NORMAL: f32 = 1.0 / (1 << 14) as f32;
    if x.abs() < SMALLEST_NORMAL {
        let units = (x.abs() * (1_u64 << 40) as f32) as u32;
        let magnitude = (units + u32::from(random)) >> 16;
        return f16::from_bits(magnitude as u16 | if x.is_sign_negative() { 0x8000 } else { 0 });
    }
    if !x.is_finite() {
        return f16::from_f32(x);
    }
    f16::from_f32(f32::from_bits(x.to_bits().wrapping_add(u32::from(random >> 3)) & !0x1fff))
}

/// A float32 that is rounded to `H` after every operation.
#[derive(Clone, Copy, Debug)]
pub struct Each<H> {
    value: f32,
    stored: std::marker::PhantomData<H>,
}

/// A 16-bit type that [`Each`] rounds to.
pub trait Half: Element<f32> {
    /// The nearest value of the type, as a float32.
    fn round(value: f32) -> f32;
}

impl Half for f16 {
    #[inline(always)]
    fn round(value: f32) -> f32 {
        f16::from_f32(value).to_f32()
    }
}

impl Half for bf16 {
    #[inline(always)]
    fn round(value: f32) -> f32 {
        f32::from_bits(u32::from(nearest_bf16(value).to_bits()) << 16)
    }
}

impl<H: Half> Each<H> {
    #[inline(always)]
    fn exactly(value: f32) -> Self {
        Each { value, stored: std::marker::PhantomData }
    }
    #[inline(always)]
    fn rounded(value: f32) -> Self {
        Each::exactly(H::round(value))
    }
}

macro_rules! each {
    ($type:ty) => {
        impl Element<Each<$type>> for $type {
            const ZERO: Self = <$type>::ZERO;

            fn load(_: Level, from: &[Self], to: &mut [Each<$type>]) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = Each::exactly(from.to_f32()));
            }
            fn store(_: Level, from: &[Each<$type>], to: &mut [Self]) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = <$type>::from_f32(from.value));
            }
        }
    };
}
each!(f16);
each!(bf16);

/// One element at a time. What torch does with factors was measured: that of a product stays float32,
/// that of a product and sum (`alpha` of `add_`) is rounded to the 16-bit type first.
impl<H: Half> Real for Each<H> {
    type Lanes<S: Simd> = Each<H>;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        Each::exactly(value as f32)
    }
    #[inline(always)]
    fn splat<S: Simd>(_: S, value: Self) -> Self {
        value
    }
    #[inline(always)]
    fn fma<S: Simd>(_: S, a: Self, b: Self, c: Self) -> Self {
        Each::rounded(H::round(a.value).mul_add(b.value, c.value))
    }
    #[inline(always)]
    fn mul<S: Simd>(_: S, a: Self, b: Self) -> Self {
        Each::rounded(a.value * b.value)
    }
    #[inline(always)]
    fn sign<S: Simd>(_: S, a: Self) -> Self {
        Each::exactly(f32::from(a.value > 0.0) - f32::from(a.value < 0.0))
    }
    #[inline(always)]
    fn clamp<S: Simd>(_: S, a: Self, limit: Self) -> Self {
        let Each { value: limit, .. } = limit;
        Each::rounded(if a.value.is_nan() { a.value } else { a.value.clamp(-limit, limit) })
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
        slice.first().copied().unwrap_or(Each::exactly(0.0))
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
struct Map3<'a, A, B, F> {
    from: &'a [A],
    to: &'a mut [B],
    bits: &'a [u16],
    f: F,
}

impl<A: Copy, B, F: Fn(A, u16) -> B> WithSimd for Map3<'_, A, B, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Map3 { from, to, bits, f } = self;
        to.iter_mut().zip(from).zip(bits).for_each(|((to, &from), &bits)| *to = f(from, bits));
    }
}
