//! Master weights in two parts: a bfloat16 parameter, and a correction of 16 or 8 bits.
//!
//! The master's bits are those of the parameter, above 16 zeros, plus the correction. A parameter that
//! somebody else has written may have a correction that does not belong to it; it is then wrong by no more
//! than half a unit of bfloat16, and never makes NaN of a number.

use super::words::nan_words;
use crate::registers::{BLOCK, Bits, Floats, Registers, each, load, store};
use pulp::Simd;
use pulp::bytemuck::Zeroable;

/// Masters of a block with 16-bit corrections.
#[inline(always)]
pub(crate) fn join<R: Registers, const K: usize>(
    r: R,
    params: &[u16; BLOCK],
    corrections: &[u16; BLOCK],
) -> [Floats<R>; K] {
    let (params, corrections): ([R::Words; K], [R::Words; K]) = (load(params), load(corrections));
    each!(K, i => {
        let correction = r.simd().transmute_u32s_i32s(r.widen_signed_words(corrections[i]));
        corrected(r, params[i], correction)
    })
}

/// As [`join`], with 8-bit corrections, in units of 256.
#[inline(always)]
pub(crate) fn join24<R: Registers, const K: usize>(
    r: R,
    params: &[u16; BLOCK],
    corrections: &[i8; BLOCK],
) -> [Floats<R>; K] {
    let (params, corrections): ([R::Words; K], [R::Bytes; K]) = (load(params), load(corrections));
    each!(K, i => {
        let correction = r.simd().transmute_u32s_i32s(r.widen_signed_bytes(corrections[i]));
        corrected(r, params[i], r.shl::<8>(correction))
    })
}

/// Parameters with their corrections. A correction that would make NaN of a zero, by taking it below
/// itself, or of an infinity belongs to another parameter and is left out.
#[inline(always)]
fn corrected<R: Registers>(r: R, params: R::Words, correction: Bits<R>) -> Floats<R> {
    let simd = r.simd();
    let upper = r.shl::<16>(r.widen_words(params));
    let master = simd.transmute_f32s_u32s(simd.add_u32s(upper, correction));
    let ordered = simd.equal_f32s(master, master);
    simd.select_f32s(ordered, master, simd.transmute_f32s_u32s(upper))
}

/// Stores the masters of a block with 16-bit corrections.
#[inline(always)]
pub(crate) fn split<R: Registers, const K: usize>(
    r: R,
    masters: [Floats<R>; K],
    params: &mut [u16; BLOCK],
    corrections: &mut [u16; BLOCK],
) {
    let (mut words, mut lower_words) = ([R::Words::zeroed(); K], [R::Words::zeroed(); K]);
    for i in 0..K {
        let (upper, lower) = halves(r, masters[i], r.simd().transmute_u32s_f32s(masters[i]));
        words[i] = r.narrow_to_words(upper);
        lower_words[i] = r.narrow_to_words(lower);
    }
    store(params, words);
    store(corrections, lower_words);
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
    let (mut words, mut bytes) = ([R::Words::zeroed(); K], [R::Bytes::zeroed(); K]);
    for i in 0..K {
        let bits = simd.transmute_u32s_f32s(masters[i]);
        let dithered = simd.add_u32s(bits, r.shr::<24>(numbers[i]));
        let rounded = simd.and_u32s(dithered, simd.splat_u32s(!0xff));
        let (upper, lower) = halves(r, masters[i], rounded);
        words[i] = r.narrow_to_words(upper);
        bytes[i] = r.narrow_to_bytes(r.shr::<8>(lower));
    }
    store(params, words);
    store(corrections, bytes);
}

/// The parameter of a master's bits and what it has to be corrected by, of which the upper half means
/// nothing. NaN gets a parameter that is NaN, and the correction 0.
#[inline(always)]
fn halves<R: Registers>(r: R, master: Floats<R>, bits: Bits<R>) -> (Bits<R>, Bits<R>) {
    let simd = r.simd();
    let ordered = simd.equal_f32s(master, master);
    let upper = r.shr::<16>(simd.add_u32s(bits, simd.splat_u32s(0x8000)));
    let upper = simd.select_u32s(ordered, upper, nan_words(r, master));
    (upper, simd.select_u32s(ordered, bits, simd.splat_u32s(0)))
}
