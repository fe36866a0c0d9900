//! Parameters of which each rank has stepped a part, on their way to all.

use super::moves::Moves;
use super::partition::{Bucket, Segment, sizes_of};
use super::staging::{Staging, padded};
use super::tensors::Tensors;
use crate::error::Error;
use std::ops::Range;

/// Gives each rank's parameters of a bucket to all. They are put together in `room`, unless the bucket lies
/// in one tensor: ranks' parts follow each other in the parameter itself then.
pub fn gather_data<'a>(
    bucket: &Bucket,
    room: &mut Staging,
    moves: &mut impl Moves,
    tensors: &mut impl Tensors<'a>,
) -> Result<(), Error> {
    if let Some(whole) = bucket.whole() {
        let sizes = sizes_of(bucket, moves.size(), |segment| range_of(tensors, segment).len());
        let range = range_of(tensors, &whole);
        if range.is_empty() {
            return Ok(());
        }
        return moves.gather_in_place(&mut tensors.data(whole.tensor)[range], &sizes);
    }
    let room_of = |segment: &Segment| padded(range_of(tensors, segment).len());
    let sizes = sizes_of(bucket, moves.size(), room_of);
    let all = room.resize(sizes.iter().sum());
    let rank = moves.rank();
    let start: usize = sizes[..rank].iter().sum();
    for_each(bucket.of(rank), tensors, &mut all[start..], |data, part| part.copy_from_slice(data));
    moves.gather_in_place(all, &sizes)?;
    let mut rest = all;
    for (other, size) in sizes.into_iter().enumerate() {
        let (parts, next) = rest.split_at_mut(size);
        if other != rank {
            for_each(bucket.of(other), tensors, parts, |data, part| data.copy_from_slice(part));
        }
        rest = next;
    }
    Ok(())
}

/// Calls a function with the parameters of each segment, and with what a message has of them.
fn for_each<'a>(
    segments: &[Segment],
    tensors: &mut impl Tensors<'a>,
    mut message: &mut [u8],
    call: impl Fn(&mut [u8], &mut [u8]),
) {
    for segment in segments {
        let range = range_of(tensors, segment);
        let length = range.len();
        let (part, next) = message.split_at_mut(padded(length));
        if length > 0 {
            call(&mut tensors.data(segment.tensor)[range], &mut part[..length]);
        }
        message = next;
    }
}

/// The bytes of a segment in its parameter; none if that is not stepped.
fn range_of<'a>(tensors: &impl Tensors<'a>, segment: &Segment) -> Range<usize> {
    let bytes = tensors.form(segment.tensor).map_or(0, |_| tensors.data_bytes(segment.tensor));
    segment.from * bytes..(segment.from + segment.length) * bytes
}
