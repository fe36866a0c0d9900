//! The user's own shaders over ranges of tensors.

use super::arena::Arena;
use super::device::{Gpu, find};
use super::kernel::{Binding, Kernel};
use super::queue::{Dispatch, Work};
use super::tensor::Tensor;
use crate::error::Error;
use std::collections::HashMap;
use std::sync::Arc;
use wgpu::Buffer;

/// A range of a tensor, in elements.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The tensor.
    pub handle: u64,
    /// The first element.
    pub offset: u64,
    /// Elements.
    pub length: u64,
}

impl Gpu {
    /// Compiles a shader of the user's and returns its number.
    pub fn kernel(&self, code: &str, entry_point: &str) -> Result<u32, Error> {
        self.context.check()?;
        let kernel = Kernel::new(&self.context, code, entry_point)?;
        let state = &mut *self.state();
        let id = state.next_kernel;
        state.next_kernel += 1;
        state.kernels.insert(id, kernel);
        Ok(id)
    }

    /// Forgets a shader.
    pub fn free_kernel(&self, id: u32) {
        self.state().kernels.remove(&id);
    }

    /// Queues a shader over ranges of tensors.
    pub fn dispatch(&self, id: u32, views: &[View], workgroups: [u32; 3]) -> Result<(), Error> {
        self.context.check()?;
        let state = &mut *self.state();
        let alignment = u64::from(self.context.limits.min_storage_buffer_offset_alignment);
        let bindings = views
            .iter()
            .enumerate()
            .map(|(index, view)| bind(&state.tensors, &state.arena, view, index, alignment))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(kernel) = state.kernels.get_mut(&id) else {
            return Err(Error::Table("Cannot dispatch as the kernel does not exist".to_owned()));
        };
        if kernel.bindings() != views.len() {
            return Err(Error::Table(format!(
                "Cannot dispatch as the kernel has {} bindings: {} tensors were given",
                kernel.bindings(),
                views.len()
            )));
        }
        let key: Vec<_> = views.iter().flat_map(|v| [v.handle, v.offset, v.length]).collect();
        let bind_group = kernel.bind_group(&self.context, &key, &bindings)?.clone();
        let pipeline = kernel.pipeline().clone();
        let dispatch = Dispatch { pipeline, bind_group, versioned: false, workgroups };
        self.queue.push(Work::Run(Arc::new([dispatch]), 0))
    }
}

fn bind<'a>(
    tensors: &HashMap<u64, Tensor>,
    arena: &'a Arena<Buffer>,
    view: &View,
    index: usize,
    alignment: u64,
) -> Result<Binding<'a>, Error> {
    let tensor = find(tensors, view.handle)?;
    let fail = |why: String| Err(Error::Table(format!("Cannot bind tensor {index} as {why}")));
    let element = tensor.dtype.bytes();
    let most = arena.max_block() / element;
    let end = view.offset.saturating_add(view.length);
    if view.length == 0 || end > tensor.length {
        return fail(format!(
            "its range must be within {} elements and not empty: it is {} to {end}",
            tensor.length, view.offset
        ));
    }
    if view.offset / most != (end - 1) / most {
        return fail(format!(
            "a binding sees at most {most} elements, from a multiple of {most} on: \
             its range is {} to {end}",
            view.offset
        ));
    }
    let within = view.offset % most * element;
    if !within.is_multiple_of(alignment) {
        return fail(format!(
            "its offset must be a multiple of {}: it is {}",
            alignment / element,
            view.offset
        ));
    }
    let segment = &tensor.segments[(view.offset / most) as usize];
    let buffer = arena.memory(segment.block);
    let bytes = (view.length * element).next_multiple_of(4);
    Ok(Binding { buffer, offset: segment.range.start + within, bytes })
}
