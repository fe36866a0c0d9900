//! Registers of NEON.

use super::level::Registers;
use crate::dtype::{nearest_f16, widen_f16};
use half::f16;
use pulp::aarch64::Neon;
use pulp::bytemuck::cast;
use pulp::{f32x4, i32x4, u32x4};

impl Registers for Neon {
    type Simd = Neon;
    type Words = [u16; 4];
    type Bytes = [i8; 4];

    #[inline(always)]
    fn simd(self) -> Neon {
        self
    }
    #[inline(always)]
    fn widen_words(self, words: [u16; 4]) -> u32x4 {
        cast(self.neon.vmovl_u16(cast(words)))
    }
    #[inline(always)]
    fn widen_signed_words(self, words: [u16; 4]) -> i32x4 {
        cast(self.neon.vmovl_s16(cast(words)))
    }
    #[inline(always)]
    fn widen_signed_bytes(self, bytes: [i8; 4]) -> i32x4 {
        let neon = self.neon;
        let words = neon.vmovl_s8(cast([bytes, [0; 4]]));
        cast(neon.vmovl_s16(neon.vget_low_s16(words)))
    }
    #[inline(always)]
    fn narrow_to_words(self, values: u32x4) -> [u16; 4] {
        cast(self.neon.vmovn_u32(cast(values)))
    }
    #[inline(always)]
    fn narrow_to_bytes(self, values: u32x4) -> [i8; 4] {
        let neon = self.neon;
        let words = neon.vmovn_u32(cast(values));
        let [bytes, _]: [[i8; 4]; 2] = cast(neon.vmovn_u16(neon.vcombine_u16(words, words)));
        bytes
    }
    #[inline(always)]
    fn floats(self, values: i32x4) -> f32x4 {
        cast(self.neon.vcvtq_f32_s32(cast(values)))
    }
    #[inline(always)]
    fn integers(self, values: f32x4) -> i32x4 {
        cast(self.neon.vcvtnq_s32_f32(cast(values)))
    }
    #[inline(always)]
    fn any_nan(self, a: f32x4, b: f32x4) -> bool {
        let neon = self.neon;
        let (a, b) = (neon.vceqq_f32(cast(a), cast(a)), neon.vceqq_f32(cast(b), cast(b)));
        neon.vminvq_u32(neon.vandq_u32(a, b)) == 0
    }
    #[inline(always)]
    fn largest(self, values: i32x4) -> i32 {
        self.neon.vmaxvq_s32(cast(values))
    }
    #[inline(always)]
    fn shl<const BITS: u32>(self, values: u32x4) -> u32x4 {
        let values: [u32; 4] = cast(values); // the compiler makes one instruction of it
        cast(values.map(|value| value << BITS))
    }
    #[inline(always)]
    fn shr<const BITS: u32>(self, values: u32x4) -> u32x4 {
        let values: [u32; 4] = cast(values);
        cast(values.map(|value| value >> BITS))
    }
    #[inline(always)]
    fn widen_f16(self, words: [u16; 4]) -> f32x4 {
        cast(words.map(|word| widen_f16(f16::from_bits(word))))
    }
    #[inline(always)]
    fn narrow_f16(self, values: f32x4) -> [u16; 4] {
        let values: [f32; 4] = cast(values);
        values.map(|value| nearest_f16(value).to_bits())
    }
}
