//! The 16-bit types in registers.

use crate::registers::{Bits, Floats, Registers};
use half::{bf16, f16};
use pulp::Simd;

/// A 16-bit type.
pub(crate) trait Word: 'static {
    /// Elements as float32.
    fn widen<R: Registers>(r: R, words: R::Words) -> Floats<R>;
    /// The nearest elements, ties to even.
    fn narrow<R: Registers>(r: R, values: Floats<R>) -> R::Words;
}

impl Word for f16 {
    #[inline(always)]
    fn widen<R: Registers>(r: R, words: R::Words) -> Floats<R> {
        r.widen_f16(words)
    }
    #[inline(always)]
    fn narrow<R: Registers>(r: R, values: Floats<R>) -> R::Words {
        r.narrow_f16(values)
    }
}

impl Word for bf16 {
    #[inline(always)]
    fn widen<R: Registers>(r: R, words: R::Words) -> Floats<R> {
        r.simd().transmute_f32s_u32s(r.shl::<16>(r.widen_words(words)))
    }
    #[inline(always)]
    fn narrow<R: Registers>(r: R, values: Floats<R>) -> R::Words {
        let simd = r.simd();
        let bits = simd.transmute_u32s_f32s(values);
        let odd = simd.and_u32s(r.shr::<16>(bits), simd.splat_u32s(1));
        let half = simd.add_u32s(odd, simd.splat_u32s(0x7fff));
        let rounded = r.shr::<16>(simd.add_u32s(bits, half));
        let ordered = simd.equal_f32s(values, values);
        r.narrow_to_words(simd.select_u32s(ordered, rounded, simd.splat_u32s(0x7fc0)))
    }
}

/// The bfloat16 of NaN, as integers.
#[inline(always)]
pub(super) fn nan_words<R: Registers>(r: R, nan: Floats<R>) -> Bits<R> {
    let simd = r.simd();
    let upper = r.shr::<16>(simd.transmute_u32s_f32s(nan));
    simd.or_u32s(upper, simd.splat_u32s(0x40))
}
