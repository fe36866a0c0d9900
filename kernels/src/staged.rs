//! A step with more to it than the rule: gradients that are unscaled, clipped and cleared, and
//! parameters in 16-bit types.
//!
//! It goes through memory once, as a plain step does: a stage of [`STAGE`] elements is loaded, and
//! the loops of [`crate::sweep`] run on it while it lies in the first-level cache.

use crate::config::Config;
use crate::cpu::{both, fail};
use crate::element::{Each, Element, STAGE};
use crate::error::Error;
use crate::random::Source;
use crate::rule::{Hyperparameters, Real};
use crate::share::{self, Tensors, Work, middle_of};
use crate::simd::Level;
use crate::stage::{Loops, Stage, stages};
use half::{bf16, f16};
use ndarray::{ArrayView1, ArrayViewMut1, Axis};

/// What a step does besides the rule, for all groups.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// What gradients are multiplied by.
    pub scale: f64,
    /// What gradients are clamped to, or infinity.
    pub limit: f64,
    /// The random bits of stochastic rounding.
    pub source: Source,
}

impl Call {
    /// Nothing besides the rule.
    pub const NOTHING: Call =
        Call { scale: 1.0, limit: f64::INFINITY, source: Source { seed: [0; 2], step: 0 } };
}

/// What the tensors of a step are stepped by.
#[derive(Debug)]
pub struct Plan {
    groups: Vec<Group>,
    source: Source,
}

impl Plan {
    /// Chooses the loops of all groups, of which each has the factor that clips its gradients' norm.
    pub fn new(groups: impl Iterator<Item = (Hyperparameters, f64)>, call: &Call) -> Self {
        let groups = groups.map(|(h, coefficient)| Group::new(&h, coefficient, call)).collect();
        Plan { groups, source: call.source }
    }
}

#[derive(Debug)]
struct Group {
    buffered: bool,
    f32: Loops<f32>,
    f64: Loops<f64>,
    f16: Loops<Each<f16>>,
    bf16: Loops<Each<bf16>>,
}

impl Group {
    fn new(h: &Hyperparameters, coefficient: f64, call: &Call) -> Self {
        Group {
            buffered: h.momentum != 0.0,
            f32: Loops::new(h, coefficient, call),
            f64: Loops::new(h, coefficient, call),
            f16: Loops::new(h, coefficient, call),
            bf16: Loops::new(h, coefficient, call),
        }
    }
}

/// A gradient.
#[derive(Debug)]
pub enum Gradient<'a, H> {
    /// It is only read.
    Kept(ArrayView1<'a, H>),
    /// It is filled with zeros once it has been read.
    Cleared(ArrayViewMut1<'a, H>),
}

/// One parameter of a step: its arrays, contiguous and of one length. It is stored as `H`, its buffer
/// as `B`, and computed with as `T`.
#[derive(Debug)]
pub struct Slot<'a, H, B, T> {
    /// The parameter, updated in place.
    pub param: ArrayViewMut1<'a, H>,
    /// Its gradient.
    pub grad: Gradient<'a, H>,
    /// Its momentum buffer, updated in place; needed if the group has momentum.
    pub buffer: Option<ArrayViewMut1<'a, B>>,
    /// The copy that is stepped in its place, and of which it gets the nearest values.
    pub master: Option<ArrayViewMut1<'a, T>>,
    /// Whether the buffer has never been written: it is then not read.
    pub first: bool,
    /// Whether parameters are rounded by random bits.
    pub stochastic: bool,
    /// The index of its group.
    pub group: usize,
    /// The number of the tensor, by which its random bits differ from others'.
    pub number: u32,
    /// The element of the tensor that this part begins with.
    pub offset: usize,
}

