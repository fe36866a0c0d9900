//! A step by majority vote (signSGD; Bernstein et al. 2018): each rank updates its own momentum and gives
//! the signs of what it would move along to the others, and all of them move along those that the most
//! ranks have.

use super::moves::{Moves, Work};
use super::partition::{Bucket, Segment, buckets};
use super::staging::{Staging, elements, elements_mut};
use super::vote::{LINE, vote};
use crate::error::Error;
use crate::registers::BLOCK;
use crate::simd::Level;

/// Elements whose ballots make up a message, at most: 64 KiB.
const MESSAGE: usize = 1 << 18;

/// The same of a rank's part of a message, at least: more ranks have longer messages, and not more of them.
const PART: usize = 1 << 14;

/// Up to so many ranks each gets the ballots of all others. More of them divide the counting, so that
/// what a rank receives does not grow with their number.
const FEW: usize = 4;

/// Bytes of a ballot.
pub const BALLOT: usize = size_of::<u64>();

/// Elements of a tensor, and where their ballots begin in a message.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which elements.
    pub segment: Segment,
    /// Their first ballot.
    pub first: usize,
}

impl Place {
    /// How many ballots they have.
    pub fn count(&self) -> usize {
        self.segment.length.div_ceil(BLOCK)
    }
}

/// The tensors that vote.
pub trait Voters {
    /// Whether a tensor has a gradient, on all ranks.
    fn has_gradient(&self, tensor: usize) -> bool;
    /// Updates the momentum, and casts ballots on where it would move the elements.
    fn cast(&mut self, places: &[Place], ballots: &mut [u64]) -> Result<(), Error>;
    /// Moves elements along ballots.
    fn follow(&mut self, places: &[Place], ballots: &mut [u64]) -> Result<(), Error>;
}

/// Votes on tensors of some lengths.
#[derive(Debug, Default)]
pub struct Signs {
    lengths: Vec<usize>,
    buckets: Vec<Bucket>,
    /// Ballots of this rank: those that are sent, and those of the next message.
    own: [Staging; 2],
    received: Staging,
    counted: Staging,
    result: Staging,
}

impl Signs {
    /// What is voted on; memory is kept.
    pub fn prepare(&mut self, lengths: &[usize], size: usize) {
        if self.lengths != lengths {
            self.buckets = buckets(lengths, MESSAGE.max(size * PART), 1);
            self.lengths = lengths.to_vec();
        }
    }

    /// Steps all tensors. The ballots of a message are cast while those before it are sent.
    ///
    /// # Errors
    /// Ranks that cannot be reached, or threads that cannot be started.
    pub fn run(
        &mut self,
        moves: &mut impl Moves,
        voters: &mut impl Voters,
        level: Level,
    ) -> Result<(), Error> {
        let messages = lay_out(&self.buckets, voters);
        let [mut own, mut next] = std::mem::take(&mut self.own);
        if let Some(first) = messages.first() {
            first.cast(voters, &mut own)?;
        }
        for (i, message) in messages.iter().enumerate() {
            let mut cast = Ok(());
            self.count(&own, moves, level, &mut || {
                if let Some(message) = messages.get(i + 1) {
                    cast = message.cast(voters, &mut next);
                }
            })?;
            cast?;
            voters.follow(&message.places, elements_mut(self.result.all_mut()))?;
            std::mem::swap(&mut own, &mut next);
        }
        self.own = [own, next];
        Ok(())
    }

    /// Counts the votes of all ranks, and works while they are sent.
    fn count(
        &mut self,
        own: &Staging,
        moves: &mut impl Moves,
        level: Level,
        work: Work<'_>,
    ) -> Result<(), Error> {
        let (rank, size, bytes) = (moves.rank(), moves.size(), own.all().len());
        let result = self.result.resize(bytes);
        if size <= FEW {
            let received = self.received.resize(size * bytes);
            moves.all_gather(own.all(), received, &vec![bytes; size], work)?;
            count_all(level, received, &[], result);
            return Ok(());
        }
        let lines = bytes / (LINE * BALLOT);
        let sizes: Vec<usize> = (0..size)
            .map(|rank| (lines * (rank + 1) / size - lines * rank / size) * LINE * BALLOT)
            .collect();
        let received = self.received.resize((size - 1) * sizes[rank]);
        moves.all_to_all(own.all(), &sizes, received, work)?;
        let start: usize = sizes[..rank].iter().sum();
        let part = &own.all()[start..][..sizes[rank]];
        let counted = self.counted.resize(sizes[rank]);
        count_all(level, received, part, counted);
        moves.all_gather(counted, result, &sizes, &mut || ())
    }
}

