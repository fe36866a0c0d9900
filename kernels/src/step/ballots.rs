//! Ballots of a step by majority vote: two bits for each element of a block.
//!
//! The lower half of a ballot says which elements are to rise, the upper half which are to fall; the
//! first element has the lowest bit. Loops over blocks cast and follow them in registers, types that
//! these do not know take [`tally`] and [`spread`].

use super::storage::{Blocks, Storage};
use super::vectors::Vectors;
use crate::registers::{BLOCK, Body, Floats, Registers, each};
use crate::rule::{Factors, Lines, update};
use pulp::Simd;
use std::marker::PhantomData;

/// Bits of one half of a ballot.
const HALF: u32 = BLOCK as u32;
const _: () = assert!(2 * HALF == u64::BITS);

/// Parameters that are stored as `P` and only read: instead of being moved to plus or minus infinity,
/// each casts a vote.
pub(super) struct Cast<P>(PhantomData<P>);

impl<P: Storage> Storage for Cast<P> {
    #[inline(always)]
    fn shorten(blocks: &mut Blocks<'_>, count: usize) {
        P::shorten(blocks, count);
        blocks.ballots = &mut std::mem::take(&mut blocks.ballots)[..count];
    }
    #[inline(always)]
    fn load<R: Registers, const K: usize>(r: R, from: &Blocks<'_>, block: usize) -> [Floats<R>; K] {
        P::load(r, from, block)
    }
    #[inline(always)]
    fn store<R: Registers, const K: usize>(
        r: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    ) {
        let zero = r.simd().splat_f32s(0.0);
        let (mut rises, mut falls) = (0, 0);
        for (i, value) in values.into_iter().enumerate() {
            let first = i as u32 * const { HALF / K as u32 };
            rises |= r.greater(value, zero) << first;
            falls |= r.greater(zero, value) << first;
        }
        to.ballots[block] = u64::from(rises) | u64::from(falls) << HALF;
    }
}

/// The loop for parameters that are stored as `P` and moved along ballots.
pub(super) struct Follow<'a, P> {
    factors: Factors<f32>,
    lines: Lines,
    blocks: Blocks<'a>,
    storage: PhantomData<P>,
}

impl<'a, P> Follow<'a, P> {
    /// Moves parameters by these lines of the rule, of which there is none on momentum.
    pub(super) fn new(factors: Factors<f32>, lines: Lines, blocks: Blocks<'a>) -> Self {
        Follow { factors, lines, blocks, storage: PhantomData }
    }
}

impl<P: Storage> Body for Follow<'_, P> {
    #[inline(always)]
    fn run<R: Registers, const K: usize>(self, r: R) {
        let Follow { factors, lines, mut blocks, .. } = self;
        let factors = factors.map(|factor| [r.simd().splat_f32s(factor); K]);
        let count = blocks.ballots.len();
        P::shorten(&mut blocks, count);
        for block in 0..count {
            let p = P::load(r, &blocks, block);
            let g = signs(r, blocks.ballots[block]);
            let (p, _) = update(Vectors::<R::Simd, K>(r.simd()), &factors, lines, p, g, g);
            P::store(r, &mut blocks, block, p);
        }
    }
}

/// 1, -1 or 0 for each element of a block.
#[inline(always)]
fn signs<R: Registers, const K: usize>(r: R, ballot: u64) -> [Floats<R>; K] {
    each!(K, i => {
        let first = i as u32 * const { HALF / K as u32 };
        let [rises, falls] = [ballot as u32 >> first, (ballot >> HALF) as u32 >> first];
        r.simd().sub_f32s(r.ones(rises), r.ones(falls))
    })
}

/// Ballots of numbers, by their signs; zeros and NaN have none.
pub fn tally<T: Copy>(from: &[T], ballots: &mut [u64], value: impl Fn(T) -> f64) {
    for (block, ballot) in from.chunks(BLOCK).zip(ballots) {
        *ballot = block.iter().enumerate().fold(0, |ballot, (i, &x)| {
            let x = value(x);
            ballot | u64::from(x > 0.0) << i | u64::from(x < 0.0) << (BLOCK + i)
        });
    }
}

/// A number for each element of ballots.
pub fn spread<T>(ballots: &[u64], to: &mut [T], number: impl Fn(f32) -> T) {
    for (block, ballot) in to.chunks_mut(BLOCK).zip(ballots) {
        for (i, to) in block.iter_mut().enumerate() {
            let [rises, falls] = [ballot >> i & 1, ballot >> (BLOCK + i) & 1];
            *to = number(rises as f32 - falls as f32);
        }
    }
}
