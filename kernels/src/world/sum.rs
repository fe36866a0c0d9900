//! Sums over the ranks, in the order of the ranks.

use super::messages::{Messages, Patience};
use pulp::bytemuck::{AnyBitPattern, NoUninit, cast_slice, cast_slice_mut};

/// What can be summed up.
pub trait Summable: Copy + Default + NoUninit + AnyBitPattern {
    /// The sum of two, rounded.
    fn plus(self, other: Self) -> Self;
}

impl Summable for f32 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

impl Summable for f64 {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

/// Elements to whose multiples a piece is cut among the ranks: a line of the cache.
const LINE: usize = 16;

/// How many elements of a piece each rank sums up.
pub fn shares(length: usize, size: usize) -> Vec<usize> {
    let share = length.div_ceil(size).next_multiple_of(LINE);
    (0..size).map(|rank| length.saturating_sub(rank * share).min(share)).collect()
}

/// Each rank sums up its share of a piece, and gives it to all. `staging` is memory that is kept.
pub fn sum_piece<T: Summable>(
    messages: &mut dyn Messages,
    piece: &mut [T],
    staging: &mut Vec<T>,
    patience: &Patience,
) {
    let (rank, size) = (messages.rank(), messages.size());
    let shares = shares(piece.len(), size);
    let own = shares[rank];
    let bytes = |elements: usize| elements * size_of::<T>();
    let out: Vec<usize> = shares.iter().map(|&share| bytes(share)).collect();
    staging.clear();
    staging.resize(own * size, T::default());
    let start: usize = shares[..rank].iter().sum();
    staging[rank * own..][..own].copy_from_slice(&piece[start..start + own]);
    let received = cast_slice_mut(&mut staging[..]);
    messages.all_to_all(
        cast_slice(piece),
        &out,
        received,
        &vec![bytes(own); size],
        patience,
        &mut || (),
    );
    add_up(staging, own, size);
    messages.all_gather_parts(
        cast_slice(&staging[..own]),
        cast_slice_mut(piece),
        &out,
        patience,
        &mut || (),
    );
}

/// Adds parts of so many elements to the first, one after the other.
fn add_up<T: Summable>(parts: &mut [T], length: usize, count: usize) {
    if length == 0 {
        return;
    }
    let (sum, others) = parts.split_at_mut(length);
    debug_assert_eq!(others.len(), length * (count - 1));
    for part in others.chunks(length) {
        for (sum, &value) in sum.iter_mut().zip(part) {
            *sum = sum.plus(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_lines_and_make_up_the_whole() {
        for (length, size) in [(0, 2), (1, 2), (16, 2), (17, 2), (1000, 3), (4096, 4), (5, 7)] {
            let shares = shares(length, size);
            assert_eq!((shares.len(), shares.iter().sum::<usize>()), (size, length));
            let mut start = 0;
            for share in shares {
                assert!(share == 0 || start % LINE == 0);
                start += share;
            }
        }
    }

    #[test]
    fn parts_are_added_in_their_order() {
        let mut parts = [1e8_f32, 3.0, 3.0, 2.0, 3.0, 1.0];
        add_up(&mut parts, 2, 3);
        assert_eq!(parts[..2], [(1e8_f32 + 3.0) + 3.0, 6.0]);
    }
}
