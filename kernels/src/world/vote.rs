//! Majority votes on ballots, as [`crate::step::tally`] makes them.

use crate::simd::Level;
use pulp::{Simd, WithSimd};

/// Ballots that are counted at a time.
pub const LINE: usize = 8;
/// A word of each of them.
type Words = [u64; LINE];

/// For each element, whether more voters want it to rise than to fall, or the other way round. Ballots
/// come in whole lines; a tie has neither bit.
pub fn vote(level: Level, voters: &[&[u64]], result: &mut [u64]) {
    match voters.len() {
        0..4 => level.run(Vote::<2> { voters, result }),
        4..8 => level.run(Vote::<3> { voters, result }),
        8..128 => level.run(Vote::<7> { voters, result }),
        count => {
            assert!(count < 1 << 16, "so many votes cannot be counted");
            level.run(Vote::<16> { voters, result });
        }
    }
}

/// Counts with so many binary digits, of which each has a word for a bit of every count.
struct Vote<'a, const DIGITS: usize> {
    voters: &'a [&'a [u64]],
    result: &'a mut [u64],
}

impl<const DIGITS: usize> WithSimd for Vote<'_, DIGITS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (i, result) in self.result.as_chunks_mut::<LINE>().0.iter_mut().enumerate() {
            let mut digits = [[0; LINE]; DIGITS];
            for voter in self.voters {
                add(&mut digits, voter.as_chunks().0[i]);
            }
            *result = majority(&digits);
        }
    }
}

/// Adds a bit to every count.
#[inline(always)]
fn add<const DIGITS: usize>(digits: &mut [Words; DIGITS], mut carry: Words) {
    for digit in digits {
        for (digit, carry) in digit.iter_mut().zip(&mut carry) {
            (*digit, *carry) = (*digit ^ *carry, *digit & *carry);
        }
    }
}

/// Where a count is greater than that of the same element in the other half of the word.
#[inline(always)]
fn majority<const DIGITS: usize>(digits: &[Words; DIGITS]) -> Words {
    let (mut greater, mut less) = ([0; LINE], [0; LINE]);
    for digit in digits.iter().rev() {
        for i in 0..LINE {
            let [own, other] = [digit[i], digit[i].rotate_left(u64::BITS / 2)];
            let decides = (own ^ other) & !(greater[i] | less[i]);
            greater[i] |= decides & own;
            less[i] |= decides & other;
        }
    }
    greater
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{spread, tally};

    const LENGTH: usize = 4 * LINE * 32;

    /// Numbers of all kinds, other ones for each voter.
    fn numbers(voter: usize) -> Vec<f32> {
        let kinds =
            [1.5, -0.0, f32::NAN, -1e-45, f32::INFINITY, 0.0, -2.0, f32::NEG_INFINITY, 3e-42];
        (0..LENGTH).map(|i| kinds[(i / (voter + 1) + 5 * voter) % kinds.len()]).collect()
    }

    fn sign(x: f32) -> i32 {
        i32::from(x > 0.0) - i32::from(x < 0.0)
    }

    #[test]
    fn the_majority_wins_and_ties_are_zeros_on_every_level() {
        for count in [1, 2, 3, 4, 5, 8, 17, 130] {
            let voters: Vec<Vec<f32>> = (0..count).map(numbers).collect();
            let expected: Vec<f32> = (0..LENGTH)
                .map(|i| voters.iter().map(|numbers| sign(numbers[i])).sum::<i32>().signum() as f32)
                .collect();
            let ballots: Vec<Vec<u64>> = voters
                .iter()
                .map(|numbers| {
                    let mut ballots = vec![7; 4 * LINE];
                    tally(numbers, &mut ballots, f64::from);
                    ballots
                })
                .collect();
            for level in Level::available() {
                let mut result = vec![7; 4 * LINE];
                vote(level, &ballots.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut result);
                let mut found = vec![7.0; LENGTH];
                spread(&result, &mut found, |sign| sign);
                assert_eq!(found, expected, "{count} voters at level {}", level.name());
            }
        }
    }

    #[test]
    fn a_ballot_has_rising_elements_below_falling_ones() {
        for (i, x, expected) in
            [(0, 1.0, [1, 0]), (17, -1.0, [1 << 49, 0]), (63, 1.0, [0, 1 << 31])]
        {
            let mut numbers = [0.0; 64];
            numbers[i] = x;
            let mut ballots = [7; 2];
            tally(&numbers, &mut ballots, |x| x);
            assert_eq!(ballots, expected);
        }
    }
}