/// A parameter of any supported type.
#[derive(Debug)]
pub enum Tensor<'a> {
    /// float32
    F32(Slot<'a, f32, f32, f32>),
    /// float64
    F64(Slot<'a, f64, f64, f64>),
    /// float16, computed with in float32
    F16(Slot<'a, f16, f32, f32>),
    /// bfloat16, computed with in float32
    Bf16(Slot<'a, bf16, f32, f32>),
    /// float16, rounded after every operation
    EachF16(Slot<'a, f16, f16, Each<f16>>),
    /// bfloat16, rounded after every operation
    EachBf16(Slot<'a, bf16, bf16, Each<bf16>>),
}

/// One step of every tensor, in place. All checks come before the first write.
///
/// # Errors
/// A group that does not exist, lengths that differ, views with gaps, and a missing buffer.
pub fn step<T>(tensors: T, plan: &Plan, config: &Config) -> Result<(), Error>
where
    T: Tensors<Plan = Plan>,
{
    share::run(tensors, plan, config)
}

macro_rules! each_type {
    ($tensor:expr, $slot:ident => $body:expr) => {
        match $tensor {
            Tensor::F32($slot) => $body,
            Tensor::F64($slot) => $body,
            Tensor::F16($slot) => $body,
            Tensor::Bf16($slot) => $body,
            Tensor::EachF16($slot) => $body,
            Tensor::EachBf16($slot) => $body,
        }
    };
}

impl Work for Tensor<'_> {
    type Plan = Plan;

    fn bytes(&self) -> usize {
        each_type!(self, slot => slot.bytes())
    }

    fn check(&self, index: usize, plan: &Plan) -> Result<(), Error> {
        each_type!(self, slot => slot.check(index, plan))
    }

    fn halve(self) -> (Self, Self) {
        match self {
            Tensor::F32(slot) => both(slot.halve(), Tensor::F32),
            Tensor::F64(slot) => both(slot.halve(), Tensor::F64),
            Tensor::F16(slot) => both(slot.halve(), Tensor::F16),
            Tensor::Bf16(slot) => both(slot.halve(), Tensor::Bf16),
            Tensor::EachF16(slot) => both(slot.halve(), Tensor::EachF16),
            Tensor::EachBf16(slot) => both(slot.halve(), Tensor::EachBf16),
        }
    }

    fn sweep(self, plan: &Plan, level: Level) {
        let Plan { groups, source } = plan;
        match self {
            Tensor::F32(slot) => slot.sweep(|group| &groups[group].f32, source, level),
            Tensor::F64(slot) => slot.sweep(|group| &groups[group].f64, source, level),
            Tensor::F16(slot) => slot.sweep(|group| &groups[group].f32, source, level),
            Tensor::Bf16(slot) => slot.sweep(|group| &groups[group].f32, source, level),
            Tensor::EachF16(slot) => slot.sweep(|group| &groups[group].f16, source, level),
            Tensor::EachBf16(slot) => slot.sweep(|group| &groups[group].bf16, source, level),
        }
    }
}

impl Tensors for &mut [Tensor<'_>] {
    type Work<'a>
        = Tensor<'a>
    where
        Self: 'a;
    type Plan = Plan;

    fn count(&self) -> usize {
        self.len()
    }
    fn at(&mut self, index: usize) -> Option<Tensor<'_>> {
        Some(match &mut self[index] {
            Tensor::F32(slot) => Tensor::F32(slot.reborrow()),
            Tensor::F64(slot) => Tensor::F64(slot.reborrow()),
            Tensor::F16(slot) => Tensor::F16(slot.reborrow()),
            Tensor::Bf16(slot) => Tensor::Bf16(slot.reborrow()),
            Tensor::EachF16(slot) => Tensor::EachF16(slot.reborrow()),
            Tensor::EachBf16(slot) => Tensor::EachBf16(slot.reborrow()),
        })
    }
    fn split(self, index: usize) -> (Self, Self) {
        self.split_at_mut(index)
    }
}

impl<H: Element<T>, B: Element<T>, T: Real> Slot<'_, H, B, T> {
    fn reborrow(&mut self) -> Slot<'_, H, B, T> {
        Slot {
            param: self.param.view_mut(),
            grad: match &mut self.grad {
                Gradient::Kept(grad) => Gradient::Kept(grad.view()),
                Gradient::Cleared(grad) => Gradient::Cleared(grad.view_mut()),
            },
            buffer: self.buffer.as_mut().map(|buffer| buffer.view_mut()),
            master: self.master.as_mut().map(|master| master.view_mut()),
            ..*self
        }
    }

    fn bytes(&self) -> usize {
        size_of::<H>() * self.param.len()
    }

    fn check(&self, index: usize, plan: &Plan) -> Result<(), Error> {
        let Some(group) = plan.groups.get(self.group) else {
            return fail(index, "its group does not exist");
        };
        let fits = |length: Option<usize>| length == Some(self.param.len());
        let grad = match &self.grad {
            Gradient::Kept(grad) => grad.as_slice().map(<[H]>::len),
            Gradient::Cleared(grad) => grad.as_slice().map(<[H]>::len),
        };
        if !fits(grad) || !fits(self.param.as_slice().map(<[H]>::len)) {
            return fail(index, "its gradient has another length, or an array is not contiguous");
        }
        if self.master.as_ref().is_some_and(|m| !fits(m.as_slice().map(<[T]>::len))) {
            return fail(index, "its master copy has another length or is not contiguous");
        }
        match &self.buffer {
            None if group.buffered => fail(index, "it has no momentum buffer"),
            Some(b) if !fits(b.as_slice().map(<[B]>::len)) => {
                fail(index, "its momentum buffer has another length or is not contiguous")
            }
            _ => Ok(()),
        }
    }

    fn halve(self) -> (Self, Self) {
        let middle = middle_of(self.param.len());
        let (param, param_rest) = self.param.split_at(Axis(0), middle);
        let (grad, grad_rest) = match self.grad {
            Gradient::Kept(grad) => both(grad.split_at(Axis(0), middle), Gradient::Kept),
            Gradient::Cleared(grad) => both(grad.split_at(Axis(0), middle), Gradient::Cleared),
        };
        let (buffer, buffer_rest) = self.buffer.map(|b| b.split_at(Axis(0), middle)).unzip();
        let (master, master_rest) = self.master.map(|m| m.split_at(Axis(0), middle)).unzip();
        let rest = Slot {
            param: param_rest,
            grad: grad_rest,
            buffer: buffer_rest,
            master: master_rest,
            offset: self.offset + middle,
            ..self
        };
        (Slot { param, grad, buffer, master, ..self }, rest)
    }

    fn sweep<'p>(self, loops: impl Fn(usize) -> &'p Loops<T>, source: &Source, level: Level)
    where
        T: 'p,
    {
        let bits = self.stochastic.then(|| source.bits(self.number, self.offset));
        let mut stage = Stage::new(loops(self.group), self.first, bits, level);
        let mut params = stages(self.param);
        let mut masters = self.master.into_iter().flat_map(stages);
        let mut buffers = self.buffer.into_iter().flat_map(stages);
        let mut run = |grad: &[H]| {
            stage.load(grad);
            let buffer = buffers.next().unwrap_or_default();
            let param = params.next().unwrap_or_default();
            stage.step(param, buffer, masters.next());
        };
        match self.grad {
            Gradient::Kept(grad) => {
                grad.to_slice().unwrap_or_default().chunks(STAGE).for_each(run);
            }
            Gradient::Cleared(grad) => stages(grad).for_each(|grad| {
                run(grad);
                grad.fill(H::ZERO);
            }),
        }
    }
}
