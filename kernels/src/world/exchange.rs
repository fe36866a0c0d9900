//! A step of all ranks together: each sums up its part of the gradients and steps it, or gives the sums to
//! all, which then step everything.
//!
//! What moves is bytes; sums are taken in the order of the ranks, and norms from totals of blocks in
//! the order of the elements. So all bits are those of one process that adds up the gradients of all
//! ranks.

use super::incoming::{Incoming, Outgoing};
use super::ordered::{Form, Norm};
use super::partition::{Bucket, Segment, bucket_length, buckets};
use super::staging::{Staging, elements, padded};
use crate::error::Error;
use crate::gradients::norm::{BLOCK, Total};
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

/// What a rank does while bytes are on their way.
pub type Work<'a> = &'a mut dyn FnMut();

/// Moves bytes between all ranks.
pub trait Moves {
    /// The number of this rank, from 0 on.
    fn rank(&self) -> usize;
    /// How many ranks there are.
    fn size(&self) -> usize;
    /// Sends each other rank its part of `send`, and receives as many bytes as this rank's part has from
    /// each of the others, in their order. It works on something else meanwhile.
    fn all_to_all(
        &mut self,
        send: &[u8],
        sizes: &[usize],
        receive: &mut [u8],
        work: Work<'_>,
    ) -> Result<(), Error>;
    /// Gives the bytes of each rank, `sizes[i]` of rank `i`, to all, and works meanwhile.
    fn all_gather(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
        work: Work<'_>,
    ) -> Result<(), Error>;
    /// Waits until all ranks have called it. What they wrote before is seen after it.
    fn barrier(&mut self) -> Result<(), Error>;
}

/// A part of a tensor, and the sums of its gradients.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Which elements.
    pub segment: Segment,
    /// Their sums, in the form that the tensor has.
    pub sums: &'a [u8],
}

/// The tensors that are stepped together.
pub trait Tensors<'a> {
    /// How a tensor's gradient is stored; `None` if it has none, on all ranks.
    fn form(&self, tensor: usize) -> Option<Form>;
    /// The gradient of a tensor that has one. Nobody writes to it during a step.
    fn gradient(&self, tensor: usize) -> &'a [u8];
    /// Bytes of an element of a parameter.
    fn data_bytes(&self, tensor: usize) -> usize;
    /// The parameter.
    fn data(&mut self, tensor: usize) -> &mut [u8];
    /// Steps parts of tensors.
    fn step(&mut self, parts: &[Part<'_>]) -> Result<(), Error>;
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
            starts(self.buckets.iter().map(|bucket| sums_bytes(bucket, moves.rank(), tensors)));
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

    /// The totals of tensors, put together of those of blocks in the order of the elements.
    pub fn join_totals<'a>(
        &mut self,
        own: &[Total],
        moves: &mut impl Moves,
        tensors: &impl Tensors<'a>,
        order: Order,
    ) -> Result<Vec<Total>, Error> {
        let size = moves.size();
        let blocks = |segment: &&Segment| match tensors.form(segment.tensor) {
            Some(_) => segment.length.div_ceil(BLOCK),
            None => 0,
        };
        let counts: Vec<usize> = (0..size)
            .map(|rank| {
                self.buckets.iter().flat_map(|bucket| bucket.of(rank)).map(|s| blocks(&s)).sum()
            })
            .collect();
        let words: Vec<f64> =
            own.iter().flat_map(|total| [total.measure, f64::from(total.finite)]).collect();
        let sizes: Vec<usize> = counts.iter().map(|count| 2 * size_of::<f64>() * count).collect();
        let all = self.incoming[1].room().resize(sizes.iter().sum());
        moves.all_gather(pulp::bytemuck::cast_slice(&words), all, &sizes, &mut || ())?;
        let all = elements::<f64>(all);
        let (mut next, _) = starts(counts.into_iter());
        let mut totals = vec![Total::NOTHING; self.lengths.len()];
        for bucket in &self.buckets {
            for (rank, next) in next.iter_mut().enumerate() {
                for segment in bucket.of(rank) {
                    for _ in 0..blocks(&segment) {
                        let [measure, finite] = [all[2 * *next], all[2 * *next + 1]];
                        let total = Total { measure, finite: finite != 0.0 };
                        totals[segment.tensor] = totals[segment.tensor].join(order, total);
                        *next += 1;
                    }
                }
            }
        }
        Ok(totals)
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
            Mode::Shards => self.gather_data(index, moves, tensors),
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

    /// Gives each rank's parameters of a bucket to all.
    fn gather_data<'a>(
        &mut self,
        index: usize,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors<'a>,
    ) -> Result<(), Error> {
        let (bucket, rank) = (&self.buckets[index], moves.rank());
        if let Some(whole) = bucket.whole() {
            return gather_whole(bucket, whole, &mut self.send, moves, tensors);
        }
        let of_data = |tensors: &dyn DataBytes, segment: &Segment| {
            padded(tensors.of(segment.tensor) * segment.length)
        };
        let sizes = sizes_of(bucket, moves.size(), |s| of_data(tensors, s));
        let mut rest = self.send.resize(sizes[rank]);
        for segment in bucket.of(rank) {
            let (part, next) = rest.split_at_mut(of_data(tensors, segment));
            let range = range_in(tensors, segment);
            if !part.is_empty() {
                part[..range.len()].copy_from_slice(&tensors.data(segment.tensor)[range]);
            }
            rest = next;
        }
        let all = self.incoming[1].room().resize(sizes.iter().sum());
        moves.all_gather(self.send.all(), all, &sizes, &mut || ())?;
        let mut all = &*all;
        for other in 0..moves.size() {
            for segment in bucket.of(other) {
                let (part, next) = all.split_at(of_data(tensors, segment));
                let range = range_in(tensors, segment);
                if other != rank && !part.is_empty() {
                    let length = range.len();
                    tensors.data(segment.tensor)[range].copy_from_slice(&part[..length]);
                }
                all = next;
            }
        }
        Ok(())
    }
}

