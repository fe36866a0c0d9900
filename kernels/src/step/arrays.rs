//! The arrays of a tensor, or of a part of one: cut together, and padded to whole blocks.

use super::storage::Blocks;
use crate::registers::BLOCK;

/// The arrays of a tensor but its gradient. Those that it does not have are empty.
#[derive(Debug, Default)]
pub(super) struct Arrays<'a> {
    /// Parameters in float32, or master weights.
    pub wide: &'a mut [f32],
    /// Parameters in a 16-bit type.
    pub words: &'a mut [u16],
    /// 16-bit corrections.
    pub lower_words: &'a mut [u16],
    /// 8-bit corrections.
    pub lower_bytes: &'a mut [i8],
    /// Momentum in float32.
    pub buffer: &'a mut [f32],
    /// Momentum in 8 bits ...
    pub values: &'a mut [i8],
    /// ... and its scales.
    pub scales: &'a mut [u8],
    /// Ballots that are cast or followed, one for each block.
    pub ballots: &'a mut [u64],
}

impl<'a> Arrays<'a> {
    /// The first elements, a whole number of blocks, and the rest.
    pub(super) fn split_at(self, middle: usize) -> (Self, Self) {
        let (wide, wide_rest) = cut(self.wide, middle);
        let (words, words_rest) = cut(self.words, middle);
        let (lower_words, lower_words_rest) = cut(self.lower_words, middle);
        let (lower_bytes, lower_bytes_rest) = cut(self.lower_bytes, middle);
        let (buffer, buffer_rest) = cut(self.buffer, middle);
        let (values, values_rest) = cut(self.values, middle);
        let (scales, scales_rest) = cut(self.scales, middle / BLOCK);
        let (ballots, ballots_rest) = cut(self.ballots, middle / BLOCK);
        let rest = Arrays {
            wide: wide_rest,
            words: words_rest,
            lower_words: lower_words_rest,
            lower_bytes: lower_bytes_rest,
            buffer: buffer_rest,
            values: values_rest,
            scales: scales_rest,
            ballots: ballots_rest,
        };
        let part =
            Arrays { wide, words, lower_words, lower_bytes, buffer, values, scales, ballots };
        (part, rest)
    }

    /// The same arrays for a while.
    pub(super) fn reborrow(&mut self) -> Arrays<'_> {
        Arrays {
            wide: self.wide,
            words: self.words,
            lower_words: self.lower_words,
            lower_bytes: self.lower_bytes,
            buffer: self.buffer,
            values: self.values,
            scales: self.scales,
            ballots: self.ballots,
        }
    }

    /// Whole blocks, of which the first one has a number in the tensor.
    pub(super) fn blocks(self, first: u32, key: u32) -> Blocks<'a> {
        Blocks {
            wide: self.wide.as_chunks_mut().0,
            words: self.words.as_chunks_mut().0,
            lower_words: self.lower_words.as_chunks_mut().0,
            lower_bytes: self.lower_bytes.as_chunks_mut().0,
            buffer: self.buffer.as_chunks_mut().0,
            values: self.values.as_chunks_mut().0,
            scales: self.scales,
            ballots: self.ballots,
            first,
            key,
        }
    }

    /// Copies the arrays of less than a block into those of a whole one, and back when a function of
    /// that has returned. What it is padded with is zeros.
    pub(super) fn padded(self, step: impl FnOnce(Arrays<'_>)) {
        let mut wide = pad(self.wide);
        let mut words = pad(self.words);
        let mut lower_words = pad(self.lower_words);
        let mut lower_bytes = pad(self.lower_bytes);
        let mut buffer = pad(self.buffer);
        let mut values = pad(self.values);
        step(Arrays {
            wide: &mut wide,
            words: &mut words,
            lower_words: &mut lower_words,
            lower_bytes: &mut lower_bytes,
            buffer: &mut buffer,
            values: &mut values,
            scales: self.scales,
            ballots: self.ballots,
        });
        take_back(self.wide, &wide);
        take_back(self.words, &words);
        take_back(self.lower_words, &lower_words);
        take_back(self.lower_bytes, &lower_bytes);
        take_back(self.buffer, &buffer);
        take_back(self.values, &values);
    }
}

/// A gradient, in float32 or in a 16-bit type: the other slice is empty.
#[derive(Debug)]
pub(super) enum Grad<'a> {
    /// It is only read.
    Kept(&'a [f32], &'a [u16]),
    /// It is filled with zeros once it has been read.
    Cleared(&'a mut [f32], &'a mut [u16]),
}

impl Grad<'_> {
    /// The first elements and the rest.
    pub(super) fn split_at(self, middle: usize) -> (Self, Self) {
        match self {
            Grad::Kept(wide, words) => {
                let (wide, wide_rest) = wide.split_at(middle.min(wide.len()));
                let (words, words_rest) = words.split_at(middle.min(words.len()));
                (Grad::Kept(wide, words), Grad::Kept(wide_rest, words_rest))
            }
            Grad::Cleared(wide, words) => {
                let (wide, wide_rest) = cut(wide, middle);
                let (words, words_rest) = cut(words, middle);
                (Grad::Cleared(wide, words), Grad::Cleared(wide_rest, words_rest))
            }
        }
    }

    /// The same gradient for a while.
    pub(super) fn reborrow(&mut self) -> Grad<'_> {
        match self {
            Grad::Kept(wide, words) => Grad::Kept(wide, words),
            Grad::Cleared(wide, words) => Grad::Cleared(wide, words),
        }
    }

    /// The elements.
    pub(super) fn read(&self) -> (&[f32], &[u16]) {
        match self {
            Grad::Kept(wide, words) => (wide, words),
            Grad::Cleared(wide, words) => (wide, words),
        }
    }

    /// The number of elements.
    pub(super) fn len(&self) -> usize {
        let (wide, words) = self.read();
        wide.len().max(words.len())
    }

    /// Fills it with zeros, if that is wanted.
    pub(super) fn clear(&mut self) {
        if let Grad::Cleared(wide, words) = self {
            wide.fill(0.0);
            words.fill(0);
        }
    }
}

/// Cuts a slice, which may be empty.
fn cut<T>(slice: &mut [T], middle: usize) -> (&mut [T], &mut [T]) {
    slice.split_at_mut(middle.min(slice.len()))
}

/// A block that begins with some elements.
pub(super) fn pad<T: Copy + Default>(from: &[T]) -> [T; BLOCK] {
    let mut block = [T::default(); BLOCK];
    block[..from.len()].copy_from_slice(from);
    block
}

fn take_back<T: Copy>(to: &mut [T], block: &[T; BLOCK]) {
    to.copy_from_slice(&block[..to.len()]);
}
