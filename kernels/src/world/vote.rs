//! Signs in two bits, and majority votes on them.
//!
//! Signs come in groups of [`GROUP`], with [`WORDS`] words: first those that say which of them are
//! positive, then those that say which are negative. Bit `k` of word `j` is that of element `16 * k + j`
//! of the group, so that vectors of every SIMD level make the same words without moving bits between lanes.

use crate::simd::Level;
use pulp::{Simd, WithSimd};

/// Signs that are packed at a time.
pub const GROUP: usize = 512;
/// Words of a group.
pub const WORDS: usize = 2 * LANES;
/// Words of a group that say which of its signs are positive.
const LANES: usize = 16;
/// The most ranks whose votes can be counted, as a power of two.
const COUNTERS: usize = 16;

/// Packs the signs of numbers, whole groups of them. NaN has none, as zeros.
pub fn pack(level: Level, numbers: &[f32], words: &mut [u32]) {
    level.run(Pack { numbers, words });
}

/// For each sign, which of both the most voters have: the ties, and those that nobody has, are zeros.
pub fn vote(level: Level, voters: &[&[u32]], words: &mut [u32]) {
    assert!(voters.len() < 1 << COUNTERS);
    level.run(Vote { voters, words });
}

/// Writes 1, -1 or 0 for each sign.
pub fn unpack(level: Level, words: &[u32], numbers: &mut [f32]) {
    level.run(Unpack { words, numbers });
}

struct Pack<'a> {
    numbers: &'a [f32],
    words: &'a mut [u32],
}

impl WithSimd for Pack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (zero, none) = (s.splat_f32s(0.0), s.splat_u32s(0));
        let groups = self.numbers.as_chunks::<GROUP>().0;
        for (numbers, words) in groups.iter().zip(self.words.as_chunks_mut::<WORDS>().0) {
            let (numbers, _) = S::as_simd_f32s(numbers);
            let (positive, negative) = words.split_at_mut(LANES);
            let (positive, _) = S::as_mut_simd_u32s(positive);
            let (negative, _) = S::as_mut_simd_u32s(negative);
            let count = positive.len();
            for (i, (positive, negative)) in positive.iter_mut().zip(negative).enumerate() {
                let (mut above, mut below) = (none, none);
                for (k, &x) in numbers[i..].iter().step_by(count).enumerate() {
                    let bit = s.splat_u32s(1 << k);
                    let is_above = s.select_u32s(s.less_than_f32s(zero, x), bit, none);
                    let is_below = s.select_u32s(s.less_than_f32s(x, zero), bit, none);
                    above = s.or_u32s(above, is_above);
                    below = s.or_u32s(below, is_below);
                }
                (*positive, *negative) = (above, below);
            }
        }
    }
}

struct Unpack<'a> {
    words: &'a [u32],
    numbers: &'a mut [f32],
}

impl WithSimd for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (zero, one, none) = (s.splat_f32s(0.0), s.splat_f32s(1.0), s.splat_u32s(0));
        let groups = self.words.as_chunks::<WORDS>().0;
        for (words, numbers) in groups.iter().zip(self.numbers.as_chunks_mut::<GROUP>().0) {
            let (numbers, _) = S::as_mut_simd_f32s(numbers);
            let (positive, negative) = words.split_at(LANES);
            let (positive, _) = S::as_simd_u32s(positive);
            let (negative, _) = S::as_simd_u32s(negative);
            let count = positive.len();
            for (i, (&positive, &negative)) in positive.iter().zip(negative).enumerate() {
                for (k, x) in numbers[i..].iter_mut().step_by(count).enumerate() {
                    let bit = s.splat_u32s(1 << k);
                    let one_if = |word| {
                        let is_unset = s.equal_u32s(s.and_u32s(word, bit), none);
                        s.select_f32s(is_unset, zero, one)
                    };
                    *x = s.sub_f32s(one_if(positive), one_if(negative));
                }
            }
        }
    }
}

struct Vote<'a> {
    voters: &'a [&'a [u32]],
    words: &'a mut [u32],
}