/// The same for a bucket that lies in one tensor: ranks' parts follow each other in the parameter itself.
fn gather_whole<'a>(
    bucket: &Bucket,
    whole: Segment,
    own: &mut Staging,
    moves: &mut impl Moves,
    tensors: &mut impl Tensors<'a>,
) -> Result<(), Error> {
    if tensors.form(whole.tensor).is_none() {
        return Ok(());
    }
    let bytes = tensors.data_bytes(whole.tensor);
    let sizes = sizes_of(bucket, moves.size(), |segment| segment.length * bytes);
    let range = range_in(tensors, &whole);
    let data = &mut tensors.data(whole.tensor)[range];
    let start = sizes[..moves.rank()].iter().sum();
    let part = &data[start..][..sizes[moves.rank()]];
    own.resize(part.len()).copy_from_slice(part);
    moves.all_gather(own.all(), data, &sizes, &mut || ())
}

/// Bytes of an element of a parameter, or 0 if it is not stepped.
trait DataBytes {
    fn of(&self, tensor: usize) -> usize;
}

impl<'a, T: Tensors<'a>> DataBytes for T {
    fn of(&self, tensor: usize) -> usize {
        self.form(tensor).map_or(0, |_| self.data_bytes(tensor))
    }
}

fn range_in<'a>(tensors: &impl Tensors<'a>, segment: &Segment) -> std::ops::Range<usize> {
    let bytes = tensors.data_bytes(segment.tensor);
    segment.from * bytes..(segment.from + segment.length) * bytes
}

fn sum_bytes<'a>(tensors: &impl Tensors<'a>, segment: &Segment) -> usize {
    tensors.form(segment.tensor).map_or(0, |form| padded(form.sum_bytes() * segment.length))
}

fn sizes_of(bucket: &Bucket, size: usize, bytes: impl Fn(&Segment) -> usize) -> Vec<usize> {
    (0..size).map(|rank| bucket.of(rank).iter().map(&bytes).sum()).collect()
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

/// Where each of some consecutive parts begins, and where the last one ends.
fn starts(lengths: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let (mut starts, mut end) = (Vec::new(), 0);
    for length in lengths {
        starts.push(end);
        end += length;
    }
    (starts, end)
}
