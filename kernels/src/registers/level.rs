//! What a SIMD level does besides pulp's [`Simd`]: conversions in registers.

use pulp::Simd;
use pulp::bytemuck::{Pod, bytes_of, cast_slice, pod_read_unaligned};

/// Vectors of float32.
pub(crate) type Floats<R> = <<R as Registers>::Simd as Simd>::f32s;
/// Vectors of signed integers of 32 bits.
pub(crate) type Ints<R> = <<R as Registers>::Simd as Simd>::i32s;
/// Vectors of unsigned integers of 32 bits.
pub(crate) type Bits<R> = <<R as Registers>::Simd as Simd>::u32s;

/// A bit for each element of a vector, the first one lowest; vectors have at most as many elements.
const POWERS: [u32; 16] = {
    let mut powers = [1; 16];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = 1 << i;
        i += 1;
    }
    powers
};

#[inline(always)]
fn powers<R: Registers>() -> Bits<R> {
    pod_read_unaligned(&cast_slice(&POWERS)[..size_of::<Bits<R>>()])
}

/// A SIMD level with conversions. Vectors of 32-bit elements are pulp's; `Words` and `Bytes` are as many
/// elements of 16 and 8 bits.
pub trait Registers: Copy {
    /// What pulp does at this level.
    type Simd: Simd;
    /// As many elements of 16 bits as a vector has of 32.
    type Words: Pod;
    /// As many elements of 8 bits.
    type Bytes: Pod;

    /// What pulp does at this level.
    fn simd(self) -> Self::Simd;
    /// Words with zeros above them.
    fn widen_words(self, words: Self::Words) -> Bits<Self>;
    /// Words with copies of their signs above them.
    fn widen_signed_words(self, words: Self::Words) -> Ints<Self>;
    /// Bytes with copies of their signs above them.
    fn widen_signed_bytes(self, bytes: Self::Bytes) -> Ints<Self>;
    /// The lower halves of integers.
    fn narrow_to_words(self, values: Bits<Self>) -> Self::Words;
    /// The lowest bytes of integers.
    fn narrow_to_bytes(self, values: Bits<Self>) -> Self::Bytes;
    /// Integers of at most 24 bits as float32.
    fn floats(self, values: Ints<Self>) -> Floats<Self>;
    /// The nearest integers, ties to even, of numbers below 2^22; anything for others.
    fn integers(self, values: Floats<Self>) -> Ints<Self>;
    /// Whether an element of either is NaN.
    fn any_nan(self, a: Floats<Self>, b: Floats<Self>) -> bool;
    /// A bit for each element of `a` that is greater than that of `b`, the first one lowest.
    #[inline(always)]
    fn greater(self, a: Floats<Self>, b: Floats<Self>) -> u32 {
        let simd = self.simd();
        let bits = simd.less_than_f32s(b, a);
        let bits = simd.select_u32s(bits, powers::<Self>(), simd.splat_u32s(0));
        cast_slice::<u8, u32>(bytes_of(&bits)).iter().fold(0, |all, bit| all | bit)
    }
    /// 1 for each element whose bit is set, 0 for the others. Further bits do not matter.
    #[inline(always)]
    fn ones(self, bits: u32) -> Floats<Self> {
        let simd = self.simd();
        let [zero, one] = [0.0, 1.0].map(|x| simd.splat_f32s(x));
        let picked = simd.and_u32s(simd.splat_u32s(bits), powers::<Self>());
        simd.select_f32s(simd.equal_u32s(picked, simd.splat_u32s(0)), zero, one)
    }
    /// The largest element.
    fn largest(self, values: Ints<Self>) -> i32;
    /// Shifts zeros in from the right.
    fn shl<const BITS: u32>(self, values: Bits<Self>) -> Bits<Self>;
    /// Shifts zeros in from the left.
    fn shr<const BITS: u32>(self, values: Bits<Self>) -> Bits<Self>;
    /// float16 as float32.
    fn widen_f16(self, words: Self::Words) -> Floats<Self>;
    /// The nearest float16, ties to even; of a NaN its sign and 0x7e00.
    fn narrow_f16(self, values: Floats<Self>) -> Self::Words;

    // Of two vectors at a time, as wide levels have instructions for these.

    /// The lower halves of integers.
    #[inline(always)]
    fn lower_words(self, [a, b]: [Bits<Self>; 2]) -> [Self::Words; 2] {
        [self.narrow_to_words(a), self.narrow_to_words(b)]
    }
    /// The upper halves of integers.
    #[inline(always)]
    fn upper_words(self, [a, b]: [Bits<Self>; 2]) -> [Self::Words; 2] {
        self.lower_words([self.shr::<16>(a), self.shr::<16>(b)])
    }
    /// The lowest bytes of integers.
    #[inline(always)]
    fn lowest_bytes(self, [a, b]: [Bits<Self>; 2]) -> [Self::Bytes; 2] {
        [self.narrow_to_bytes(a), self.narrow_to_bytes(b)]
    }
    /// The second lowest bytes of integers.
    #[inline(always)]
    fn second_bytes(self, [a, b]: [Bits<Self>; 2]) -> [Self::Bytes; 2] {
        self.lowest_bytes([self.shr::<8>(a), self.shr::<8>(b)])
    }
    /// Whether one of the bytes is the least that there is.
    #[inline(always)]
    fn any_least(self, bytes: [Self::Bytes; 2]) -> bool {
        bytes_of(&bytes).contains(&0x80)
    }
    /// Words as upper halves, above zeros.
    #[inline(always)]
    fn raise_words(self, [a, b]: [Self::Words; 2]) -> [Bits<Self>; 2] {
        [self.shl::<16>(self.widen_words(a)), self.shl::<16>(self.widen_words(b))]
    }
    /// Words as upper halves, plus signed words.
    #[inline(always)]
    fn raise_plus_words(
        self,
        upper: [Self::Words; 2],
        [a, b]: [Self::Words; 2],
    ) -> [Bits<Self>; 2] {
        let simd = self.simd();
        let [upper_a, upper_b] = self.raise_words(upper);
        let wide = |words| simd.transmute_u32s_i32s(self.widen_signed_words(words));
        [simd.add_u32s(upper_a, wide(a)), simd.add_u32s(upper_b, wide(b))]
    }
    /// Words as upper halves, plus signed bytes in units of 256.
    #[inline(always)]
    fn raise_plus_bytes(
        self,
        upper: [Self::Words; 2],
        [a, b]: [Self::Bytes; 2],
    ) -> [Bits<Self>; 2] {
        let simd = self.simd();
        let [upper_a, upper_b] = self.raise_words(upper);
        let wide = |bytes| simd.transmute_u32s_i32s(self.widen_signed_bytes(bytes));
        [
            simd.add_u32s(upper_a, self.shl::<8>(wide(a))),
            simd.add_u32s(upper_b, self.shl::<8>(wide(b))),
        ]
    }
}
