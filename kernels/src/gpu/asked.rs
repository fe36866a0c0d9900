//! What a step is asked for, and where it finds what it needs.

use super::arena::Arena;
use super::chunks::Options;
use super::context::Context;
use super::queue::Queue;
use super::request::Request;
use super::tensor::Tensor;
use crate::rule::Hyperparameters;
use std::collections::HashMap;
use wgpu::Buffer;

/// One parameter of a step, by the handles of its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Its values.
    pub data: u64,
    /// Its gradient.
    pub grad: u64,
    /// Its momentum buffer, or 0.
    pub buffer: u64,
    /// The index of its group.
    pub group: usize,
    /// Whether the buffer has been written.
    pub written: Written,
}

/// Whether a momentum buffer has been written, as far as the host knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Written {
    /// It has been.
    Yes,
    /// It has not.
    No,
    /// It has been, unless all steps so far were skipped.
    Unknown,
}

/// A step, as the host asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The parameters.
    pub rows: &'a [Row],
    /// The groups.
    pub groups: &'a [Hyperparameters],
    /// What happens to gradients on their way.
    pub request: Request,
}

/// What a step reads: where tensors lie, and the device.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The device.
    pub context: &'a Context,
    /// Its queue.
    pub queue: &'a Queue,
    /// The blocks.
    pub arena: &'a Arena<Buffer>,
    /// The tensors by their handles.
    pub tensors: &'a HashMap<u64, Tensor>,
}

impl Asked<'_> {
    /// Whether, after this step, only the device knows whether the row's momentum buffer has been written,
    /// or whether only it knows already.
    pub fn is_unsure(&self, row: &Row) -> bool {
        let has_momentum = self.groups.get(row.group).is_some_and(|h| Options::of(h).momentum);
        has_momentum
            && row.buffer != 0
            && match row.written {
                Written::Yes => false,
                Written::No => self.request.is_measured(),
                Written::Unknown => true,
            }
    }
}
