//! The pieces of gradients whose norms a step takes, and how a decision sees them.

use super::chunks::Slot;
use super::tensor::{Dtype, Tensor};
use bytemuck::{Pod, Zeroable};

/// Elements of a piece. It fixes the order of summation, and so does not depend on the device.
const ELEMENTS: u64 = 4096;

/// `Piece` of `norm.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Piece {
    grad: u32,
    length: u32,
    place: u32,
}

/// The pieces that one dispatch measures: of one type, in one block.
#[derive(Debug)]
pub struct Batch {
    /// The elements' type.
    pub dtype: Dtype,
    /// The block.
    pub block: usize,
    /// The pieces.
    pub pieces: Vec<Piece>,
}

/// All pieces of a step.
#[derive(Debug)]
pub struct Pieces {
    /// By dispatch.
    pub batches: Vec<Batch>,
    /// For each group the place after its last piece; places of a group follow each other.
    pub ends: Vec<u32>,
}

impl Pieces {
    /// No pieces, of so many groups.
    pub fn none(groups: usize) -> Self {
        Pieces { batches: Vec::new(), ends: vec![0; groups] }
    }

    /// Cuts all gradients.
    pub fn cut(slots: &[Slot<'_>], groups: usize) -> Self {
        let mut pieces = Pieces::none(groups);
        let mut place = 0;
        for group in 0..groups {
            for slot in slots.iter().filter(|slot| slot.group == group) {
                pieces.add(slot.grad, &mut place);
            }
            pieces.ends[group] = place;
        }
        pieces
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn add(&mut self, grad: &Tensor, place: &mut u32) {
        let bytes = grad.dtype.bytes();
        for (segment, part) in grad.parts().filter(|(_, part)| !part.is_empty()) {
            let batch = self.batch(grad.dtype, segment.block);
            let length = (part.end - part.start) / bytes;
            for at in (0..length).step_by(ELEMENTS as usize) {
                batch.pieces.push(Piece {
                    // It fits, as a block is not larger than a binding: less than 2^32 bytes.
                    grad: (segment.range.start / bytes + at) as u32,
                    length: ELEMENTS.min(length - at) as u32,
                    place: *place,
                });
                *place += 1;
            }
        }
    }

    fn batch(&mut self, dtype: Dtype, block: usize) -> &mut Batch {
        let fits = |batch: &Batch| (batch.dtype, batch.block) == (dtype, block);
        let index = self.batches.iter().position(fits).unwrap_or(self.batches.len());
        if index == self.batches.len() {
            self.batches.push(Batch { dtype, block, pieces: Vec::new() });
        }
        &mut self.batches[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::arena::Arena;
    use crate::gpu::chunks::First;

    fn tensors(lengths: &[u64], max_block: u64) -> Vec<Tensor> {
        let mut arena = Arena::new(max_block);
        let make = |&length: &u64| {
            let segments = arena.allocate(4 * length, |_| Ok::<_, ()>(())).unwrap();
            Tensor { dtype: Dtype::F32, length, segments }
        };
        lengths.iter().map(make).collect()
    }

    fn slot(grad: &Tensor, group: usize) -> Slot<'_> {
        Slot { data: grad, grad, buffer: None, first: First::Yes, group }
    }

    #[test]
    fn keeps_the_pieces_of_a_group_together_in_the_order_of_the_rows() {
        let tensors = tensors(&[10_000, 5, 0, 4096], 1 << 20);
        let groups = [1, 0, 0, 1];
        let slots: Vec<_> = tensors.iter().zip(groups).map(|(t, g)| slot(t, g)).collect();
        let pieces = Pieces::cut(&slots, 3);
        assert_eq!((pieces.batches.len(), pieces.ends.clone()), (1, vec![1, 5, 5]));
        let lengths: Vec<_> = pieces.batches[0].pieces.iter().map(|p| p.length).collect();
        assert_eq!(lengths, [5, 4096, 4096, 1808, 4096]);
        let places: Vec<_> = pieces.batches[0].pieces.iter().map(|p| p.place).collect();
        assert_eq!(places, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn covers_a_tensor_of_many_blocks_without_its_padding() {
        let tensors = tensors(&[1001], 1024);
        let pieces = Pieces::cut(&[slot(&tensors[0], 0)], 1);
        let own: Vec<_> = pieces.batches.iter().map(|b| (b.block, b.pieces[0].length)).collect();
        assert_eq!(own, [(0, 256), (1, 256), (2, 256), (3, 233)]);
        assert_eq!(pieces.count(), 4);
    }
}
