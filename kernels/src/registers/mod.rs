//! Registers of a SIMD level, and what pulp's [`Simd`] does not do with them: conversions between
//! float32, float16 and integers of 8, 16 and 32 bits.
//!
//! Loops take [`BLOCK`] elements at a time, as `K` vectors. A [`Body`] is compiled for every level.

mod level;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub use x86::Avx2;

pub use level::Registers;
pub(crate) use level::{Bits, Floats};
use pulp::bytemuck::{Pod, bytes_of, cast_slice, cast_slice_mut, pod_read_unaligned};

/// Elements that a loop over registers takes at a time.
pub const BLOCK: usize = 32;

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

/// Whether an element of a block is NaN. Two vectors take one comparison.
#[inline(always)]
pub(crate) fn has_nan<R: Registers, const K: usize>(r: R, values: &[Floats<R>; K]) -> bool {
    let mut any = false;
    for i in (0..K).step_by(2) {
        any |= r.any_nan(values[i], values[(i + 1) % K]);
    }
    any
}

/// What a function of two vectors makes of those of a block.
macro_rules! in_pairs {
    ($K:ident, $i:ident => $pair:expr) => {{
        let mut vectors = [pulp::bytemuck::Zeroable::zeroed(); $K];
        for $i in (0..$K).step_by(2) {
            [vectors[$i], vectors[($i + 1) % $K]] = $pair;
        }
        vectors
    }};
}
pub(crate) use in_pairs;
