//! Numbers that rounding is dithered by: they depend on the seed, the step, the tensor, the block and the
//! element, and on nothing else.

use crate::random::Source;
use crate::registers::{BLOCK, Bits, Registers, each, load};
use pulp::Simd;

/// What the numbers of two neighbors differ by: they are spread evenly over a block.
const STRIDE: u32 = 0x9e37_79b9;

/// What is added to the first number of a block for each of its elements.
const LANES: [u32; BLOCK] = lanes();

const fn lanes() -> [u32; BLOCK] {
    let mut lanes = [0; BLOCK];
    let mut i = 0;
    while i < BLOCK {
        lanes[i] = STRIDE.wrapping_mul(i as u32);
        i += 1;
    }
    lanes
}

/// What the numbers of one tensor in one step follow from.
pub(crate) fn key(Source { seed, step }: &Source, tensor: u32) -> u32 {
    seed[0]
        .wrapping_add(seed[1].wrapping_mul(0x9e37_79b1))
        .wrapping_add((*step as u32).wrapping_mul(0x91e1_0da5))
        .wrapping_add(tensor.wrapping_mul(0xc13f_a9a9))
}

/// The numbers of a block.
#[inline(always)]
pub(crate) fn numbers<R: Registers, const K: usize>(r: R, key: u32, block: u32) -> [Bits<R>; K] {
    let simd = r.simd();
    let first = simd.splat_u32s(hash(block.wrapping_add(key)));
    let lanes: [Bits<R>; K] = load(&LANES);
    each!(K, i => simd.add_u32s(first, lanes[i]))
}

#[inline(always)]
fn hash(mut word: u32) -> u32 {
    word = word.wrapping_mul(0x9e37_79b1);
    word ^= word >> 15;
    word = word.wrapping_mul(0x85eb_ca77);
    word ^ word >> 13
}
