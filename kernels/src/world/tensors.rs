//! What ranks step together.

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
