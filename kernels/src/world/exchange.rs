//! A step of all ranks together: each sums up its part of the gradients and steps it, or gives the sums to
//! all, which then step everything.
//!
//! What moves is bytes; sums are taken in the order of the ranks, and norms from totals of blocks in
//! the order of the elements. So all bits are those of one process that adds up the gradients of all
//! ranks.

use super::ordered::{Form, Norm};
use super::partition::{Bucket, Segment, buckets};
use super::staging::{Staging, elements, padded};
use crate::error::Error;
use crate::gradients::norm::{BLOCK, Total};
use crate::gradients::order::Order;
use crate::simd::Level;

/// Elements of a bucket: 1 MiB of float32. From half to twice of it makes no difference.
pub const BUCKET: usize = 1 << 18;

/// What ranks give to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sums of gradients: each rank steps everything.
    Gradients,
    /// Parameters: each rank steps its part of them.
    Shards,
}

/// Moves bytes between all ranks.
pub trait Moves {
    /// The number of this rank, from 0 on.
    fn rank(&self) -> usize;
    /// How many ranks there are.
    fn size(&self) -> usize;
    /// Sends each rank its part of `send`, and receives as many bytes from each.
    fn all_to_all(&mut self, send: &[u8], sizes: &[usize], receive: &mut [u8])
    -> Result<(), Error>;
    /// Gives the bytes of each rank, `sizes[i]` of rank `i`, to all.
    fn all_gather(&mut self, send: &[u8], receive: &mut [u8], sizes: &[usize])
    -> Result<(), Error>;
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
pub trait Tensors {
    /// How a tensor's gradient is stored; `None` if it has none, on all ranks.
    fn form(&self, tensor: usize) -> Option<Form>;
    /// The gradient of a tensor that has one.
    fn gradient(&self, tensor: usize) -> &[u8];
    /// Bytes of an element of a parameter.
    fn data_bytes(&self, tensor: usize) -> usize;
    /// The parameter.
    fn data(&mut self, tensor: usize) -> &mut [u8];
    /// Steps parts of tensors.
    fn step(&mut self, parts: &[Part<'_>]) -> Result<(), Error>;
}

/// What each rank keeps of its part of the tensors.
pub trait States {
    /// Bytes of a segment.
    fn bytes(&self, segment: &Segment) -> usize;
    /// Copies a segment out.
    fn read(&self, segment: &Segment, out: &mut [u8]);
    /// Takes a segment of another rank.
    fn write(&mut self, segment: &Segment, from: &[u8]);
}

/// What is exchanged, for tensors of some lengths.
#[derive(Debug, Default)]
pub struct Exchange {
    lengths: Vec<usize>,
    buckets: Vec<Bucket>,
    send: Staging,
    received: Staging,
    /// Sums of this rank's part: of one bucket, or of all while they are measured.
    sums: Staging,
    gathered: Staging,
    /// Where the sums of each bucket begin, while those of all are kept.
    starts: Vec<usize>,
}

impl Exchange {
    /// What is exchanged for tensors of these lengths; memory of another one is kept.
    pub fn prepare(&mut self, lengths: &[usize], size: usize) {
        if self.lengths != lengths {
            self.buckets = buckets(lengths, BUCKET, size);
            self.lengths = lengths.to_vec();
        }
    }

    /// The buckets of the tensors.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Sums up and steps, a bucket at a time.
    pub fn run(
        &mut self,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors,
        mode: Mode,
        level: Level,
    ) -> Result<(), Error> {
        for index in 0..self.buckets.len() {
            self.sums.resize(sums_bytes(&self.buckets[index], moves.rank(), tensors));
            self.sum(index, 0, moves, tensors, level)?;
            self.finish(index, 0, moves, tensors, mode)?;
        }
        Ok(())
    }

    /// Sums up, and measures all sums. They are kept for [`Exchange::apply`].
    ///
    /// # Errors
    /// Ranks that cannot be reached.
    pub fn measure(
        &mut self,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors,
        norm: Norm,
    ) -> Result<Vec<Total>, Error> {
        let (starts, end) =
            starts(self.buckets.iter().map(|bucket| sums_bytes(bucket, moves.rank(), tensors)));
        self.starts = starts;
        self.sums.resize(end);
        let mut own = Vec::new();
        for index in 0..self.buckets.len() {
            let start = self.starts[index];
            self.sum(index, start, moves, tensors, norm.level)?;
            own.extend(self.totals(index, start, moves.rank(), tensors, norm));
        }
        self.join_totals(&own, moves, tensors, norm.order)
    }

    /// Steps with the sums that [`Exchange::measure`] has kept.
    pub fn apply(
        &mut self,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors,
        mode: Mode,
    ) -> Result<(), Error> {
        for index in 0..self.starts.len() {
            self.finish(index, self.starts[index], moves, tensors, mode)?;
        }
        self.starts.clear();
        Ok(())
    }

    /// Gives what each rank keeps of its part to all.
    pub fn collect(
        &mut self,
        moves: &mut impl Moves,
        states: &mut impl States,
    ) -> Result<(), Error> {
        let rank = moves.rank();
        for bucket in &self.buckets {
            let sizes = sizes_of(bucket, moves.size(), |segment| states.bytes(segment));
            let mut rest = self.send.resize(sizes[rank]);
            for segment in bucket.of(rank) {
                let (own, next) = rest.split_at_mut(states.bytes(segment));
                states.read(segment, own);
                rest = next;
            }
            let all = self.gathered.resize(sizes.iter().sum());
            moves.all_gather(self.send.all(), all, &sizes)?;
            let mut all = &*all;
            for other in 0..moves.size() {
                for segment in bucket.of(other) {
                    let (part, next) = all.split_at(states.bytes(segment));
                    if other != rank {
                        states.write(segment, part);
                    }
                    all = next;
                }
            }
        }
        Ok(())
    }

    /// Exchanges the gradients of a bucket, and sums up this rank's part.
    fn sum(
        &mut self,
        index: usize,
        start: usize,
        moves: &mut impl Moves,
        tensors: &impl Tensors,
        level: Level,
    ) -> Result<(), Error> {
        let (rank, size) = (moves.rank(), moves.size());
        let bucket = &self.buckets[index];
        let of_gradient = |segment: &Segment| {
            tensors.form(segment.tensor).map_or(0, |form| form.gradient_bytes() * segment.length)
        };
        let whole = bucket.whole();
        let room = |bytes: usize| if whole.is_some() { bytes } else { padded(bytes) };
        let sizes = sizes_of(bucket, size, |segment| room(of_gradient(segment)));
        let own = sizes[rank];
        let received = self.received.resize(own * size);
        if let Some(whole) = whole {
            // Nothing is packed: ranks' parts follow each other in the gradient itself.
            let bytes = of_gradient(&whole);
            if bytes > 0 {
                let first = whole.from * (bytes / whole.length);
                let gradient = &tensors.gradient(whole.tensor)[first..first + bytes];
                moves.all_to_all(gradient, &sizes, received)?;
            }
        } else {
            let mut rest = self.send.resize(sizes.iter().sum());
            for segment in bucket.all() {
                let bytes = of_gradient(segment);
                let (part, next) = rest.split_at_mut(padded(bytes));
                if bytes > 0 {
                    let first = segment.from * (bytes / segment.length);
                    let gradient = &tensors.gradient(segment.tensor)[first..first + bytes];
                    part[..bytes].copy_from_slice(gradient);
                }
                rest = next;
            }
            moves.all_to_all(self.send.all(), &sizes, received)?;
        }
        let mut from = 0;
        let mut sums = &mut self.sums.all_mut()[start..];
        for segment in bucket.of(rank) {
            let Some(form) = tensors.form(segment.tensor) else { continue };
            let bytes = of_gradient(segment);
            let parts: Vec<&[u8]> =
                (0..size).map(|rank| &self.received.all()[rank * own + from..][..bytes]).collect();
            let (slot, next) = sums.split_at_mut(padded(form.sum_bytes() * segment.length));
            form.add_up(level, &parts, &mut slot[..form.sum_bytes() * segment.length]);
            (sums, from) = (next, from + room(bytes));
        }
        Ok(())
    }

    /// The totals of the blocks of this rank's part of a bucket.
    fn totals(
        &self,
        index: usize,
        start: usize,
        rank: usize,
        tensors: &impl Tensors,
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
    pub fn join_totals(
        &mut self,
        own: &[Total],
        moves: &mut impl Moves,
        tensors: &impl Tensors,
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
        let all = self.gathered.resize(sizes.iter().sum());
        moves.all_gather(pulp::bytemuck::cast_slice(&words), all, &sizes)?;
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

    /// Steps a bucket whose sums are there, and gives to all what they do not have.
    fn finish(
        &mut self,
        index: usize,
        start: usize,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors,
        mode: Mode,
    ) -> Result<(), Error> {
        match mode {
            Mode::Shards => {
                let own = self.buckets[index].of(moves.rank());
                let parts = parts(own, &self.sums.all()[start..], tensors);
                tensors.step(&parts)?;
                self.gather_data(index, moves, tensors)
            }
            Mode::Gradients => {
                let bucket = &self.buckets[index];
                let sizes = sizes_of(bucket, moves.size(), |s| sum_bytes(tensors, s));
                let own = &self.sums.all()[start..start + sizes[moves.rank()]];
                let all = self.gathered.resize(sizes.iter().sum());
                moves.all_gather(own, all, &sizes)?;
                let parts = parts(bucket.all(), all, tensors);
                tensors.step(&parts)
            }
        }
    }

    /// Gives each rank's parameters of a bucket to all.
    fn gather_data(
        &mut self,
        index: usize,
        moves: &mut impl Moves,
        tensors: &mut impl Tensors,
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
        let all = self.gathered.resize(sizes.iter().sum());
        moves.all_gather(self.send.all(), all, &sizes)?;
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
fn gather_whole(
    bucket: &Bucket,
    whole: Segment,
    own: &mut Staging,
    moves: &mut impl Moves,
    tensors: &mut impl Tensors,
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
    moves.all_gather(own.all(), data, &sizes)
}

/// Bytes of an element of a parameter, or 0 if it is not stepped.
trait DataBytes {
    fn of(&self, tensor: usize) -> usize;
}

impl<T: Tensors> DataBytes for T {
    fn of(&self, tensor: usize) -> usize {
        self.form(tensor).map_or(0, |_| self.data_bytes(tensor))
    }
}

fn range_in(tensors: &impl Tensors, segment: &Segment) -> std::ops::Range<usize> {
    let bytes = tensors.data_bytes(segment.tensor);
    segment.from * bytes..(segment.from + segment.length) * bytes
}

fn sum_bytes(tensors: &impl Tensors, segment: &Segment) -> usize {
    tensors.form(segment.tensor).map_or(0, |form| padded(form.sum_bytes() * segment.length))
}

fn sizes_of(bucket: &Bucket, size: usize, bytes: impl Fn(&Segment) -> usize) -> Vec<usize> {
    (0..size).map(|rank| bucket.of(rank).iter().map(&bytes).sum()).collect()
}

/// Segments that have gradients, with their sums, which lie one after the other.
fn parts<'a>(segments: &[Segment], mut sums: &'a [u8], tensors: &impl Tensors) -> Vec<Part<'a>> {
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
fn sums_bytes(bucket: &Bucket, rank: usize, tensors: &impl Tensors) -> usize {
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
