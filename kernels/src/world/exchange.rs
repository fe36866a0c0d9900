//! A step of all ranks together: each sums up its part of the gradients and steps it, or gives the sums to
//! all, which then step everything.
//!
//! What moves is bytes; sums are taken in the order of the ranks, and norms from totals of blocks in
//! the order of the elements. So all bits are those of one process that adds up the gradients of all
//! ranks.

use super::gathering::gather_data;
use super::incoming::{Incoming, Outgoing};
pub use super::moves::{Moves, Work};
use super::ordered::Norm;
use super::partition::{Bucket, Segment, bucket_length, buckets, sizes_of, starts_of};
use super::staging::{Staging, padded};
pub use super::tensors::{Part, Tensors};
use super::totals;
use crate::error::Error;
use crate::gradients::norm::Total;
use crate::gradients::order::Order;
use crate::simd::Level;

/// What ranks give to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sums of gradients: each rank steps everything.
    Gradients,
    /// Parameters: each rank steps its part of them.
    Shards,
}

/// What is exchanged, for tensors of some lengths.
#[derive(Debug, Default)]
pub struct Exchange {
    lengths: Vec<usize>,
    buckets: Vec<Bucket>,
    send: Staging,
    /// Gradients of the bucket that is summed up, and of the next one. The latter's room serves for what is
    /// gathered, too.
    incoming: [Incoming; 2],
    /// Sums of this rank's part: of one bucket, or of all while they are measured.
    sums: Staging,
    /// Where the sums of each bucket begin, while those of all are kept.
    starts: Vec<usize>,
}

impl Exchange {
    /// What is exchanged for tensors of these lengths; memory of another one is kept.
    pub fn prepare(&mut self, lengths: &[usize], size: usize) {
        if self.lengths != lengths {
            self.buckets = buckets(lengths, bucket_length(size), size);
            self.lengths = lengths.to_vec();
        }
    }

    /// The buckets of the tensors.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The buckets, and memory for what is sent and received of one at a time.
    pub fn rooms(&mut self) -> (&[Bucket], [&mut Staging; 2]) {
        (&self.buckets, [&mut self.send, self.incoming[1].room()])
    }

