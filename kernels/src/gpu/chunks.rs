//! The chunks of a step: the pieces of memory that each dispatch updates, and with which factors.

use super::arena::Segment;
use super::tensor::{Dtype, Tensor};
use crate::error::Error;
use crate::rule::{Factors, Hyperparameters};
use bytemuck::{Pod, Zeroable};

/// Elements that one row of the shader's vectors holds.
const LANES: u64 = 4;

/// One parameter of a step.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    /// Its values.
    pub data: &'a Tensor,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// Its momentum buffer; needed if its group has momentum.
    pub buffer: Option<&'a Tensor>,
    /// Whether the buffer has never been written.
    pub first: First,
    /// The index of its group.
    pub group: usize,
}

/// Whether a momentum buffer has never been written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum First {
    /// It has been.
    No,
    /// It has not.
    Yes,
    /// The device knows: the word of the decision that is 1 if it has not.
    Word(u32),
}

/// What a pipeline is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// One of the numbers of [`crate::rule::decay`].
    pub decay: u8,
    /// Momentum is not 0.
    pub momentum: bool,
    /// Look ahead along the momentum.
    pub nesterov: bool,
    /// Step by the sign of the update.
    pub sign: bool,
}

/// Which chunks can share a dispatch: one pipeline, and one block for each binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The elements' type.
    pub dtype: Dtype,
    /// What the pipeline is compiled for.
    pub options: Options,
    /// The blocks of data, gradient and buffer.
    pub blocks: [usize; 3],
}

/// `Chunk` of `sgd.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Chunk {
    data: u32,
    grad: u32,
    buffer: u32,
    length: u32,
    group: u32,
    first: u32,
}

/// The chunks of one dispatch.
#[derive(Debug)]
pub struct Bucket {
    /// What they have in common.
    pub key: Key,
    /// The chunks.
    pub chunks: Vec<Chunk>,
}

/// `Factors` of `sgd.wgsl`.
pub type GroupRow = [f32; 5];

impl Options {
    /// The options that a group has on.
    pub fn of(h: &Hyperparameters) -> Self {
        let momentum = h.momentum != 0.0;
        Options { decay: h.decay(), momentum, nesterov: momentum && h.nesterov, sign: h.sign }
    }
}

impl First {
    /// As `Chunk` of `sgd.wgsl` has it.
    fn word(self) -> u32 {
        match self {
            First::No => 0,
            First::Yes => 1,
            First::Word(word) => word,
        }
    }
}

/// A group's factors, each rounded once.
pub fn group_row(h: &Hyperparameters) -> GroupRow {
    let f = Factors::new(h, |factor| factor as f32);
    let decay = if h.decoupled_weight_decay { f.shrink } else { f.weight_decay };
    [f.orientation, decay, f.momentum, f.blend, f.negative_lr]
}

/// Cuts the slots into chunks of at most `chunk_elements` elements and sorts them by dispatch.
///
/// # Errors
/// A group that does not exist, lengths or types that differ, and a missing buffer.
pub fn build(
    slots: &[Slot<'_>],
    groups: &[Hyperparameters],
    chunk_elements: u64,
) -> Result<Vec<Bucket>, Error> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for (index, slot) in slots.iter().enumerate() {
        let fail = |what: &str| Err(Error::Table(format!("Cannot step tensor {index} as {what}")));
        let Some(group) = groups.get(slot.group) else {
            return fail("its group does not exist");
        };
        let options = Options::of(group);
        let buffer = match slot.buffer {
            None if options.momentum => return fail("it has no momentum buffer"),
            Some(buffer) if options.momentum => buffer,
            _ => slot.data,
        };
        if !slot.grad.is_like(slot.data) || !buffer.is_like(slot.data) {
            return fail("its gradient or buffer has another length or type");
        }
        cut(slot, buffer, options, chunk_elements.div_ceil(LANES), &mut buckets);
    }
    Ok(buckets)
}

fn cut(slot: &Slot<'_>, buffer: &Tensor, options: Options, step: u64, buckets: &mut Vec<Bucket>) {
    let dtype = slot.data.dtype;
    let bytes = LANES * dtype.bytes();
    let mut left = slot.data.length.div_ceil(LANES);
    let segments = slot.data.segments.iter().zip(&slot.grad.segments).zip(&buffer.segments);
    for ((data, grad), buffer) in segments {
        let vectors = left.min((data.range.end - data.range.start) / bytes);
        if vectors == 0 {
            break;
        }
        left -= vectors;
        let key = Key { dtype, options, blocks: [data.block, grad.block, buffer.block] };
        let bucket = bucket(buckets, key);
        // Offsets fit, as a block is not larger than a binding: less than 2^32 bytes.
        let offset = |segment: &Segment, at: u64| (segment.range.start / bytes + at) as u32;
        for at in (0..vectors).step_by(step as usize) {
            bucket.chunks.push(Chunk {
                data: offset(data, at),
                grad: offset(grad, at),
                buffer: offset(buffer, at),
                length: step.min(vectors - at) as u32,
                group: slot.group as u32,
                first: slot.first.word(),
            });
        }
    }
}

