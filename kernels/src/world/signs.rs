//! A step by majority vote (signSGD; Bernstein et al. 2018): each rank updates its own momentum and gives
//! the signs of what it would move along to the others, and all of them move along those that the most
//! ranks have.

use super::exchange::{Moves, Part};
use super::partition::{Bucket, Segment, buckets};
use super::staging::{Staging, elements, elements_mut};
use super::vote::{GROUP, WORDS, pack, unpack, vote};
use crate::error::Error;
use crate::simd::Level;
use pulp::bytemuck::cast_slice;

/// Elements whose signs are packed at a time: their numbers stay in a cache.
const CHUNK: usize = 1 << 17;

/// Bytes of a message at least, but for the last one.
const MESSAGE: usize = 1 << 18;

/// The same of a rank's part of a message: more ranks have longer messages, and not more of them.
const PART: usize = 1 << 12;

/// Up to so many ranks each gets the signs of all others. More of them divide the counting, so that what a
/// rank receives does not grow with their number.
const FEW: usize = 4;

/// Elements to whose multiples segments begin within a chunk.
const LINE: usize = 16;

/// Elements of a tensor, and where their numbers begin in the chunk.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which elements.
    pub segment: Segment,
    /// The first of their numbers.
    pub start: usize,
}

/// The tensors that vote.
pub trait Voters {
    /// Whether a tensor has a gradient, on all ranks.
    fn has_gradient(&self, tensor: usize) -> bool;
    /// Updates the momentum, and writes numbers of the signs of what would be moved along. `numbers` are
    /// zeros.
    fn decide(&mut self, places: &[Place], numbers: &mut [f32]) -> Result<(), Error>;
    /// Moves parameters along float32 numbers.
    fn descend(&mut self, parts: &[Part<'_>]) -> Result<(), Error>;
}

/// Votes on tensors of some lengths.
#[derive(Debug, Default)]
pub struct Signs {
    lengths: Vec<usize>,
    chunks: Vec<Bucket>,
    numbers: Staging,
    own: Staging,
    received: Staging,
    counted: Staging,
    result: Staging,
}

impl Signs {
    /// What is voted on; memory is kept.
    pub fn prepare(&mut self, lengths: &[usize]) {
        if self.lengths != lengths {
            self.chunks = buckets(lengths, CHUNK, 1);
            self.lengths = lengths.to_vec();
        }
    }

    /// Steps all tensors.
    ///
    /// # Errors
    /// Ranks that cannot be reached, or threads that cannot be started.
    pub fn run(
        &mut self,
        moves: &mut impl Moves,
        voters: &mut impl Voters,
        level: Level,
    ) -> Result<(), Error> {
        let chunks = std::mem::take(&mut self.chunks);
        let layouts: Vec<(Vec<Place>, usize)> =
            chunks.iter().map(|chunk| lay_out(chunk, voters)).collect();
        self.chunks = chunks;
        let mut rest = &layouts[..];
        while !rest.is_empty() {
            let (message, next) =
                rest.split_at(count_of_message(rest, MESSAGE.max(moves.size() * PART)));
            self.step(message, moves, voters, level)?;
            rest = next;
        }
        Ok(())
    }

    /// Steps the chunks whose signs make up a message.
    fn step(
        &mut self,
        chunks: &[(Vec<Place>, usize)],
        moves: &mut impl Moves,
        voters: &mut impl Voters,
        level: Level,
    ) -> Result<(), Error> {
        self.own.resize(chunks.iter().map(|&(_, length)| bytes_of(length)).sum());
        let mut end = 0;
        for (places, length) in chunks {
            let numbers = elements_mut::<f32>(self.numbers.resize(4 * length));
            numbers.fill(0.0);
            voters.decide(places, numbers)?;
            let own = &mut self.own.all_mut()[end..end + bytes_of(*length)];
            pack(level, numbers, elements_mut(own));
            end += bytes_of(*length);
        }
        self.count(moves, level)?;
        let mut from = 0;
        for (places, length) in chunks {
            let numbers = elements_mut::<f32>(self.numbers.resize(4 * length));
            let words = &self.result.all()[from..from + bytes_of(*length)];
            unpack(level, elements(words), numbers);
            let parts: Vec<Part<'_>> = places
                .iter()
                .map(|&Place { segment, start }| {
                    let sums = cast_slice(&numbers[start..start + segment.length]);
                    Part { segment, sums }
                })
                .collect();
            voters.descend(&parts)?;
            from += bytes_of(*length);
        }
        Ok(())
    }

    /// Counts the votes of all ranks.
    fn count(&mut self, moves: &mut impl Moves, level: Level) -> Result<(), Error> {
        let (rank, size, bytes) = (moves.rank(), moves.size(), self.own.all().len());
        if bytes == 0 {
            return Ok(());
        }
        let result = self.result.resize(bytes);
        if size <= FEW {
            let received = self.received.resize(size * bytes);
            moves.all_gather(self.own.all(), received, &vec![bytes; size])?;
            count_all(level, received, bytes, result);
            return Ok(());
        }
        let groups = bytes / bytes_of(GROUP);
        let sizes: Vec<usize> = (0..size)
            .map(|rank| (groups * (rank + 1) / size - groups * rank / size) * bytes_of(GROUP))
            .collect();
        let received = self.received.resize(size * sizes[rank]);
        moves.all_to_all(self.own.all(), &sizes, received)?;
        let counted = self.counted.resize(sizes[rank]);
        count_all(level, received, sizes[rank], counted);
        moves.all_gather(counted, result, &sizes)
    }
}

/// Counts votes that follow each other, of so many bytes each.
fn count_all(level: Level, votes: &[u8], bytes: usize, result: &mut [u8]) {
    if bytes > 0 {
        let voters: Vec<&[u32]> = votes.chunks(bytes).map(elements).collect();
        vote(level, &voters, elements_mut(result));
    }
}

/// Where the numbers of a chunk lie, and how many there are: whole groups.
fn lay_out(chunk: &Bucket, voters: &impl Voters) -> (Vec<Place>, usize) {
    let mut end = 0_usize;
    let mut places = Vec::new();
    for &segment in chunk.all() {
        if voters.has_gradient(segment.tensor) {
            let start = end.next_multiple_of(LINE);
            places.push(Place { segment, start });
            end = start + segment.length;
        }
    }
    (places, end.next_multiple_of(GROUP))
}

/// How many chunks make up the next message, of so many bytes at least.
fn count_of_message(chunks: &[(Vec<Place>, usize)], least: usize) -> usize {
    let mut bytes = 0;
    let last = chunks.iter().position(|&(_, length)| {
        bytes += bytes_of(length);
        bytes >= least
    });
    last.map_or(chunks.len(), |last| last + 1)
}

/// Bytes of the signs of whole groups.
fn bytes_of(length: usize) -> usize {
    length / GROUP * WORDS * size_of::<u32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Barrier, Mutex};

    /// Threads as ranks.
    struct Threads<'a> {
        rank: usize,
        sent: &'a [Mutex<Vec<u8>>],
        barrier: &'a Barrier,
    }