    /// Sums up and steps, a bucket at a time.
    pub fn run<'a>(
        &mut self,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors<'a>,
        mode: Mode,
        level: Level,
    ) -> Result<(), Error> {
        self.begin(moves, tensors)?;
        for index in 0..self.buckets.len() {
            self.sums.resize(sums_bytes(&self.buckets[index], moves.rank(), tensors));
            let mut stepped = Ok(());
            self.sum(index, 0, moves, (&mut *tensors, level), |tensors, own, sums| {
                if mode == Mode::Shards {
                    stepped = tensors.step(&parts(own, sums, tensors));
                }
            })?;
            stepped?;
            self.finish(index, 0, moves, tensors, mode)?;
        }
        Ok(())
    }

    /// Sums up, and measures all sums. They are kept for [`Exchange::apply`].
    ///
    /// # Errors
    /// Ranks that cannot be reached.
    pub fn measure<'a>(
        &mut self,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors<'a>,
        norm: Norm,
    ) -> Result<Vec<Total>, Error> {
        let (starts, end) =
            starts_of(self.buckets.iter().map(|bucket| sums_bytes(bucket, moves.rank(), tensors)));
        self.starts = starts;
        self.sums.resize(end);
        self.begin(moves, tensors)?;
        let mut own = Vec::new();
        for index in 0..self.buckets.len() {
            let start = self.starts[index];
            self.sum(index, start, moves, (&mut *tensors, norm.level), |_, _, _| ())?;
            own.extend(self.totals(index, start, moves.rank(), tensors, norm));
        }
        self.join_totals(&own, moves, tensors, norm.order)
    }

    /// Steps with the sums that [`Exchange::measure`] has kept.
    pub fn apply<'a>(
        &mut self,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors<'a>,
        mode: Mode,
    ) -> Result<(), Error> {
        for index in 0..self.starts.len() {
            if mode == Mode::Shards {
                let sums = &self.sums.all()[self.starts[index]..];
                tensors.step(&parts(self.buckets[index].of(moves.rank()), sums, tensors))?;
            }
            self.finish(index, self.starts[index], moves, tensors, mode)?;
        }
        self.starts.clear();
        Ok(())
    }

    /// Receives the gradients of the first bucket.
    fn begin<'a>(
        &mut self,
        moves: &mut impl Moves,
        tensors: &impl Tensors<'a>,
    ) -> Result<(), Error> {
        let Exchange { buckets, send, incoming: [now, _], .. } = self;
        let Some(first) = buckets.first() else { return Ok(()) };
        let outgoing = Outgoing::new(first, moves.size(), tensors, send);
        now.exchange(&outgoing, moves, &mut || ())
    }

    /// Sums up this rank's part of a bucket whose gradients have been received, and uses the sums, while
    /// the gradients of the next bucket are sent.
    fn sum<'a, T: Tensors<'a>>(
        &mut self,
        index: usize,
        start: usize,
        moves: &mut impl Moves,
        (tensors, level): (&mut T, Level),
        mut using: impl FnMut(&mut T, &[Segment], &[u8]),
    ) -> Result<(), Error> {
        let ranks @ [rank, size] = [moves.rank(), moves.size()];
        let Exchange { buckets, send, incoming: [now, next], sums, .. } = self;
        let (bucket, sums) = (&buckets[index], &mut sums.all_mut()[start..]);
        let following =
            buckets.get(index + 1).map(|bucket| Outgoing::new(bucket, size, tensors, send));
        let mut work = || {
            now.add_up(bucket, ranks, tensors, level, sums);
            using(tensors, bucket.of(rank), sums);
        };
        match following {
            Some(outgoing) => next.exchange(&outgoing, moves, &mut work)?,
            None => work(),
        }
        std::mem::swap(now, next);
        Ok(())
    }

    /// The totals of the blocks of this rank's part of a bucket.
    fn totals<'a>(
        &self,
        index: usize,
        start: usize,
        rank: usize,
        tensors: &impl Tensors<'a>,
        norm: Norm,
    ) -> Vec<Total> {
        let mut totals = Vec::new();
        let own = self.buckets[index].of(rank);
        for Part { segment, sums } in parts(own, &self.sums.all()[start..], tensors) {
            let form = tensors.form(segment.tensor).expect("parts have gradients");
            totals.extend(form.totals(sums, norm));
        }
        totals
    }

    /// The totals of tensors, put together of those of this rank's blocks and of the others'.
    pub fn join_totals<'a>(
        &mut self,
        own: &[Total],
        moves: &mut impl Moves,
        tensors: &impl Tensors<'a>,
        order: Order,
    ) -> Result<Vec<Total>, Error> {
        let [_, room] = &mut self.incoming;
        let all = totals::gather(&self.buckets, own, moves, tensors, room.room())?;
        Ok(totals::join(&self.buckets, self.lengths.len(), all, tensors, order))
    }

    /// Gives to all what they do not have of a bucket: the parameters that each rank has stepped, or the
    /// sums, with which all step.
    fn finish<'a>(
        &mut self,
        index: usize,
        start: usize,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors<'a>,
        mode: Mode,
    ) -> Result<(), Error> {
        match mode {
            Mode::Shards => {
                let [_, room] = &mut self.incoming;
                gather_data(&self.buckets[index], room.room(), moves, tensors)
            }
            Mode::Gradients => {
                let bucket = &self.buckets[index];
                let sizes = sizes_of(bucket, moves.size(), |s| sum_bytes(tensors, s));
                let own = &self.sums.all()[start..start + sizes[moves.rank()]];
                let all = self.incoming[1].room().resize(sizes.iter().sum());
                moves.all_gather(own, all, &sizes, &mut || ())?;
                let parts = parts(bucket.all(), all, tensors);
                tensors.step(&parts)
            }
        }
    }
}

fn sum_bytes<'a>(tensors: &impl Tensors<'a>, segment: &Segment) -> usize {
    tensors.form(segment.tensor).map_or(0, |form| padded(form.sum_bytes() * segment.length))
}

/// Segments that have gradients, with their sums, which lie one after the other.
fn parts<'a, 'b>(
    segments: &[Segment],
    mut sums: &'b [u8],
    tensors: &impl Tensors<'a>,
) -> Vec<Part<'b>> {
    let mut found = Vec::with_capacity(segments.len());
    for &segment in segments {
        let Some(form) = tensors.form(segment.tensor) else { continue };
        let (own, next) = sums.split_at(padded(form.sum_bytes() * segment.length));
        found.push(Part { segment, sums: &own[..form.sum_bytes() * segment.length] });
        sums = next;
    }
    found
}

/// Bytes of the sums of a rank's part of a bucket.
fn sums_bytes<'a>(bucket: &Bucket, rank: usize, tensors: &impl Tensors<'a>) -> usize {
    bucket.of(rank).iter().map(|segment| sum_bytes(tensors, segment)).sum()
}