fn bucket(buckets: &mut Vec<Bucket>, key: Key) -> &mut Bucket {
    let index = buckets.iter().rposition(|bucket| bucket.key == key).unwrap_or(buckets.len());
    if index == buckets.len() {
        buckets.push(Bucket { key, chunks: Vec::new() });
    }
    &mut buckets[index]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::arena::Arena;
    use crate::rule::decay;

    const PLAIN: Hyperparameters = Hyperparameters {
        lr: 0.1,
        momentum: 0.9,
        dampening: 0.0,
        weight_decay: 0.0,
        decoupled_weight_decay: false,
        nesterov: false,
        maximize: false,
        sign: false,
    };

    fn tensors(lengths: &[u64], max_block: u64) -> Vec<Tensor> {
        let mut arena = Arena::new(max_block);
        let make = |&length: &u64| {
            let bytes = length * Dtype::F32.bytes();
            let segments = arena.allocate(bytes, |_| Ok::<_, ()>(())).unwrap();
            Tensor { dtype: Dtype::F32, length, segments }
        };
        lengths.iter().flat_map(|n| [n, n, n]).map(make).collect()
    }

    fn slots(tensors: &[Tensor]) -> Vec<Slot<'_>> {
        tensors.as_chunks::<3>().0.iter().map(slot).collect()
    }

    fn slot([data, grad, buffer]: &[Tensor; 3]) -> Slot<'_> {
        Slot { data, grad, buffer: Some(buffer), first: First::No, group: 0 }
    }

    #[test]
    fn needs_one_dispatch_for_any_number_of_tensors() {
        let tensors = tensors(&[1, 5, 1000, 0, 300], 1 << 27);
        let buckets = build(&slots(&tensors), &[PLAIN], 4096).unwrap();
        assert_eq!(buckets.len(), 1);
        let lengths: Vec<_> = buckets[0].chunks.iter().map(|c| c.length).collect();
        assert_eq!(lengths, [1, 2, 250, 75]);
    }

    #[test]
    fn covers_every_vector_once_whatever_the_chunk() {
        let tensors = tensors(&[1000, 77], 1 << 20);
        for chunk in [4, 8, 100, 1 << 20] {
            let buckets = build(&slots(&tensors), &[PLAIN], chunk).unwrap();
            let mut seen: Vec<u32> =
                buckets[0].chunks.iter().flat_map(|c| c.data..c.data + c.length).collect();
            seen.sort_unstable();
            let starts = [0, 3].map(|t: usize| (tensors[t].segments[0].range.start / 16) as u32);
            let expected: Vec<_> =
                (starts[0]..starts[0] + 250).chain(starts[1]..starts[1] + 20).collect();
            assert_eq!(seen, expected, "chunk {chunk}");
        }
    }

    #[test]
    fn needs_one_dispatch_per_block_for_tensors_larger_than_a_block() {
        let tensors = tensors(&[1000], 1024); // 4000 bytes: four blocks for each of the three
        let buckets = build(&slots(&tensors), &[PLAIN], 64).unwrap();
        let blocks: Vec<_> = buckets.iter().map(|bucket| bucket.key.blocks).collect();
        assert_eq!(blocks, [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]);
        let vectors: u32 = buckets.iter().flat_map(|b| &b.chunks).map(|c| c.length).sum();
        assert_eq!(vectors, 250);
    }

    #[test]
    fn separates_what_needs_another_pipeline() {
        let tensors = tensors(&[8, 8, 8, 8], 1 << 20);
        let mut slots = slots(&tensors);
        (slots[1].group, slots[3].group) = (1, 2);
        let coupled = Hyperparameters { weight_decay: 0.1, ..PLAIN };
        let decoupled = Hyperparameters { decoupled_weight_decay: true, ..coupled };
        let groups = [PLAIN, coupled, decoupled];
        let buckets = build(&slots, &groups, 4096).unwrap();
        let decays: Vec<_> =
            buckets.iter().map(|b| (b.key.options.decay, b.chunks.len())).collect();
        assert_eq!(decays, [(decay::NONE, 2), (decay::COUPLED, 1), (decay::DECOUPLED, 1)]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let tensors = tensors(&[8, 9], 1 << 20);
        let good = slots(&tensors)[0];
        let bad = [
            Slot { group: 1, ..good },
            Slot { buffer: None, ..good },
            Slot { grad: &tensors[3], ..good },
            Slot { buffer: Some(&tensors[3]), ..good },
        ];
        for slot in bad {
            assert!(matches!(build(&[slot], &[PLAIN], 64), Err(Error::Table(_))));
        }
    }
}
