//! Steps of ranks that see each other's arrays: nothing is sent.
//!
//! A rank adds up the gradients of all ranks where they are, within the pass that steps. With shards it
//! steps its part and writes the parameters into the arrays of all; otherwise it steps everything.
//! The meeting before a step has told that all gradients are there; a barrier after it tells that nobody
//! reads them any more, and that all parameters have been written.

use super::exchange::{Exchange, Mode};
use super::moves::Moves;
use super::ordered::Norm;
use super::partition::Segment;
use super::tensors::Tensors;
use crate::error::Error;
use crate::gradients::norm::Total;

/// Tensors whose arrays all ranks see.
pub trait Seen<'a>: Tensors<'a> {
    /// The gradient of a tensor on a rank.
    fn gradient_of(&self, rank: usize, tensor: usize) -> &'a [u8];
    /// Steps parts of tensors with the sums of all ranks' gradients.
    fn step_with_all(&mut self, segments: &[Segment]) -> Result<(), Error>;
    /// Gives parameters to all ranks.
    fn give(&mut self, segments: &[Segment]);
}

impl Exchange {
    /// Steps all tensors.
    ///
    /// # Errors
    /// Ranks that cannot be reached.
    pub fn run_in_place<'a>(
        &mut self,
        moves: &mut impl Moves,
        tensors: &mut impl Seen<'a>,
        mode: Mode,
    ) -> Result<(), Error> {
        let rank = moves.rank();
        for bucket in self.buckets() {
            let segments = match mode {
                Mode::Shards => bucket.of(rank),
                Mode::Gradients => bucket.all(),
            };
            let segments = with_gradients(segments, tensors);
            tensors.step_with_all(&segments)?;
            if mode == Mode::Shards {
                tensors.give(&segments); // while they are in the cache
            }
        }
        moves.barrier()
    }

    /// Measures the sums of all ranks' gradients.
    ///
    /// # Errors
    /// Ranks that cannot be reached.
    pub fn measure_in_place<'a>(
        &mut self,
        moves: &mut impl Moves,
        tensors: &mut impl Seen<'a>,
        norm: Norm,
    ) -> Result<Vec<Total>, Error> {
        let (rank, size) = (moves.rank(), moves.size());
        let mut own = Vec::new();
        let mut sums = super::staging::Staging::default();
        for bucket in self.buckets() {
            for segment in with_gradients(bucket.of(rank), tensors) {
                let form = tensors.form(segment.tensor).expect("it has a gradient");
                let bytes = form.gradient_bytes();
                let range = segment.from * bytes..(segment.from + segment.length) * bytes;
                let parts: Vec<&[u8]> = (0..size)
                    .map(|rank| &tensors.gradient_of(rank, segment.tensor)[range.clone()])
                    .collect();
                let sums = sums.resize(form.sum_bytes() * segment.length);
                form.add_up(norm.level, &parts, sums);
                own.extend(form.totals(sums, norm));
            }
        }
        self.join_totals(&own, moves, tensors, norm.order)
    }
}

fn with_gradients<'a>(segments: &[Segment], tensors: &impl Tensors<'a>) -> Vec<Segment> {
    segments.iter().copied().filter(|segment| tensors.form(segment.tensor).is_some()).collect()
}