    impl Threads<'_> {
        fn share(&self, send: &[u8], mut receive: impl FnMut(usize, &[u8])) {
            *self.sent[self.rank].lock().unwrap() = send.to_vec();
            self.barrier.wait();
            for (rank, sent) in self.sent.iter().enumerate() {
                receive(rank, &sent.lock().unwrap());
            }
            self.barrier.wait();
        }
    }

    impl Moves for Threads<'_> {
        fn rank(&self) -> usize {
            self.rank
        }

        fn size(&self) -> usize {
            self.sent.len()
        }

        fn all_to_all(&mut self, send: &[u8], sizes: &[usize], to: &mut [u8]) -> Result<(), Error> {
            let start: usize = sizes[..self.rank].iter().sum();
            let own = sizes[self.rank];
            self.share(send, |rank, sent| {
                to[rank * own..][..own].copy_from_slice(&sent[start..start + own]);
            });
            Ok(())
        }

        fn all_gather(&mut self, send: &[u8], to: &mut [u8], sizes: &[usize]) -> Result<(), Error> {
            assert_eq!(send.len(), sizes[self.rank]);
            self.share(send, |rank, sent| {
                let start: usize = sizes[..rank].iter().sum();
                to[start..start + sizes[rank]].copy_from_slice(sent);
            });
            Ok(())
        }

        fn barrier(&mut self) -> Result<(), Error> {
            self.barrier.wait();
            Ok(())
        }
    }

    const LENGTHS: [usize; 6] = [10, 0, 3 * CHUNK + 5, 777, 8 * CHUNK, 1];

    /// What a rank wants of an element.
    fn sign_of(rank: usize, tensor: usize, i: usize) -> i32 {
        ((i * (rank + 2) + 7 * tensor) / 3 % 3) as i32 - 1
    }

    struct Fixed {
        rank: usize,
        moved: Vec<Vec<f32>>,
    }

    impl Voters for Fixed {
        fn has_gradient(&self, tensor: usize) -> bool {
            tensor != 3
        }

        fn decide(&mut self, places: &[Place], numbers: &mut [f32]) -> Result<(), Error> {
            assert!(numbers.iter().all(|&x| x == 0.0));
            for &Place { segment: Segment { tensor, from, length }, start } in places {
                for i in 0..length {
                    numbers[start + i] = sign_of(self.rank, tensor, from + i) as f32;
                }
            }
            Ok(())
        }

        fn descend(&mut self, parts: &[Part<'_>]) -> Result<(), Error> {
            for &Part { segment: Segment { tensor, from, length }, sums } in parts {
                let moved = &mut self.moved[tensor][from..from + length];
                moved.iter_mut().zip(elements::<f32>(sums)).for_each(|(to, x)| *to += x);
            }
            Ok(())
        }
    }

    #[test]
    fn each_element_moves_once_along_the_majority() {
        for size in [1, 2, 4, 5, 7] {
            let sent: Vec<Mutex<Vec<u8>>> = (0..size).map(|_| Mutex::default()).collect();
            let barrier = Barrier::new(size);
            let run = |rank: usize| {
                let mut voters = Fixed { rank, moved: LENGTHS.map(|n| vec![0.0; n]).into() };
                let mut signs = Signs::default();
                signs.prepare(&LENGTHS);
                let mut moves = Threads { rank, sent: &sent, barrier: &barrier };
                signs.run(&mut moves, &mut voters, Level::best()).unwrap();
                voters.moved
            };
            let found: Vec<_> = std::thread::scope(|scope| {
                let ranks: Vec<_> = (0..size)
                    .map(|rank| {
                        scope.spawn({
                            let run = &run;
                            move || run(rank)
                        })
                    })
                    .collect();
                ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
            });
            for moved in found {
                for (tensor, moved) in moved.iter().enumerate() {
                    for (i, &x) in moved.iter().enumerate() {
                        let sum: i32 = (0..size).map(|rank| sign_of(rank, tensor, i)).sum();
                        let expected = if tensor == 3 { 0 } else { sum.signum() };
                        assert_eq!(x, expected as f32, "element {i} of tensor {tensor}");
                    }
                }
            }
        }
    }
}
