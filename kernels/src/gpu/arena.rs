//! The arena: tensors share a few large blocks of device memory.
//!
//! A dispatch binds whole blocks, so their number, not the number of tensors, decides how many
//! dispatches a step needs. No block is larger than one binding may be. A tensor lies in one block,
//! unless it is larger than a block: then it is cut into segments of exactly one block each, and a
//! rest. Tensors of one length are therefore cut at the same elements.

use range_alloc::RangeAllocator;
use std::ops::Range;

/// Bytes to whose multiples segments are aligned: the most that any binding's offset needs.
pub const ALIGNMENT: u64 = 256;

/// Bytes of the first block, unless a tensor needs more or a binding takes less.
const FIRST_BLOCK: u64 = 16 << 20;

/// A range of bytes of one block.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The block's index.
    pub block: usize,
    /// The bytes in the block, a multiple of [`ALIGNMENT`] at both ends.
    pub range: Range<u64>,
}

#[derive(Debug)]
struct Block<B> {
    memory: B,
    size: u64,
    used: u64,
    ranges: RangeAllocator<u64>,
}

/// Blocks of memory of type `B`, handed out in segments.
#[derive(Debug)]
pub struct Arena<B> {
    blocks: Vec<Option<Block<B>>>,
    max_block: u64,
}

impl<B> Arena<B> {
    /// An arena without blocks, none of which will be larger than `max_binding` bytes.
    pub fn new(max_binding: u64) -> Self {
        Arena { blocks: Vec::new(), max_block: (max_binding / ALIGNMENT).max(1) * ALIGNMENT }
    }

    /// The most bytes that lie in one block.
    pub fn max_block(&self) -> u64 {
        self.max_block
    }

    /// Bytes of all blocks.
    pub fn size(&self) -> u64 {
        self.blocks.iter().flatten().map(|block| block.size).sum()
    }

    /// Bytes that are handed out.
    pub fn used(&self) -> u64 {
        self.blocks.iter().flatten().map(|block| block.used).sum()
    }

    /// The memory of a block that a live segment names.
    pub fn memory(&self, block: usize) -> &B {
        &self.blocks[block].as_ref().expect("a segment keeps its block").memory
    }

    /// Hands out at least `bytes` bytes; `create` makes the memory of a new block. If that fails,
    /// nothing has been handed out.
    pub fn allocate<E>(
        &mut self,
        bytes: u64,
        mut create: impl FnMut(u64) -> Result<B, E>,
    ) -> Result<Vec<Segment>, E> {
        let mut left = bytes.max(1).next_multiple_of(ALIGNMENT);
        let mut segments = Vec::new();
        while left > 0 {
            let piece = left.min(self.max_block);
            match self.allocate_piece(piece, &mut create) {
                Ok(segment) => segments.push(segment),
                Err(error) => {
                    self.free(&segments);
                    return Err(error);
                }
            }
            left -= piece;
        }
        Ok(segments)
    }

    /// Takes segments back, and drops blocks that are empty now. Returns whether there were any.
    pub fn free(&mut self, segments: &[Segment]) -> bool {
        let mut dropped = false;
        for Segment { block: index, range } in segments {
            let Some(Some(block)) = self.blocks.get_mut(*index) else { continue };
            block.ranges.free_range(range.clone());
            block.used -= range.end - range.start;
            if block.used == 0 {
                self.blocks[*index] = None;
                dropped = true;
            }
        }
        dropped
    }

