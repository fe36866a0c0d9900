//! State of which each rank keeps a part: that of the elements that it steps.

use super::World;
use super::partition::{Bucket, Segment};
use super::staging::Staging;
use crate::error::Error;

/// What each rank keeps of its part of the tensors.
pub trait States {
    /// Bytes of a segment.
    fn bytes(&self, segment: &Segment) -> usize;
    /// Copies a segment out.
    fn read(&self, segment: &Segment, out: &mut [u8]);
    /// Takes a segment of another rank.
    fn write(&mut self, segment: &Segment, from: &[u8]);
}

/// Gives what each rank keeps of its part to all, or to rank 0 alone, a bucket at a time.
pub fn collect(
    world: &mut World,
    buckets: &[Bucket],
    states: &mut impl States,
    first_only: bool,
) -> Result<(), Error> {
    let rank = world.rank();
    let keeps = !first_only || rank == 0;
    let (mut outgoing, mut incoming) = (Staging::default(), Staging::default());
    for bucket in buckets {
        let bytes = |rank| bucket.of(rank).iter().map(|segment| states.bytes(segment)).sum();
        let sizes: Vec<usize> = (0..world.size()).map(bytes).collect();
        let own = outgoing.resize(sizes[rank]);
        read_all(bucket.of(rank), states, own);
        let all = incoming.resize(if keeps { sizes.iter().sum() } else { 0 });
        if first_only {
            world.gather_on_first(own, all, &sizes)?;
        } else {
            world.all_gather_parts(own, all, &sizes)?;
        }
        if keeps {
            write_others(bucket, rank, states, all);
        }
    }
    Ok(())
}

fn read_all(segments: &[Segment], states: &impl States, mut out: &mut [u8]) {
    for segment in segments {
        let (own, rest) = out.split_at_mut(states.bytes(segment));
        states.read(segment, own);
        out = rest;
    }
}

/// Takes what the other ranks have of a bucket; `all` has the bytes of all, in the order of the ranks.
fn write_others(bucket: &Bucket, rank: usize, states: &mut impl States, mut all: &[u8]) {
    let own = bucket.of(rank).as_ptr_range();
    for segment in bucket.all() {
        let (part, rest) = all.split_at(states.bytes(segment));
        if !own.contains(&std::ptr::from_ref(segment)) {
            states.write(segment, part);
        }
        all = rest;
    }
}

/// What ranks other than this one have of some buckets.
pub fn of_others(buckets: &[Bucket], rank: usize, size: usize) -> impl Iterator<Item = &Segment> {
    let others =
        move |bucket| (0..size).filter(move |&other| other != rank).map(move |i| (bucket, i));
    buckets.iter().flat_map(others).flat_map(|(bucket, other): (&Bucket, _)| bucket.of(other))
}
