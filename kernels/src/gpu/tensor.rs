//! Tensors on the device: a type, a length, and the segments of the arena that hold the elements.

use super::arena::Segment;

/// The type of a tensor's elements in memory; all arithmetic is float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// float32
    F32,
    /// float16
    F16,
}

impl Dtype {
    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 => 2,
        }
    }
}

/// A tensor.
#[derive(Debug)]
pub struct Tensor {
    /// The type of its elements.
    pub dtype: Dtype,
    /// Elements.
    pub length: u64,
    /// Where they lie, in order.
    pub segments: Vec<Segment>,
}

impl Tensor {
    /// Bytes of all elements, without padding.
    pub fn bytes(&self) -> u64 {
        self.length * self.dtype.bytes()
    }

    /// Whether both have one length and type, and so are cut alike.
    pub fn is_like(&self, other: &Tensor) -> bool {
        (self.length, self.dtype) == (other.length, other.dtype)
    }

    /// The segments with the bytes of the tensor that each holds, padding left out.
    pub fn parts(&self) -> impl Iterator<Item = (&Segment, std::ops::Range<u64>)> {
        let mut at = 0;
        self.segments.iter().map(move |segment| {
            let end = (at + segment.range.end - segment.range.start).min(self.bytes());
            let part = at..end;
            at = end;
            (segment, part)
        })
    }
}