/// Counts votes that follow each other, and this rank's own if they are not among them.
fn count_all(level: Level, votes: &[u8], own: &[u8], result: &mut [u8]) {
    if !result.is_empty() {
        let own = (!own.is_empty()).then_some(own);
        let voters: Vec<&[u64]> = votes.chunks(result.len()).chain(own).map(elements).collect();
        vote(level, &voters, elements_mut(result));
    }
}

/// What ranks vote on at a time.
struct Message {
    places: Vec<Place>,
    /// How many ballots there are: whole lines.
    count: usize,
}

impl Message {
    fn cast(&self, voters: &mut impl Voters, ballots: &mut Staging) -> Result<(), Error> {
        let ballots = elements_mut::<u64>(ballots.resize(BALLOT * self.count));
        let used = self.places.last().map_or(0, |place| place.first + place.count());
        ballots[used..].fill(0);
        voters.cast(&self.places, ballots)
    }
}

/// Where the ballots of tensors lie that have gradients.
fn lay_out(buckets: &[Bucket], voters: &impl Voters) -> Vec<Message> {
    let message = |bucket: &Bucket| {
        let mut end = 0;
        let mut places = Vec::new();
        for &segment in bucket.all() {
            if voters.has_gradient(segment.tensor) {
                let place = Place { segment, first: end };
                end += place.count();
                places.push(place);
            }
        }
        Message { places, count: end.next_multiple_of(LINE) }
    };
    buckets.iter().map(message).filter(|message| message.count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{spread, tally};
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

        fn all_to_all(
            &mut self,
            send: &[u8],
            sizes: &[usize],
            to: &mut [u8],
            work: Work<'_>,
        ) -> Result<(), Error> {
            work();
            let start: usize = sizes[..self.rank].iter().sum();
            let own = sizes[self.rank];
            let mut end = 0;
            let own_rank = self.rank;
            self.share(send, |rank, sent| {
                if rank != own_rank {
                    to[end..end + own].copy_from_slice(&sent[start..start + own]);
                    end += own;
                }
            });
            Ok(())
        }

        fn all_gather(
            &mut self,
            send: &[u8],
            to: &mut [u8],
            sizes: &[usize],
            work: Work<'_>,
        ) -> Result<(), Error> {
            work();
            assert_eq!(send.len(), sizes[self.rank]);
            self.share(send, |rank, sent| {
                let start: usize = sizes[..rank].iter().sum();
                to[start..start + sizes[rank]].copy_from_slice(sent);
            });
            Ok(())
        }

        fn gather_in_place(&mut self, _: &mut [u8], _: &[usize]) -> Result<(), Error> {
            unreachable!("ballots are received beside those that are sent")
        }

        fn barrier(&mut self) -> Result<(), Error> {
            self.barrier.wait();
            Ok(())
        }
    }

    const LENGTHS: [usize; 6] = [10, 0, MESSAGE / 4 + 5, 777, 2 * MESSAGE, 1];

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

        fn cast(&mut self, places: &[Place], ballots: &mut [u64]) -> Result<(), Error> {
            for place in places {
                let Segment { tensor, from, length } = place.segment;
                let numbers: Vec<i32> =
                    (from..from + length).map(|i| sign_of(self.rank, tensor, i)).collect();
                tally(&numbers, &mut ballots[place.first..][..place.count()], f64::from);
            }
            Ok(())
        }

        fn follow(&mut self, places: &[Place], ballots: &mut [u64]) -> Result<(), Error> {
            for place in places {
                let Segment { tensor, from, length } = place.segment;
                let mut signs = vec![0.0; length];
                spread(&ballots[place.first..][..place.count()], &mut signs, |sign| sign);
                let moved = &mut self.moved[tensor][from..from + length];
                moved.iter_mut().zip(signs).for_each(|(to, x)| *to += x);
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
                signs.prepare(&LENGTHS, size);
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
