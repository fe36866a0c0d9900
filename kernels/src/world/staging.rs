//! Memory for messages, aligned for every type of element.

use pulp::bytemuck::{Pod, cast_slice, cast_slice_mut};

/// Bytes to whose multiples the parts of a message that is put together are padded.
const ALIGNMENT: usize = 64;

/// The bytes that a part takes in a message that is put together.
pub fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// A line of the cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// Bytes that begin at a line of the cache. They keep their memory when they shrink.
#[derive(Debug, Default)]
pub struct Staging {
    lines: Vec<Line>,
    bytes: usize,
}

impl Staging {
    /// Has so many bytes from now on, of any content.
    pub fn resize(&mut self, bytes: usize) -> &mut [u8] {
        let lines = bytes.div_ceil(size_of::<Line>());
        if lines > self.lines.len() {
            self.lines.resize(lines, Line::default());
        }
        self.bytes = bytes;
        self.all_mut()
    }

    /// The bytes.
    pub fn all(&self) -> &[u8] {
        // SAFETY: lines are made of integers, without padding, and are borrowed as long as the result.
        let bytes = unsafe {
            std::slice::from_raw_parts(
                self.lines.as_ptr().cast::<u8>(),
                size_of_val(&self.lines[..]),
            )
        };
        &bytes[..self.bytes]
    }

    /// The bytes, to write.
    pub fn all_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and any bytes are valid integers.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(
                self.lines.as_mut_ptr().cast::<u8>(),
                size_of_val(&self.lines[..]),
            )
        };
        &mut bytes[..self.bytes]
    }
}

/// Bytes as elements; they must begin at an address that is aligned for these.
pub fn elements<T: Pod>(bytes: &[u8]) -> &[T] {
    cast_slice(bytes)
}

/// As `elements`, to write.
pub fn elements_mut<T: Pod>(bytes: &mut [u8]) -> &mut [T] {
    cast_slice_mut(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_aligned_and_kept() {
        let mut staging = Staging::default();
        for bytes in [0, 1, 64, 1000, 10] {
            staging.resize(bytes).fill(7);
            assert_eq!((staging.all().len(), staging.all().as_ptr().addr() % 64), (bytes, 0));
            assert_eq!(elements::<f64>(&staging.all()[..bytes / 8 * 8]).len(), bytes / 8);
        }
    }
}