impl WithSimd for Vote<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Vote { voters, words } = self;
        let digits = (usize::BITS - voters.len().leading_zeros()) as usize;
        for (group, words) in words.as_chunks_mut::<WORDS>().0.iter_mut().enumerate() {
            let (positive, negative) = words.split_at_mut(LANES);
            let (positive, _) = S::as_mut_simd_u32s(positive);
            let (negative, _) = S::as_mut_simd_u32s(negative);
            let count = positive.len();
            for (i, (positive, negative)) in positive.iter_mut().zip(negative).enumerate() {
                let mut counts = [[s.splat_u32s(0); COUNTERS]; 2];
                for voter in voters {
                    let (voter, _) = S::as_simd_u32s(&voter[group * WORDS..][..WORDS]);
                    let [above, below] = &mut counts;
                    increment(s, &mut above[..digits], voter[i]);
                    increment(s, &mut below[..digits], voter[count + i]);
                }
                (*positive, *negative) = compare(s, &counts[0][..digits], &counts[1][..digits]);
            }
        }
    }
}

/// Adds a bit to each of many counts, whose digits are in as many words.
#[inline(always)]
fn increment<S: Simd>(s: S, digits: &mut [S::u32s], bits: S::u32s) {
    let mut carry = bits;
    for digit in digits {
        let sum = s.xor_u32s(*digit, carry);
        carry = s.and_u32s(*digit, carry);
        *digit = sum;
    }
}

/// Where the first counts are greater than the second ones, and where they are less.
#[inline(always)]
fn compare<S: Simd>(s: S, first: &[S::u32s], second: &[S::u32s]) -> (S::u32s, S::u32s) {
    let (mut greater, mut less) = (s.splat_u32s(0), s.splat_u32s(0));
    for (&a, &b) in first.iter().zip(second).rev() {
        let undecided = s.not_u32s(s.or_u32s(greater, less));
        let differ = s.and_u32s(s.xor_u32s(a, b), undecided);
        greater = s.or_u32s(greater, s.and_u32s(differ, a));
        less = s.or_u32s(less, s.and_u32s(differ, b));
    }
    (greater, less)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of all kinds, other ones for each voter.
    fn numbers(voter: usize) -> Vec<f32> {
        let kinds =
            [1.5, -0.0, f32::NAN, -1e-45, f32::INFINITY, 0.0, -2.0, f32::NEG_INFINITY, 3e-42];
        (0..4 * GROUP).map(|i| kinds[(i / (voter + 1) + 5 * voter) % kinds.len()]).collect()
    }

    fn sign(x: f32) -> i32 {
        i32::from(x > 0.0) - i32::from(x < 0.0)
    }

    #[test]
    fn the_majority_wins_and_ties_are_zeros_on_every_level() {
        for count in [1, 2, 3, 4, 5, 8, 17] {
            let voters: Vec<Vec<f32>> = (0..count).map(numbers).collect();
            let expected: Vec<f32> = (0..4 * GROUP)
                .map(|i| voters.iter().map(|numbers| sign(numbers[i])).sum::<i32>().signum() as f32)
                .collect();
            let mut first = None;
            for level in Level::available() {
                let packed: Vec<Vec<u32>> = voters
                    .iter()
                    .map(|numbers| {
                        let mut words = vec![7; 4 * WORDS];
                        pack(level, numbers, &mut words);
                        words
                    })
                    .collect();
                let mut words = vec![7; 4 * WORDS];
                vote(level, &packed.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut words);
                let mut found = vec![7.0; 4 * GROUP];
                unpack(level, &words, &mut found);
                assert_eq!(found, expected, "{count} voters at level {}", level.name());
                assert_eq!(*first.get_or_insert(packed.clone()), packed);
            }
        }
    }

    #[test]
    fn bit_k_of_word_j_is_that_of_element_16_k_plus_j() {
        for (i, x) in [(0, 1.0), (17, -1.0), (511, 1.0)] {
            let mut numbers = [0.0; GROUP];
            numbers[i] = x;
            let mut words = [0; WORDS];
            pack(Level::best(), &numbers, &mut words);
            let mut expected = [0; WORDS];
            expected[i % LANES + if x > 0.0 { 0 } else { LANES }] = 1 << (i / LANES);
            assert_eq!(words, expected);
        }
    }
}
