//! Master weights in two parts: a bfloat16 parameter, and a correction of 16 or 8 bits.
//!
//! The master's bits are those of the parameter, above 16 zeros, plus the correction. A parameter that
//! somebody else has written may have a correction that does not belong to it; it is then wrong by no more
//! than half a unit of bfloat16, and never makes NaN of a number.

use super::words::nan_words;
use crate::registers::{BLOCK, Bits, Floats, Registers, each, has_nan, in_pairs, load, store};
use pulp::{Scalar, Simd};

/// Masters of a block with 16-bit corrections.
#[inline(always)]
pub(crate) fn join<R: Registers, const K: usize>(
    r: R,
    params: &[u16; BLOCK],
    corrections: &[u16; BLOCK],
) -> [Floats<R>; K] {
    let (upper, lower): ([R::Words; K], [R::Words; K]) = (load(params), load(corrections));
    let bits =
        in_pairs!(K, i => r.raise_plus_words([upper[i], upper[i + 1]], [lower[i], lower[i + 1]]));
    let masters = each!(K, i => r.simd().transmute_f32s_u32s(bits[i]));
    if !has_nan(r, &masters) {
        return masters;
    }
    load(&corrected(params, &corrections.map(|word| i32::from(word as i16))))
}

/// As [`join`], with 8-bit corrections, in units of 256.
#[inline(always)]
pub(crate) fn join24<R: Registers, const K: usize>(
    r: R,
    params: &[u16; BLOCK],
    corrections: &[i8; BLOCK],
) -> [Floats<R>; K] {
    let (upper, lower): ([R::Words; K], [R::Bytes; K]) = (load(params), load(corrections));
    let bits =
        in_pairs!(K, i => r.raise_plus_bytes([upper[i], upper[i + 1]], [lower[i], lower[i + 1]]));
    let masters = each!(K, i => r.simd().transmute_f32s_u32s(bits[i]));
    if !has_nan(r, &masters) {
        return masters;
    }
    load(&corrected(params, &corrections.map(|byte| 256 * i32::from(byte))))
}

/// Parameters with their corrections, one number at a time. A correction that would make NaN of a zero,
/// by taking it below itself, or of an infinity belongs to another parameter and is left out.
#[cold]
#[inline(never)]
fn corrected(params: &[u16; BLOCK], corrections: &[i32; BLOCK]) -> [f32; BLOCK] {
    std::array::from_fn(|i| master(params[i], corrections[i]))
}

/// The master of a parameter with its correction, in units of the last of 32 bits.
pub fn master(param: u16, correction: i32) -> f32 {
    let upper = u32::from(param) << 16;
    let master = f32::from_bits(upper.wrapping_add_signed(correction));
    if master.is_nan() { f32::from_bits(upper) } else { master }
}

/// Stores the masters of a block with 16-bit corrections.
#[inline(always)]
pub(crate) fn split<R: Registers, const K: usize>(
    r: R,
    masters: [Floats<R>; K],
    params: &mut [u16; BLOCK],
    corrections: &mut [u16; BLOCK],
) {
    let bits = each!(K, i => r.simd().transmute_u32s_f32s(masters[i]));
    let lower = store_upper(r, masters, bits, params);
    let words: [R::Words; K] = in_pairs!(K, i => r.lower_words([lower[i], lower[i + 1]]));
    store(corrections, words);
}

/// As [`split`], with 8-bit corrections: the masters are rounded to 24 bits, dithered by numbers.
#[inline(always)]
pub(crate) fn split24<R: Registers, const K: usize>(
    r: R,
    masters: [Floats<R>; K],
    numbers: [Bits<R>; K],
    params: &mut [u16; BLOCK],
    corrections: &mut [i8; BLOCK],
) {
    let simd = r.simd();
    // The lowest 8 bits are cut off with what is below the correction; no carry comes from them.
    let bits = each!(K, i => {
        simd.add_u32s(simd.transmute_u32s_f32s(masters[i]), r.shr::<24>(numbers[i]))
    });
    let lower = store_upper(r, masters, bits, params);
    let bytes: [R::Bytes; K] = in_pairs!(K, i => r.second_bytes([lower[i], lower[i + 1]]));
    store(corrections, bytes);
}

/// Stores the parameters of masters with some bits, and returns what these have to be corrected by, of
/// which the upper half means nothing. NaN gets a parameter that is NaN, and the correction 0.
#[inline(always)]
fn store_upper<R: Registers, const K: usize>(
    r: R,
    masters: [Floats<R>; K],
    bits: [Bits<R>; K],
    params: &mut [u16; BLOCK],
) -> [Bits<R>; K] {
    let simd = r.simd();
    if has_nan(r, &masters) {
        let (mut from, mut lower) = ([0.0; BLOCK], [0; BLOCK]);
        store(&mut from, masters);
        store(&mut lower, bits);
        store_numbers(&from, &mut lower, params);
        return load(&lower);
    }
    let half = simd.splat_u32s(0x8000);
    let rounded = each!(K, i => simd.add_u32s(bits[i], half));
    let words: [R::Words; K] = in_pairs!(K, i => r.upper_words([rounded[i], rounded[i + 1]]));
    store(params, words);
    bits
}

/// As [`store_upper`], one number at a time.
#[cold]
#[inline(never)]
fn store_numbers(masters: &[f32; BLOCK], bits: &mut [u32; BLOCK], params: &mut [u16; BLOCK]) {
    for ((master, bits), param) in masters.iter().zip(bits).zip(params) {
        if master.is_nan() {
            (*param, *bits) = (nan_words(Scalar, *master) as u16, 0);
        } else {
            *param = (bits.wrapping_add(0x8000) >> 16) as u16;
        }
    }
}