    fn allocate_piece<E>(
        &mut self,
        bytes: u64,
        create: &mut impl FnMut(u64) -> Result<B, E>,
    ) -> Result<Segment, E> {
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let Some(block) = block else { continue };
            if let Ok(range) = block.ranges.allocate_range(bytes) {
                block.used += bytes;
                return Ok(Segment { block: index, range });
            }
        }
        // Blocks double what there is, so that a model of any size lies in a few of them.
        let wished = self.size().max(FIRST_BLOCK).clamp(bytes, self.max_block);
        let (size, memory) = match create(wished) {
            Ok(memory) => (wished, memory),
            Err(error) if wished == bytes => return Err(error),
            Err(_) => (bytes, create(bytes)?),
        };
        Ok(self.add(memory, size, bytes))
    }

    fn add(&mut self, memory: B, size: u64, used: u64) -> Segment {
        let mut ranges = RangeAllocator::new(0..size);
        let range = ranges.allocate_range(used).expect("a new block has room for what it is for");
        let block = Some(Block { memory, size, used, ranges });
        let index = self.blocks.iter().position(Option::is_none).unwrap_or(self.blocks.len());
        if index == self.blocks.len() {
            self.blocks.push(block);
        } else {
            self.blocks[index] = block;
        }
        Segment { block: index, range }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(size: u64) -> Result<u64, ()> {
        Ok(size)
    }

    #[test]
    fn puts_small_tensors_into_one_block_without_overlap() {
        let mut arena = Arena::new(1 << 27);
        let segments: Vec<_> =
            (0..100).flat_map(|n| arena.allocate(n * 40, make).unwrap()).collect();
        assert_eq!(segments.len(), 100);
        for (i, a) in segments.iter().enumerate() {
            assert_eq!((a.block, a.range.start % ALIGNMENT), (0, 0));
            for b in &segments[..i] {
                assert!(a.range.end <= b.range.start || b.range.end <= a.range.start);
            }
        }
    }

    #[test]
    fn cuts_a_large_tensor_at_multiples_of_a_block() {
        let mut arena = Arena::new(1000);
        assert_eq!(arena.max_block(), 768);
        let segments = arena.allocate(768 * 2 + 1, make).unwrap();
        let lengths: Vec<_> = segments.iter().map(|s| s.range.end - s.range.start).collect();
        assert_eq!(lengths, [768, 768, ALIGNMENT]);
        let blocks: Vec<_> = segments.iter().map(|s| s.block).collect();
        assert_eq!(blocks, [0, 1, 2]);
    }

    #[test]
    fn reuses_what_was_freed_and_drops_empty_blocks() {
        let mut arena = Arena::new(1 << 20);
        let keep = arena.allocate(100, make).unwrap();
        for _ in 0..1000 {
            let segments = arena.allocate(3 << 20, make).unwrap();
            assert!(arena.free(&segments));
        }
        assert_eq!((arena.used(), arena.size()), (ALIGNMENT, 1 << 20));
        assert!(arena.free(&keep));
        assert_eq!((arena.used(), arena.size()), (0, 0));
    }

    #[test]
    fn merges_freed_neighbors() {
        let mut arena = Arena::new(4 * ALIGNMENT);
        let parts: Vec<_> = (0..4).map(|_| arena.allocate(ALIGNMENT, make).unwrap()).collect();
        parts[1..3].iter().for_each(|part| assert!(!arena.free(part)));
        let joined = arena.allocate(2 * ALIGNMENT, make).unwrap();
        assert_eq!(joined, [Segment { block: 0, range: ALIGNMENT..3 * ALIGNMENT }]);
    }

    #[test]
    fn keeps_the_number_of_blocks_small_as_it_grows() {
        let mut arena = Arena::new(1 << 31);
        for _ in 0..2000 {
            arena.allocate(4 << 20, make).unwrap();
        }
        assert!(arena.blocks.len() <= 12, "{} blocks", arena.blocks.len());
    }

    #[test]
    fn gives_back_everything_when_memory_runs_out() {
        let mut arena = Arena::new(1024);
        let mut blocks = 0;
        let result = arena.allocate(4096, |size| {
            blocks += 1;
            if blocks > 3 { Err("full") } else { Ok(size) }
        });
        assert_eq!(result, Err("full"));
        assert_eq!((arena.used(), arena.size()), (0, 0));
    }

    #[test]
    fn takes_what_it_needs_when_it_cannot_have_what_it_wishes() {
        let mut arena = Arena::new(1 << 30);
        let create = |size: u64| if size > 1024 { Err(()) } else { Ok(size) };
        assert_eq!(arena.allocate(1000, create).unwrap()[0].range, 0..1024);
        assert_eq!(arena.size(), 1024);
    }
}
