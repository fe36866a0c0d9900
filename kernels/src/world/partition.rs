//! Which rank sums up and steps which elements.
//!
//! The elements of all tensors are cut into blocks, tensor by tensor; some consecutive blocks are a
//! bucket, whose gradients are exchanged at a time; and each rank has some consecutive blocks of each
//! bucket. Blocks are those of the norm, so that each of them is summed up by one rank, and the total
//! of a tensor is put together of the same parts as in one process. What a rank has does not depend on
//! which tensors have gradients.

use crate::gradients::norm::BLOCK;
use std::ops::Range;

/// Consecutive elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The index of the tensor.
    pub tensor: usize,
    /// Its first element in the tensor.
    pub from: usize,
    /// How many there are.
    pub length: usize,
}

/// Some consecutive blocks, of which each rank has a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// What the ranks have, in the order of the ranks and of the elements.
    segments: Vec<Segment>,
    /// Where each rank's begin, and where the last one's end.
    starts: Vec<usize>,
}

impl Bucket {
    /// How many ranks share it.
    pub fn ranks(&self) -> usize {
        self.starts.len() - 1
    }

    /// What a rank has of it.
    pub fn of(&self, rank: usize) -> &[Segment] {
        &self.segments[self.starts[rank]..self.starts[rank + 1]]
    }

    /// The consecutive elements that it consists of, if it lies in one tensor.
    pub fn whole(&self) -> Option<Segment> {
        let (first, last) = (self.segments.first()?, self.segments.last()?);
        let length = last.from + last.length - first.from;
        (first.tensor == last.tensor).then_some(Segment { length, ..*first })
    }

    /// All of it.
    pub fn all(&self) -> &[Segment] {
        &self.segments
    }
}

/// Blocks of a bucket where few ranks share it: 1 MiB of float32. From half to twice of it makes no
/// difference.
const BLOCKS: usize = (1 << 18) / BLOCK;

/// Elements of a bucket: as many blocks for each rank, one at least, so that a step and what it keeps are
/// divided evenly among any number of ranks. Beyond `BLOCKS` of them buckets grow, and with them staging.
pub fn bucket_length(ranks: usize) -> usize {
    BLOCK * ranks * (BLOCKS / ranks).max(1)
}

/// Cuts tensors of some lengths into buckets of about as many elements, for so many ranks.
pub fn buckets(lengths: &[usize], bucket: usize, ranks: usize) -> Vec<Bucket> {
    let blocks: Vec<Segment> = lengths.iter().enumerate().flat_map(blocks_of).collect();
    let mut found = Vec::new();
    let mut start = 0;
    while start < blocks.len() {
        let end = start + count_up_to(&blocks[start..], bucket);
        found.push(share_out(&blocks[start..end], ranks));
        start = end;
    }
    found
}

fn blocks_of((tensor, &length): (usize, &usize)) -> impl Iterator<Item = Segment> {
    (0..length.div_ceil(BLOCK)).map(move |block| {
        let from = block * BLOCK;
        Segment { tensor, from, length: BLOCK.min(length - from) }
    })
}

/// How many blocks make up a bucket: one at least.
fn count_up_to(blocks: &[Segment], elements: usize) -> usize {
    let mut sum = 0;
    let over = blocks.iter().position(|block| {
        sum += block.length;
        sum > elements
    });
    over.unwrap_or(blocks.len()).max(1)
}

fn share_out(blocks: &[Segment], ranks: usize) -> Bucket {
    let mut bucket = Bucket { segments: Vec::new(), starts: vec![0] };
    for rank in 0..ranks {
        let share: Range<usize> = blocks.len() * rank / ranks..blocks.len() * (rank + 1) / ranks;
        join(&blocks[share], &mut bucket.segments);
        bucket.starts.push(bucket.segments.len());
    }
    bucket
}

/// Appends blocks as segments, of which neighbors in one tensor are one.
fn join(blocks: &[Segment], segments: &mut Vec<Segment>) {
    let first = segments.len();
    for &block in blocks {
        match segments[first..].last_mut() {
            Some(last) if last.tensor == block.tensor => last.length += block.length,
            _ => segments.push(block),
        }
    }
}

/// Bytes of what each rank has of a bucket.
pub fn sizes_of(bucket: &Bucket, size: usize, bytes: impl Fn(&Segment) -> usize) -> Vec<usize> {
    (0..size).map(|rank| bucket.of(rank).iter().map(&bytes).sum()).collect()
}

/// Where each of some consecutive parts begins, and where the last one ends.
pub fn starts_of(lengths: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let (mut starts, mut end) = (Vec::new(), 0);
    for length in lengths {
        starts.push(end);
        end += length;
    }
    (starts, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_belongs_to_one_rank() {
        let lengths = [10, 0, 5 * BLOCK + 1, 3, BLOCK, 100 * BLOCK];
        for ranks in [1, 2, 3, 4, 7] {
            for size in [1, BLOCK, 10 * BLOCK, 1 << 20] {
                let mut ends = lengths.map(|_| 0);
                for bucket in buckets(&lengths, size, ranks) {
                    let parts: Vec<_> = (0..ranks).flat_map(|rank| bucket.of(rank)).collect();
                    assert_eq!(parts, bucket.all().iter().collect::<Vec<_>>());
                    for &Segment { tensor, from, length } in parts {
                        assert!(length > 0 && from % BLOCK == 0 && from == ends[tensor]);
                        ends[tensor] += length;
                    }
                }
                assert_eq!(ends, lengths);
            }
        }
    }

    #[test]
    fn ranks_have_equal_parts_of_whole_buckets() {
        for ranks in [1, 2, 3, 5, 33, 48, 64, 65, 1024] {
            let length = bucket_length(ranks);
            assert!(length <= (1 << 18).max(ranks * BLOCK) && 2 * length > 1 << 18);
            let buckets = buckets(&[3 * length], length, ranks);
            assert_eq!(buckets.len(), 3);
            for bucket in buckets {
                for rank in 0..ranks {
                    assert_eq!(
                        bucket.of(rank).iter().map(|s| s.length).sum::<usize>(),
                        length / ranks
                    );
                }
            }
        }
    }

    #[test]
    fn ranks_have_equal_parts_but_for_a_block() {
        let [bucket] = &buckets(&[8 * BLOCK], 8 * BLOCK, 3)[..] else { panic!() };
        let counts = [0, 1, 2].map(|rank| bucket.of(rank).iter().map(|s| s.length).sum::<usize>());
        assert_eq!(counts, [2 * BLOCK, 3 * BLOCK, 3 * BLOCK]);
    }
}
