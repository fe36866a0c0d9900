//! The 16-bit types in registers.

use crate::dtype::nearest_bf16;
use crate::registers::{BLOCK, Bits, Floats, Registers, each, has_nan, in_pairs, load, store};
use half::{bf16, f16};
use pulp::Simd;

/// A 16-bit type.
pub(crate) trait Word: 'static {
    /// A block as float32.
    fn widen<R: Registers, const K: usize>(r: R, words: [R::Words; K]) -> [Floats<R>; K];
    /// The nearest elements of a block, ties to even.
    fn narrow<R: Registers, const K: usize>(r: R, values: [Floats<R>; K]) -> [R::Words; K];
}

impl Word for f16 {
    #[inline(always)]
    fn widen<R: Registers, const K: usize>(r: R, words: [R::Words; K]) -> [Floats<R>; K] {
        each!(K, i => r.widen_f16(words[i]))
    }
    #[inline(always)]
    fn narrow<R: Registers, const K: usize>(r: R, values: [Floats<R>; K]) -> [R::Words; K] {
        each!(K, i => r.narrow_f16(values[i]))
    }
}

impl Word for bf16 {
    #[inline(always)]
    fn widen<R: Registers, const K: usize>(r: R, words: [R::Words; K]) -> [Floats<R>; K] {
        let bits = in_pairs!(K, i => r.raise_words([words[i], words[i + 1]]));
        each!(K, i => r.simd().transmute_f32s_u32s(bits[i]))
    }
    #[inline(always)]
    fn narrow<R: Registers, const K: usize>(r: R, values: [Floats<R>; K]) -> [R::Words; K] {
        if has_nan(r, &values) {
            let mut numbers = [0.0; BLOCK];
            store(&mut numbers, values);
            return load(&nearest(&numbers));
        }
        let simd = r.simd();
        let rounded = each!(K, i => {
            let bits = simd.transmute_u32s_f32s(values[i]);
            let odd = simd.and_u32s(r.shr::<16>(bits), simd.splat_u32s(1));
            simd.add_u32s(bits, simd.add_u32s(odd, simd.splat_u32s(0x7fff)))
        });
        in_pairs!(K, i => r.upper_words([rounded[i], rounded[i + 1]]))
    }
}

/// The nearest bfloat16, one number at a time.
#[cold]
#[inline(never)]
fn nearest(values: &[f32; BLOCK]) -> [u16; BLOCK] {
    values.map(|value| nearest_bf16(value).to_bits())
}

/// The bfloat16 of NaN, as integers.
#[inline(always)]
pub(super) fn nan_words<R: Registers>(r: R, nan: Floats<R>) -> Bits<R> {
    let simd = r.simd();
    let upper = r.shr::<16>(simd.transmute_u32s_f32s(nan));
    simd.or_u32s(upper, simd.splat_u32s(0x40))
}
