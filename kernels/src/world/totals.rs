//! Totals of blocks that each rank has measured, and the totals of tensors that are put together of them
//! in the order of the elements.

use super::moves::Moves;
use super::partition::{Bucket, Segment, starts_of};
use super::staging::{Staging, elements};
use super::tensors::Tensors;
use crate::error::Error;
use crate::gradients::norm::{BLOCK, Total};
use crate::gradients::order::Order;
use pulp::bytemuck::cast_slice;

/// What a total is sent as: its measure, and 1 if all of the block is finite.
type Sent = [f64; 2];

/// What all ranks have measured, and where each rank's begins.
pub struct Gathered<'a> {
    totals: &'a [Sent],
    starts: Vec<usize>,
}

/// Gives the totals of each rank's blocks to all.
pub fn gather<'a, 's>(
    buckets: &[Bucket],
    own: &[Total],
    moves: &mut impl Moves,
    tensors: &impl Tensors<'a>,
    room: &'s mut Staging,
) -> Result<Gathered<'s>, Error> {
    let count_of = |rank| -> usize {
        let segments = buckets.iter().flat_map(|bucket| bucket.of(rank));
        segments.map(|segment| blocks_of(tensors, segment)).sum()
    };
    let counts: Vec<usize> = (0..moves.size()).map(count_of).collect();
    let sent: Vec<Sent> =
        own.iter().map(|total| [total.measure, f64::from(total.finite)]).collect();
    let sizes: Vec<usize> = counts.iter().map(|count| size_of::<Sent>() * count).collect();
    let all = room.resize(sizes.iter().sum());
    moves.all_gather(cast_slice(&sent), all, &sizes, &mut || ())?;
    let (starts, _) = starts_of(counts.into_iter());
    Ok(Gathered { totals: elements(all), starts })
}

/// The totals of so many tensors.
pub fn join<'a>(
    buckets: &[Bucket],
    count: usize,
    Gathered { totals: all, starts: mut next }: Gathered<'_>,
    tensors: &impl Tensors<'a>,
    order: Order,
) -> Vec<Total> {
    let mut totals = vec![Total::NOTHING; count];
    let ranks = 0..next.len();
    for (bucket, rank) in buckets.iter().flat_map(|b| ranks.clone().map(move |rank| (b, rank))) {
        for segment in bucket.of(rank) {
            let end = next[rank] + blocks_of(tensors, segment);
            for &[measure, finite] in &all[next[rank]..end] {
                let total = Total { measure, finite: finite != 0.0 };
                totals[segment.tensor] = totals[segment.tensor].join(order, total);
            }
            next[rank] = end;
        }
    }
    totals
}

/// How many blocks of a segment are measured.
fn blocks_of<'a>(tensors: &impl Tensors<'a>, segment: &Segment) -> usize {
    tensors.form(segment.tensor).map_or(0, |_| segment.length.div_ceil(BLOCK))
}
