//! The shaders of a step, compiled for what it is asked for.

use super::chunks::Options;
use super::context::Context;
use super::kernel::{compile, pipeline, storage_layout};
use super::request::Norm;
use super::tensor::Dtype;
use crate::error::Error;
use crate::rule::decay;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use wgpu::{BindGroupLayout, ComputePipeline, ShaderModule};

/// A text, and its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shader {
    /// `norm.wgsl`
    Norm,
    /// `decide.wgsl`
    Decide,
    /// `sgd.wgsl`
    Step,
}

/// A shader with the values of its constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Measures gradients.
    Norm(Dtype, Norm),
    /// Decides; without a norm there are no measures.
    Decide(Norm),
    /// Takes the step.
    Step(Dtype, Options, Flags),
}

/// What a step does besides the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flags {
    /// It reads a decision.
    pub decided: bool,
    /// Gradients are multiplied.
    pub scaled: bool,
    /// Elements of gradients are clamped.
    pub clamped: bool,
    /// Gradients are filled with zeros afterwards.
    pub zeroed: bool,
}

/// Layouts, and what has been compiled.
#[derive(Debug)]
pub struct Pipelines {
    norm: BindGroupLayout,
    decide: BindGroupLayout,
    step: BindGroupLayout,
    modules: HashMap<(Shader, Dtype), ShaderModule>,
    compiled: HashMap<Variant, ComputePipeline>,
}

impl Pipelines {
    /// Nothing compiled yet.
    pub fn new(context: &Context) -> Self {
        let layout = |shader: Shader| {
            let (read_only, dynamic) = shader.bindings();
            storage_layout(context, read_only, dynamic)
        };
        Pipelines {
            norm: layout(Shader::Norm),
            decide: layout(Shader::Decide),
            step: layout(Shader::Step),
            modules: HashMap::new(),
            compiled: HashMap::new(),
        }
    }

    /// The bindings of a shader.
    pub fn layout(&self, shader: Shader) -> &BindGroupLayout {
        match shader {
            Shader::Norm => &self.norm,
            Shader::Decide => &self.decide,
            Shader::Step => &self.step,
        }
    }

    /// Compiles a variant the first time it is asked for.
    pub fn get(&mut self, context: &Context, variant: Variant) -> Result<ComputePipeline, Error> {
        if let Some(compiled) = self.compiled.get(&variant) {
            return Ok(compiled.clone());
        }
        let (shader, dtype) = variant.module();
        let module = match self.modules.entry((shader, dtype)) {
            Entry::Occupied(entry) => entry.get().clone(),
            Entry::Vacant(entry) => {
                let text = wgpu::ShaderSource::Wgsl(shader.text(dtype).into());
                entry.insert(compile(context, text)?).clone()
            }
        };
        let layout = self.layout(shader);
        let constants = variant.constants();
        let compiled = pipeline(context, layout, &module, shader.entry_point(), &constants)?;
        self.compiled.insert(variant, compiled.clone());
        Ok(compiled)
    }
}

impl Shader {
    /// For each binding whether it is only read; and which one has an offset that each dispatch chooses.
    fn bindings(self) -> (&'static [bool], Option<usize>) {
        match self {
            Shader::Norm => (&[true, true, false], None),
            Shader::Decide => (&[true, true, true, false, false], Some(2)),
            Shader::Step => (&[false, false, false, true, true, true], Some(4)),
        }
    }

    /// Whether a binding's offset is chosen by each dispatch.
    pub fn is_versioned(self) -> bool {
        self.bindings().1.is_some()
    }

    fn entry_point(self) -> &'static str {
        match self {
            Shader::Norm => "norm",
            Shader::Decide => "decide",
            Shader::Step => "step",
        }
    }

    /// The shader for tensors of one type.
    fn text(self, dtype: Dtype) -> String {
        let text = match self {
            Shader::Norm => include_str!("norm.wgsl"),
            Shader::Decide => include_str!("decide.wgsl"),
            Shader::Step => include_str!("sgd.wgsl"),
        };
        match dtype {
            Dtype::F32 => text.to_owned(),
            Dtype::F16 => {
                let text = text.replace("alias Element = f32;", "alias Element = f16;");
                format!("enable f16;\n{text}")
            }
        }
    }
}

impl Variant {
    fn module(self) -> (Shader, Dtype) {
        match self {
            Variant::Norm(dtype, _) => (Shader::Norm, dtype),
            Variant::Decide(_) => (Shader::Decide, Dtype::F32), // it has no elements
            Variant::Step(dtype, ..) => (Shader::Step, dtype),
        }
    }

    fn constants(self) -> Vec<(&'static str, f64)> {
        let (options, flags) = match self {
            Variant::Norm(_, Norm(norm)) | Variant::Decide(Norm(norm)) => {
                return vec![("NORM", f64::from(norm))];
            }
            Variant::Step(_, options, flags) => (options, flags),
        };
        [
            ("DECAY", options.decay == decay::COUPLED),
            ("SHRINK", options.decay == decay::DECOUPLED),
            ("MOMENTUM", options.momentum),
            ("NESTEROV", options.nesterov),
            ("SIGN", options.sign),
            ("DECIDED", flags.decided),
            ("SCALED", flags.scaled),
            ("CLAMPED", flags.clamped),
            ("ZEROED", flags.zeroed),
        ]
        .map(|(name, on)| (name, f64::from(u8::from(on))))
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_element_type_into_the_shaders() {
        for shader in [Shader::Norm, Shader::Step] {
            assert!(shader.text(Dtype::F16).contains("alias Element = f16;"));
        }
        for shader in [Shader::Norm, Shader::Decide, Shader::Step] {
            naga::front::wgsl::parse_str(&shader.text(Dtype::F32)).unwrap();
        }
        for shader in [Shader::Norm, Shader::Step] {
            naga::front::wgsl::parse_str(&shader.text(Dtype::F16)).unwrap();
        }
    }

    #[test]
    fn a_shader_has_the_bindings_of_its_layout() {
        for shader in [Shader::Norm, Shader::Decide, Shader::Step] {
            let module = naga::front::wgsl::parse_str(&shader.text(Dtype::F32)).unwrap();
            let (read_only, _) = shader.bindings();
            let mut seen = vec![None; read_only.len()];
            for (_, variable) in module.global_variables.iter() {
                let Some(binding) = variable.binding else { continue };
                let naga::AddressSpace::Storage { access } = variable.space else { panic!() };
                let is_written = access.contains(naga::StorageAccess::STORE);
                seen[binding.binding as usize] = Some(!is_written);
            }
            assert_eq!(seen, read_only.iter().map(|&own| Some(own)).collect::<Vec<_>>());
        }
    }
}
