//! Registers of AVX2 and AVX-512.

use super::level::Registers;
use pulp::bytemuck::cast;
use pulp::x86::{V3, V4};
use pulp::{Simd, f32x8, f32x16, i32x8, i32x16, u32x8, u32x16};
use std::arch::x86_64::{__m128i, __m256, __m256i, __m512i};

pulp::simd_type!({
    /// AVX2 with FMA, which is pulp's [`V3`], and F16C, which pulp has no functions for.
    pub struct Avx2 {
        sse: f!("sse"),
        sse2: f!("sse2"),
        fxsr: f!("fxsr"),
        sse3: f!("sse3"),
        ssse3: f!("ssse3"),
        sse4_1: f!("sse4.1"),
        sse4_2: f!("sse4.2"),
        popcnt: f!("popcnt"),
        avx: f!("avx"),
        avx2: f!("avx2"),
        bmi1: f!("bmi1"),
        bmi2: f!("bmi2"),
        fma: f!("fma"),
        lzcnt: f!("lzcnt"),
        f16c: f!("f16c"),
    }
});

impl Avx2 {
    /// The part that pulp knows.
    #[inline(always)]
    pub fn v3(self) -> V3 {
        V3 {
            sse: self.sse,
            sse2: self.sse2,
            fxsr: self.fxsr,
            sse3: self.sse3,
            ssse3: self.ssse3,
            sse4_1: self.sse4_1,
            sse4_2: self.sse4_2,
            popcnt: self.popcnt,
            avx: self.avx,
            avx2: self.avx2,
            bmi1: self.bmi1,
            bmi2: self.bmi2,
            fma: self.fma,
            lzcnt: self.lzcnt,
        }
    }

    /// The lower halves of both halves of a vector.
    #[inline(always)]
    fn even_quarters(self, values: __m256i) -> __m128i {
        let values = self.avx2._mm256_permute4x64_epi64::<0b1000>(values);
        self.avx._mm256_castsi256_si128(values)
    }
}

/// In each half of a vector, the lower halves of integers.
const LOWER_WORDS: [i8; 16] = [0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1];
/// In each half of a vector, the lowest bytes of integers.
const LOWEST_BYTES: [i8; 16] = [0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1];
/// Rounding to nearest: `_MM_FROUND_TO_NEAREST_INT`.
const NEAREST: i32 = 0;

impl Registers for Avx2 {
    type Simd = V3;
    type Words = __m128i;
    type Bytes = i64;

    #[inline(always)]
    fn simd(self) -> V3 {
        self.v3()
    }
    #[inline(always)]
    fn widen_words(self, words: __m128i) -> u32x8 {
        cast(self.avx2._mm256_cvtepu16_epi32(words))
    }
    #[inline(always)]
    fn widen_signed_words(self, words: __m128i) -> i32x8 {
        cast(self.avx2._mm256_cvtepi16_epi32(words))
    }
    #[inline(always)]
    fn widen_signed_bytes(self, bytes: i64) -> i32x8 {
        cast(self.avx2._mm256_cvtepi8_epi32(self.sse2._mm_set_epi64x(0, bytes)))
    }
    #[inline(always)]
    fn narrow_to_words(self, values: u32x8) -> __m128i {
        let order = cast([LOWER_WORDS; 2]);
        self.even_quarters(self.avx2._mm256_shuffle_epi8(cast(values), order))
    }
    #[inline(always)]
    fn narrow_to_bytes(self, values: u32x8) -> i64 {
        let order = cast([LOWEST_BYTES; 2]);
        let quarters = self.avx2._mm256_shuffle_epi8(cast(values), order);
        let high = self.avx2._mm256_extracti128_si256::<1>(quarters);
        let low = self.avx._mm256_castsi256_si128(quarters);
        let [bytes, _]: [i64; 2] = cast(self.sse2._mm_unpacklo_epi32(low, high));
        bytes
    }
    #[inline(always)]
    fn any_least(self, bytes: [i64; 2]) -> bool {
        let sse2 = self.sse2;
        let equal = sse2._mm_cmpeq_epi8(cast(bytes), sse2._mm_set1_epi8(i8::MIN));
        sse2._mm_movemask_epi8(equal) != 0
    }
    #[inline(always)]
    fn floats(self, values: i32x8) -> f32x8 {
        cast(self.avx._mm256_cvtepi32_ps(cast(values)))
    }
    #[inline(always)]
    fn integers(self, values: f32x8) -> i32x8 {
        cast(self.avx._mm256_cvtps_epi32(cast(values)))
    }
    #[inline(always)]
    fn any_nan(self, a: f32x8, b: f32x8) -> bool {
        let unordered =
            self.avx._mm256_cmp_ps::<{ std::arch::x86_64::_CMP_UNORD_Q }>(cast(a), cast(b));
        self.avx._mm256_movemask_ps(unordered) != 0
    }
    #[inline(always)]
    fn greater(self, a: f32x8, b: f32x8) -> u32 {
        let greater = self.avx._mm256_cmp_ps::<{ std::arch::x86_64::_CMP_GT_OQ }>(cast(a), cast(b));
        self.avx._mm256_movemask_ps(greater) as u32
    }
    #[inline(always)]
    fn largest(self, values: i32x8) -> i32 {
        let low = self.avx._mm256_castsi256_si128(cast(values));
        let high = self.avx2._mm256_extracti128_si256::<1>(cast(values));
        let (sse2, sse4_1) = (self.sse2, self.sse4_1);
        let four = sse4_1._mm_max_epi32(low, high);
        let two = sse4_1._mm_max_epi32(four, sse2._mm_shuffle_epi32::<0b0100_1110>(four));
        let one = sse4_1._mm_max_epi32(two, sse2._mm_shuffle_epi32::<0b1011_0001>(two));
        sse2._mm_cvtsi128_si32(one)
    }
    #[inline(always)]
    fn shl<const BITS: u32>(self, values: u32x8) -> u32x8 {
        let simd = self.simd();
        simd.wrapping_dyn_shl_u32s(values, simd.splat_u32s(BITS))
    }
    #[inline(always)]
    fn shr<const BITS: u32>(self, values: u32x8) -> u32x8 {
        let simd = self.simd();
        simd.wrapping_dyn_shr_u32s(values, simd.splat_u32s(BITS))
    }
    #[inline(always)]
    fn widen_f16(self, words: __m128i) -> f32x8 {
        // SAFETY: the token says that this processor has F16C.
        cast::<__m256, _>(unsafe { std::arch::x86_64::_mm256_cvtph_ps(words) })
    }
    #[inline(always)]
    fn narrow_f16(self, values: f32x8) -> __m128i {
        let values = plain_nan(self.simd(), values);
        // SAFETY: the token says that this processor has F16C.
        unsafe { std::arch::x86_64::_mm256_cvtps_ph::<NEAREST>(cast(values)) }
    }
}

