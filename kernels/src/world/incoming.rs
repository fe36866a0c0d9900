//! Gradients of a bucket on their way to the ranks that sum them up.

use super::moves::{Moves, Work};
use super::partition::{Bucket, Segment, sizes_of};
use super::staging::{Staging, padded};
use super::tensors::Tensors;
use crate::error::Error;
use crate::simd::Level;

/// What a rank sends of a bucket: the parts of all ranks, one after the other.
#[derive(Debug)]
pub struct Outgoing<'a> {
    bytes: &'a [u8],
    /// Bytes of each rank's part.
    sizes: Vec<usize>,
}

impl<'s> Outgoing<'s> {
    /// The gradients of a bucket. Those of a bucket that lies in one tensor are sent from where they are,
    /// others are put together in `staging`.
    pub fn new<'a: 's>(
        bucket: &Bucket,
        size: usize,
        tensors: &impl Tensors<'a>,
        staging: &'s mut Staging,
    ) -> Self {
        let is_whole = bucket.whole().is_some();
        let bytes_of = |segment: &Segment| room(is_whole, gradient_bytes(tensors, segment));
        let sizes = sizes_of(bucket, size, bytes_of);
        let total = sizes.iter().sum();
        if let Some(whole) = bucket.whole() {
            let bytes = if total > 0 { gradient_of(tensors, &whole) } else { &[] };
            return Outgoing { bytes, sizes };
        }
        let mut rest = staging.resize(total);
        for segment in bucket.all().iter().filter(|segment| bytes_of(segment) > 0) {
            let gradient = gradient_of(tensors, segment);
            let (part, next) = rest.split_at_mut(padded(gradient.len()));
            part[..gradient.len()].copy_from_slice(gradient);
            rest = next;
        }
        Outgoing { bytes: staging.all(), sizes }
    }
}

/// What this rank has received of a bucket: its own part, from all others.
#[derive(Debug, Default)]
pub struct Incoming {
    received: Staging,
    /// Bytes of each of the others.
    stride: usize,
}

impl Incoming {
    /// Exchanges the gradients of a bucket, and works on something else meanwhile.
    pub fn exchange(
        &mut self,
        outgoing: &Outgoing<'_>,
        moves: &mut impl Moves,
        work: Work<'_>,
    ) -> Result<(), Error> {
        let Outgoing { bytes, sizes } = outgoing;
        self.stride = sizes[moves.rank()];
        let received = self.received.resize(self.stride * (sizes.len() - 1));
        if bytes.is_empty() {
            work();
            return Ok(());
        }
        moves.all_to_all(bytes, sizes, received, work)
    }

    /// Its memory, for something else that is received in between.
    pub fn room(&mut self) -> &mut Staging {
        &mut self.received
    }

    /// Sums up what has been received and this rank's own gradients, in the order of the ranks.
    pub fn add_up<'a>(
        &self,
        bucket: &Bucket,
        [rank, size]: [usize; 2],
        tensors: &impl Tensors<'a>,
        level: Level,
        mut sums: &mut [u8],
    ) {
        let is_whole = bucket.whole().is_some();
        let mut from = 0;
        for segment in bucket.of(rank) {
            let Some(form) = tensors.form(segment.tensor) else { continue };
            let own = gradient_of(tensors, segment);
            let part_of = |other| match other {
                _ if other == rank => own,
                _ => {
                    let place = if other < rank { other } else { other - 1 };
                    &self.received.all()[place * self.stride + from..][..own.len()]
                }
            };
            let parts: Vec<&[u8]> = (0..size).map(part_of).collect();
            let bytes = form.sum_bytes() * segment.length;
            let (slot, next) = sums.split_at_mut(padded(bytes));
            form.add_up(level, &parts, &mut slot[..bytes]);
            (sums, from) = (next, from + room(is_whole, own.len()));
        }
    }
}

/// What a part takes in a message: no more than it has where nothing is put together.
fn room(is_whole: bool, bytes: usize) -> usize {
    if is_whole { bytes } else { padded(bytes) }
}

fn gradient_bytes<'a>(tensors: &impl Tensors<'a>, segment: &Segment) -> usize {
    tensors.form(segment.tensor).map_or(0, |form| form.gradient_bytes() * segment.length)
}

/// The gradient of a segment of a tensor that has one.
fn gradient_of<'a>(tensors: &impl Tensors<'a>, segment: &Segment) -> &'a [u8] {
    let bytes = gradient_bytes(tensors, segment);
    let first = segment.from * (bytes / segment.length);
    &tensors.gradient(segment.tensor)[first..first + bytes]
}
