//! Registers of one element, for processors of which nothing is known.

use super::level::Registers;
use crate::dtype::{nearest_f16, widen_f16};
use half::f16;
use pulp::Scalar;

impl Registers for Scalar {
    type Simd = Scalar;
    type Words = u16;
    type Bytes = i8;

    #[inline(always)]
    fn simd(self) -> Scalar {
        self
    }
    #[inline(always)]
    fn widen_words(self, word: u16) -> u32 {
        word.into()
    }
    #[inline(always)]
    fn widen_signed_words(self, word: u16) -> i32 {
        (word as i16).into()
    }
    #[inline(always)]
    fn widen_signed_bytes(self, byte: i8) -> i32 {
        byte.into()
    }
    #[inline(always)]
    fn narrow_to_words(self, value: u32) -> u16 {
        value as u16
    }
    #[inline(always)]
    fn narrow_to_bytes(self, value: u32) -> i8 {
        value as i8
    }
    #[inline(always)]
    fn floats(self, value: i32) -> f32 {
        value as f32
    }
    #[inline(always)]
    fn integers(self, value: f32) -> i32 {
        // 1.5 * 2^23: numbers of this size are whole.
        ((value + 12_582_912.0) - 12_582_912.0) as i32
    }
    #[inline(always)]
    fn any_nan(self, a: f32, b: f32) -> bool {
        a.is_nan() || b.is_nan()
    }
    #[inline(always)]
    fn largest(self, value: i32) -> i32 {
        value
    }
    #[inline(always)]
    fn shl<const BITS: u32>(self, value: u32) -> u32 {
        value << BITS
    }
    #[inline(always)]
    fn shr<const BITS: u32>(self, value: u32) -> u32 {
        value >> BITS
    }
    #[inline(always)]
    fn widen_f16(self, word: u16) -> f32 {
        widen_f16(f16::from_bits(word))
    }
    #[inline(always)]
    fn narrow_f16(self, value: f32) -> u16 {
        nearest_f16(value).to_bits()
    }
}
