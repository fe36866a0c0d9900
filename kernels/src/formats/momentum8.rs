//! Momentum in 8 bits: integers from -127 to 127 in blocks of 32, each block in units of a power of two.
//!
//! A scale is the exponent of its unit as float32 has it in its bits, from 18 to 248, or 0 in memory that has
//! never been written, where all values are 0 too. The unit is the least with which the largest finite
//! element of the block needs no more than 127. Values are rounded to the nearest integer after adding a
//! number between -1/2 and 1/2 ([`dither`](super::dither)), so that they are right on average. -128 stands
//! for NaN and for what is not finite.
//!
//! The values of a tensor, padded with zeros to a multiple of [`ALIGN`] bytes, and its scales lie behind
//! each other.

use crate::registers::{BLOCK, Bits, Floats, Registers, each, in_pairs, load, store};
use pulp::{Scalar, Simd};

/// Bytes to whose multiples values are padded.
pub const ALIGN: usize = 64;

/// What stands for NaN and for what is not finite.
const NOT_FINITE: i8 = -128;
/// The largest magnitude that is stored, 127 * 2^121, as bits.
const LARGEST: i32 = 0x7f7e_0000;

/// The number of scales of so many values.
pub const fn scales(length: usize) -> usize {
    length.div_ceil(BLOCK)
}

/// How many bytes behind the first value of so many the first scale lies.
pub const fn scales_offset(length: usize) -> usize {
    length.next_multiple_of(ALIGN)
}

/// The momentum of a block.
#[inline(always)]
pub(crate) fn decode<R: Registers, const K: usize>(
    r: R,
    values: &[i8; BLOCK],
    scale: u8,
) -> [Floats<R>; K] {
    let bytes: [R::Bytes; K] = load(values);
    let mut is_marked = false;
    for i in (0..K).step_by(2) {
        is_marked |= r.any_least([bytes[i], bytes[i + 1]]);
    }
    if is_marked {
        return load(&decode_marked(values, scale));
    }
    let simd = r.simd();
    let unit = simd.splat_f32s(unit_of(scale));
    each!(K, i => simd.mul_f32s(r.floats(r.widen_signed_bytes(bytes[i])), unit))
}

#[inline(always)]
fn unit_of(scale: u8) -> f32 {
    f32::from_bits(u32::from(scale) << 23)
}

/// As [`decode`], of a block of which not all is finite: one number at a time.
#[cold]
#[inline(never)]
fn decode_marked(values: &[i8; BLOCK], scale: u8) -> [f32; BLOCK] {
    values
        .map(|value| if value == NOT_FINITE { f32::NAN } else { f32::from(value) * unit_of(scale) })
}

/// Stores the momentum of a block, dithered by numbers, and returns its scale.
#[inline(always)]
pub(crate) fn encode<R: Registers, const K: usize>(
    r: R,
    momentum: [Floats<R>; K],
    numbers: [Bits<R>; K],
    values: &mut [i8; BLOCK],
) -> u8 {
    let simd = r.simd();
    let mut maximum = simd.splat_u32s(0);
    for x in momentum {
        let bits = simd.transmute_u32s_f32s(x);
        let magnitude = simd.and_u32s(bits, simd.splat_u32s(0x7fff_ffff));
        maximum = simd.max_u32s(maximum, magnitude);
    }
    let largest = r.largest(simd.transmute_i32s_u32s(maximum));
    if largest > LARGEST {
        let (mut from, mut dither) = ([0.0; BLOCK], [0; BLOCK]);
        store(&mut from, momentum);
        store(&mut dither, numbers);
        return encode_marked(&from, &dither, values);
    }
    let (scale, inverse) = scale_of(largest);
    let inverse = simd.splat_f32s(inverse);
    let integers = each!(K, i => {
        let z = dithered(r, simd.mul_f32s(momentum[i], inverse), numbers[i]);
        simd.transmute_u32s_i32s(r.integers(z))
    });
    let bytes: [R::Bytes; K] = in_pairs!(K, i => r.lowest_bytes([integers[i], integers[i + 1]]));
    store(values, bytes);
    scale
}

/// The scale of a block whose largest magnitude has some bits, and the inverse of its unit.
#[inline(always)]
fn scale_of(largest: i32) -> (u8, f32) {
    let exponent = ((largest as u32 + 0x1_ffff) >> 23).max(24) - 6;
    (exponent as u8, f32::from_bits((254 - exponent) << 23))
}

/// As [`encode`], of a block of which not all is finite: one number at a time.
#[cold]
#[inline(never)]
fn encode_marked(from: &[f32; BLOCK], numbers: &[u32; BLOCK], values: &mut [i8; BLOCK]) -> u8 {
    let magnitude = |x: &f32| (x.to_bits() & 0x7fff_ffff) as i32;
    let finite = from.iter().map(magnitude).filter(|&magnitude| magnitude <= LARGEST);
    let (scale, inverse) = scale_of(finite.max().unwrap_or(0));
    for (value, (x, &number)) in values.iter_mut().zip(from.iter().zip(numbers)) {
        let z = dithered(Scalar, x * inverse, number);
        let is_finite = magnitude(x) <= LARGEST;
        *value = if is_finite { Scalar.integers(z) as i8 } else { NOT_FINITE };
    }
    scale
}

/// Adds odd multiples of 2^-16 between -1/2 and 1/2.
#[inline(always)]
fn dithered<R: Registers>(r: R, value: Floats<R>, number: Bits<R>) -> Floats<R> {
    let simd = r.simd();
    let upper = simd.and_u32s(number, simd.splat_u32s(0xffff_0000));
    let odd = simd.or_u32s(upper, simd.splat_u32s(0x0001_0000));
    let unit = simd.splat_f32s(1.0 / (1_u64 << 32) as f32);
    // The product is exact, so that it does not matter whether it is rounded.
    simd.mul_add_e_f32s(r.floats(simd.transmute_i32s_u32s(odd)), unit, value)
}
