//! Registers of a SIMD level, and what pulp's [`Simd`] does not do with them: conversions between
//! float32, float16 and integers of 8, 16 and 32 bits.
//!
//! Loops take [`BLOCK`] elements at a time, as `K` vectors. A [`Body`] is compiled for every level.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub use x86::Avx2;

use pulp::Simd;
use pulp::bytemuck::{Pod, bytes_of, cast_slice, cast_slice_mut, pod_read_unaligned};

/// Elements that a loop over registers takes at a time.
pub const BLOCK: usize = 32;

/// Vectors of float32.
pub(crate) type Floats<R> = <<R as Registers>::Simd as Simd>::f32s;
/// Vectors of signed integers of 32 bits.
pub(crate) type Ints<R> = <<R as Registers>::Simd as Simd>::i32s;
/// Vectors of unsigned integers of 32 bits.
pub(crate) type Bits<R> = <<R as Registers>::Simd as Simd>::u32s;

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
}

/// What is compiled for every level, with a block of elements in `K` vectors.
pub trait Body {
    /// Runs it with the registers of a level.
    fn run<R: Registers, const K: usize>(self, r: R);
}

/// An array of `K` vectors, of which an expression is the one of an index. A closure might not be inlined,
/// and would then not be compiled for the level.
macro_rules! each {
    ($K:ident, $i:ident => $vector:expr) => {{
        let mut vectors = [pulp::bytemuck::Zeroable::zeroed(); $K];
        for $i in 0..$K {
            vectors[$i] = $vector;
        }
        vectors
    }};
}
pub(crate) use each;

/// The vectors of a block.
#[inline(always)]
pub(crate) fn load<T: Pod, V: Pod, const K: usize>(from: &[T; BLOCK]) -> [V; K] {
    let length = const { BLOCK / K };
    each!(K, i => pod_read_unaligned(cast_slice(&from[i * length..(i + 1) * length])))
}

/// Vectors as a block.
#[inline(always)]
pub(crate) fn store<T: Pod, V: Pod, const K: usize>(to: &mut [T; BLOCK], values: [V; K]) {
    let length = const { BLOCK / K };
    for i in 0..K {
        let bytes = cast_slice_mut::<T, u8>(&mut to[i * length..(i + 1) * length]);
        bytes.copy_from_slice(bytes_of(&values[i]));
    }
}
