//! Shaders of the user: compiled once, dispatched over tensors.

use super::context::Context;
use crate::error::Error;
use naga::{AddressSpace, Module, StorageAccess};
use std::borrow::Cow;
use std::collections::HashMap;
use wgpu::{BindGroup, BindGroupLayout, ComputePipeline, ShaderModuleDescriptor, ShaderSource};

/// How many bind groups a kernel keeps for lists of tensors that come again.
const MAX_BIND_GROUPS: usize = 64;

/// A range of a block, as one binding sees it.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The block.
    pub buffer: &'a wgpu::Buffer,
    /// Bytes before the range.
    pub offset: u64,
    /// Bytes of the range.
    pub bytes: u64,
}

impl<'a> Binding<'a> {
    fn entry(&self, index: usize) -> wgpu::BindGroupEntry<'a> {
        wgpu::BindGroupEntry {
            binding: index as u32,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: self.buffer,
                offset: self.offset,
                size: wgpu::BufferSize::new(self.bytes),
            }),
        }
    }
}

/// A compiled shader whose bindings are tensors.
#[derive(Debug)]
pub struct Kernel {
    layout: BindGroupLayout,
    pipeline: ComputePipeline,
    bindings: usize,
    bind_groups: HashMap<Vec<u64>, BindGroup>,
}

impl Kernel {
    /// Compiles WGSL. Every binding has to be `@group(0) @binding(i) var<storage, ...>`, with `i`
    /// from 0 without gaps.
    pub fn new(context: &Context, code: &str, entry_point: &str) -> Result<Self, Error> {
        let text = ShaderSource::Wgsl(Cow::Borrowed(code));
        let _ = compile(context, text)?; // for wgpu's own message, with line and column
        let mut module = naga::front::wgsl::parse_str(code)
            .map_err(|error| Error::Gpu(error.emit_to_string(code)))?;
        let bindings = open_bindings(&mut module)?;
        let module = compile(context, ShaderSource::Naga(Cow::Owned(module)))?;
        let layout = storage_layout(context, &vec![false; bindings], None);
        let pipeline = pipeline(context, &layout, &module, entry_point, &[])?;
        Ok(Kernel { layout, pipeline, bindings, bind_groups: HashMap::new() })
    }

    /// How many tensors a dispatch takes.
    pub fn bindings(&self) -> usize {
        self.bindings
    }

    /// The compiled shader.
    pub fn pipeline(&self) -> &ComputePipeline {
        &self.pipeline
    }

    /// The bind group of a list of tensors, which `key` stands for.
    pub fn bind_group(
        &mut self,
        context: &Context,
        key: &[u64],
        bindings: &[Binding<'_>],
    ) -> Result<&BindGroup, Error> {
        if !self.bind_groups.contains_key(key) {
            if self.bind_groups.len() >= MAX_BIND_GROUPS {
                self.bind_groups.clear();
            }
            let group = bind_group(context, &self.layout, bindings);
            context.check()?;
            self.bind_groups.insert(key.to_vec(), group);
        }
        Ok(&self.bind_groups[key])
    }

    /// Lets go of the blocks that its bind groups hold.
    pub fn forget_bind_groups(&mut self) {
        self.bind_groups.clear();
    }
}

/// Compiles a shader.
pub fn compile(context: &Context, source: ShaderSource<'_>) -> Result<wgpu::ShaderModule, Error> {
    let label = None;
    let module = context.device.create_shader_module(ShaderModuleDescriptor { label, source });
    context.check()?;
    Ok(module)
}

/// A layout of storage buffers, some of which may be only read, and one with an offset that each
/// dispatch chooses.
pub fn storage_layout(
    context: &Context,
    read_only: &[bool],
    dynamic: Option<usize>,
) -> BindGroupLayout {
    let entry = |binding: usize| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: read_only[binding] },
            has_dynamic_offset: dynamic == Some(binding),
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = (0..read_only.len()).map(entry).collect();
    context.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: None,
        entries: &entries,
    })
}

/// A pipeline with one bind group.
pub fn pipeline(
    context: &Context,
    layout: &BindGroupLayout,
    module: &wgpu::ShaderModule,
    entry_point: &str,
    constants: &[(&str, f64)],
) -> Result<ComputePipeline, Error> {
    let device = &context.device;
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&layout),
        module,
        entry_point: Some(entry_point),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants,
            zero_initialize_workgroup_memory: true,
        },
        cache: None,
    });
    context.check()?;
    Ok(pipeline)
}

/// A bind group of storage buffers.
pub fn bind_group(
    context: &Context,
    layout: &BindGroupLayout,
    bindings: &[Binding<'_>],
) -> BindGroup {
    let entries: Vec<_> = bindings.iter().enumerate().map(|(i, own)| own.entry(i)).collect();
    let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries: &entries };
    context.device.create_bind_group(&descriptor)
}

/// Makes every binding `read_write` and counts them: tensors share blocks, and a block cannot be
/// bound as `read` and as `read_write` in one dispatch.
fn open_bindings(module: &mut Module) -> Result<usize, Error> {
    let mut seen = Vec::new();
    for (_, variable) in module.global_variables.iter_mut() {
        let Some(binding) = variable.binding else { continue };
        let name = variable.name.as_deref().unwrap_or("");
        let place = format!("@group({}) @binding({}) {name}", binding.group, binding.binding);
        let AddressSpace::Storage { access } = &mut variable.space else {
            return Err(Error::Gpu(format!("Cannot use {place} as it must be var<storage>")));
        };
        *access |= StorageAccess::LOAD | StorageAccess::STORE;
        if binding.group != 0 {
            return Err(Error::Gpu(format!("Cannot use {place} as it must be in @group(0)")));
        }
        seen.push(binding.binding);
    }
    seen.sort_unstable();
    if let Some(gap) = seen.iter().enumerate().find(|&(i, &binding)| i != binding as usize) {
        return Err(Error::Gpu(format!(
            "Cannot use the bindings of the shader as they must be 0, 1, 2 and so on: {} is missing \
             or there twice",
            gap.0.min(*gap.1 as usize)
        )));
    }
    Ok(seen.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bindings(code: &str) -> Result<usize, String> {
        open_bindings(&mut naga::front::wgsl::parse_str(code).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn counts_storage_bindings_and_opens_them_for_writing() {
        let code = "@group(0) @binding(1) var<storage> a: array<f32>;
            @group(0) @binding(0) var<storage, read_write> b: array<f32>;
            var<workgroup> shared_sum: f32;";
        let mut module = naga::front::wgsl::parse_str(code).unwrap();
        assert_eq!(open_bindings(&mut module), Ok(2));
        let open = StorageAccess::LOAD | StorageAccess::STORE;
        let spaces = module.global_variables.iter().filter(|(_, v)| v.binding.is_some());
        for (_, variable) in spaces {
            assert_eq!(variable.space, AddressSpace::Storage { access: open });
        }
    }

    #[test]
    fn refuses_bindings_that_no_tensor_can_be() {
        let cases = [
            ("@group(0) @binding(0) var<uniform> a: f32;", "var<storage>"),
            ("@group(1) @binding(0) var<storage> a: array<f32>;", "@group(0)"),
            ("@group(0) @binding(1) var<storage> a: array<f32>;", "0 is missing"),
        ];
        for (code, expected) in cases {
            let text = bindings(code).unwrap_err();
            assert!(text.contains(expected), "{text}");
        }
    }
}