impl Registers for V4 {
    type Simd = V4;
    type Words = __m256i;
    type Bytes = __m128i;

    #[inline(always)]
    fn simd(self) -> V4 {
        self
    }
    #[inline(always)]
    fn widen_words(self, words: __m256i) -> u32x16 {
        cast(self.avx512f._mm512_cvtepu16_epi32(words))
    }
    #[inline(always)]
    fn widen_signed_words(self, words: __m256i) -> i32x16 {
        cast(self.avx512f._mm512_cvtepi16_epi32(words))
    }
    #[inline(always)]
    fn widen_signed_bytes(self, bytes: __m128i) -> i32x16 {
        cast(self.avx512f._mm512_cvtepi8_epi32(bytes))
    }
    #[inline(always)]
    fn narrow_to_words(self, values: u32x16) -> __m256i {
        self.avx512f._mm512_cvtepi32_epi16(cast(values))
    }
    #[inline(always)]
    fn narrow_to_bytes(self, values: u32x16) -> __m128i {
        self.avx512f._mm512_cvtepi32_epi8(cast(values))
    }
    #[inline(always)]
    fn floats(self, values: i32x16) -> f32x16 {
        cast(self.avx512f._mm512_cvtepi32_ps(cast(values)))
    }
    #[inline(always)]
    fn integers(self, values: f32x16) -> i32x16 {
        cast(self.avx512f._mm512_cvtps_epi32(cast(values)))
    }
    #[inline(always)]
    fn any_nan(self, a: f32x16, b: f32x16) -> bool {
        self.avx512f._mm512_cmp_ps_mask::<{ std::arch::x86_64::_CMP_UNORD_Q }>(cast(a), cast(b))
            != 0
    }
    #[inline(always)]
    fn greater(self, a: f32x16, b: f32x16) -> u32 {
        self.avx512f
            ._mm512_cmp_ps_mask::<{ std::arch::x86_64::_CMP_GT_OQ }>(cast(a), cast(b))
            .into()
    }
    #[inline(always)]
    fn ones(self, bits: u32) -> f32x16 {
        cast(self.avx512f._mm512_maskz_mov_ps(bits as u16, cast(self.splat_f32s(1.0))))
    }
    #[inline(always)]
    fn largest(self, values: i32x16) -> i32 {
        self.avx512f._mm512_reduce_max_epi32(cast(values))
    }
    #[inline(always)]
    fn shl<const BITS: u32>(self, values: u32x16) -> u32x16 {
        self.wrapping_dyn_shl_u32s(values, self.splat_u32s(BITS))
    }
    #[inline(always)]
    fn shr<const BITS: u32>(self, values: u32x16) -> u32x16 {
        self.wrapping_dyn_shr_u32s(values, self.splat_u32s(BITS))
    }
    #[inline(always)]
    fn widen_f16(self, words: __m256i) -> f32x16 {
        cast(self.avx512f._mm512_cvtph_ps(words))
    }
    #[inline(always)]
    fn narrow_f16(self, values: f32x16) -> __m256i {
        let values = plain_nan(self, values);
        self.avx512f._mm512_cvtps_ph::<NEAREST>(cast(values))
    }

