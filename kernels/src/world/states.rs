//! State of which each rank keeps a part: that of the elements that it steps.

use super::World;
use super::partition::{Bucket, Segment};
use super::staging::Staging;
use crate::error::Error;

/// Bytes after each rank's own, of any content: where a rank has nothing to send and nothing to receive,
/// Open MPI 4 never completes the call.
const MARK: usize = 1;

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
    [outgoing, incoming]: [&mut Staging; 2],
) -> Result<(), Error> {
    let rank = world.rank();
    let keeps = !first_only || rank == 0;
    for bucket in buckets {
        let bytes = |rank| MARK + bytes_of(bucket.of(rank), states);
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

/// Takes what the other ranks have of a bucket; `all` has the messages of all, in the order of the ranks.
fn write_others(bucket: &Bucket, rank: usize, states: &mut impl States, mut all: &[u8]) {
    for other in 0..bucket.ranks() {
        for segment in bucket.of(other) {
            let (part, rest) = all.split_at(states.bytes(segment));
            if other != rank {
                states.write(segment, part);
            }
            all = rest;
        }
        all = &all[MARK..];
    }
}

fn bytes_of(segments: &[Segment], states: &impl States) -> usize {
    segments.iter().map(|segment| states.bytes(segment)).sum()
}

/// What ranks other than this one have of some buckets.
pub fn of_others(buckets: &[Bucket], rank: usize, size: usize) -> impl Iterator<Item = &Segment> {
    let others =
        move |bucket| (0..size).filter(move |&other| other != rank).map(move |i| (bucket, i));
    buckets.iter().flat_map(others).flat_map(|(bucket, other): (&Bucket, _)| bucket.of(other))
}

/// Elements that are read at a time, whose bytes fit into the memory for a bucket.
const PIECE: usize = 1 << 18;

/// Gives rank 0 the bytes of some elements of a tensor, of which each rank keeps a part.
///
/// # Errors
/// Ranks that cannot be reached.
pub fn read_range(
    world: &mut World,
    buckets: &[Bucket],
    states: &impl States,
    range: Segment,
    mut out: &mut [u8],
    [outgoing, incoming]: [&mut Staging; 2],
) -> Result<(), Error> {
    for start in (0..range.length).step_by(PIECE) {
        let length = PIECE.min(range.length - start);
        let piece = Segment { from: range.from + start, length, ..range };
        let bytes = if world.rank() == 0 { states.bytes(&piece) } else { 0 };
        let (own, rest) = out.split_at_mut(bytes);
        read_piece(world, buckets, states, piece, own, [&mut *outgoing, &mut *incoming])?;
        out = rest;
    }
    Ok(())
}

fn read_piece(
    world: &mut World,
    buckets: &[Bucket],
    states: &impl States,
    range: Segment,
    out: &mut [u8],
    [outgoing, incoming]: [&mut Staging; 2],
) -> Result<(), Error> {
    let of_rank = |rank| -> Vec<Segment> {
        buckets.iter().flat_map(|bucket| bucket.of(rank)).filter_map(|s| clip(s, &range)).collect()
    };
    let parts: Vec<Vec<Segment>> = (0..world.size()).map(of_rank).collect();
    let bytes = |parts: &Vec<Segment>| MARK + bytes_of(parts, states);
    let sizes: Vec<usize> = parts.iter().map(bytes).collect();
    let rank = world.rank();
    let send = outgoing.resize(sizes[rank]);
    read_all(&parts[rank], states, send);
    let all = incoming.resize(if rank == 0 { sizes.iter().sum() } else { 0 });
    world.gather_on_first(send, all, &sizes)?;
    if rank == 0 {
        all[..send.len()].copy_from_slice(send);
        let mut all = &*all;
        for (segments, size) in parts.iter().zip(sizes) {
            let (own, rest) = all.split_at(size);
            place(segments, states, &range, own, out);
            all = rest;
        }
    }
    Ok(())
}

/// The elements of a segment that lie in a range.
fn clip(segment: &Segment, range: &Segment) -> Option<Segment> {
    let from = segment.from.max(range.from);
    let end = (segment.from + segment.length).min(range.from + range.length);
    let is_in = segment.tensor == range.tensor && from < end;
    is_in.then(|| Segment { from, length: end - from, ..*segment })
}

/// Puts the bytes of segments, which lie one after the other, where they belong in those of a range.
fn place(
    segments: &[Segment],
    states: &impl States,
    range: &Segment,
    mut bytes: &[u8],
    out: &mut [u8],
) {
    for segment in segments {
        let (part, rest) = bytes.split_at(states.bytes(segment));
        let before = segment.from - range.from;
        let start =
            if before == 0 { 0 } else { states.bytes(&Segment { length: before, ..*range }) };
        out[start..start + part.len()].copy_from_slice(part);
        bytes = rest;
    }
}
