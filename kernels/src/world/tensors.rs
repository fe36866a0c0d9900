//! What ranks step together, and what each keeps of it.

use super::ordered::Form;
use super::partition::Segment;
use crate::error::Error;

/// A part of a tensor, and the sums of its gradients.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Which elements.
    pub segment: Segment,
    /// Their sums, in the form that the tensor has.
    pub sums: &'a [u8],
}

/// The tensors that are stepped together.
pub trait Tensors<'a> {
    /// How a tensor's gradient is stored; `None` if it has none, on all ranks.
    fn form(&self, tensor: usize) -> Option<Form>;
    /// The gradient of a tensor that has one. Nobody writes to it during a step.
    fn gradient(&self, tensor: usize) -> &'a [u8];
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