    #[inline(always)]
    fn lower_words(self, [a, b]: [u32x16; 2]) -> [__m256i; 2] {
        let order = cast(words_from(0, 2));
        cast(self.avx512bw._mm512_permutex2var_epi16(cast(a), order, cast(b)))
    }
    #[inline(always)]
    fn upper_words(self, [a, b]: [u32x16; 2]) -> [__m256i; 2] {
        let order = cast(words_from(1, 2));
        cast(self.avx512bw._mm512_permutex2var_epi16(cast(a), order, cast(b)))
    }
    #[inline(always)]
    fn lowest_bytes(self, values: [u32x16; 2]) -> [__m128i; 2] {
        cast(self.avx512bw._mm512_cvtepi16_epi8(cast(self.lower_words(values))))
    }
    #[inline(always)]
    fn second_bytes(self, values: [u32x16; 2]) -> [__m128i; 2] {
        let avx512 = self.avx512bw;
        let words = avx512._mm512_srli_epi16::<8>(cast(self.lower_words(values)));
        cast(avx512._mm512_cvtepi16_epi8(words))
    }
    #[inline(always)]
    fn any_least(self, bytes: [__m128i; 2]) -> bool {
        let least = self.avx._mm256_set1_epi8(i8::MIN);
        self.avx512bw._mm256_cmpeq_epi8_mask(cast(bytes), least) != 0
    }
    #[inline(always)]
    fn raise_words(self, words: [__m256i; 2]) -> [u32x16; 2] {
        let raise = |from| {
            let order = cast(pairs_from(from, from));
            let odd = 0xaaaa_aaaa;
            cast(self.avx512bw._mm512_maskz_permutexvar_epi16(odd, order, cast(words)))
        };
        [raise(0), raise(16)]
    }
    #[inline(always)]
    fn raise_plus_words(self, upper: [__m256i; 2], words: [__m256i; 2]) -> [u32x16; 2] {
        raise_plus(self, cast(upper), cast(words))
    }
    #[inline(always)]
    fn raise_plus_bytes(self, upper: [__m256i; 2], bytes: [__m128i; 2]) -> [u32x16; 2] {
        let avx512 = self.avx512bw;
        let words = avx512._mm512_slli_epi16::<8>(avx512._mm512_cvtepi8_epi16(cast(bytes)));
        raise_plus(self, cast(upper), words)
    }
}

/// Words as upper halves, plus signed words: what is negative takes 1 from the upper half.
#[inline(always)]
fn raise_plus(level: V4, upper: __m512i, words: __m512i) -> [u32x16; 2] {
    let avx512 = level.avx512bw;
    let upper = avx512._mm512_add_epi16(upper, avx512._mm512_srai_epi16::<15>(words));
    [0, 16].map(|from| {
        let order = cast(pairs_from(from, 32 + from));
        cast(avx512._mm512_permutex2var_epi16(words, order, upper))
    })
}

/// The numbers of 32 words, of which each is so much above the last one.
const fn words_from(first: u16, stride: u16) -> [u16; 32] {
    let mut words = [0; 32];
    let mut i = 0;
    while i < words.len() {
        words[i] = first + stride * i as u16;
        i += 1;
    }
    words
}

/// The numbers of 16 pairs of words.
const fn pairs_from(lower: u16, upper: u16) -> [u16; 32] {
    let mut words = [0; 32];
    let mut i = 0;
    while i < words.len() {
        words[i] = if i % 2 == 0 { lower } else { upper } + i as u16 / 2;
        i += 1;
    }
    words
}

/// Takes the payload of NaN away, of which a processor keeps the upper bits.
#[inline(always)]
fn plain_nan<S: Simd>(simd: S, values: S::f32s) -> S::f32s {
    let bits = simd.transmute_u32s_f32s(values);
    let nan = simd
        .or_u32s(simd.and_u32s(bits, simd.splat_u32s(0x8000_0000)), simd.splat_u32s(0x7fc0_0000));
    let ordered = simd.equal_f32s(values, values);
    simd.select_f32s(ordered, values, simd.transmute_f32s_u32s(nan))
}
