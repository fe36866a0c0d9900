//! What the tensors of a step are stepped by: the loops of every group and dtype.

use super::loops::Kernel;
use super::prepare::Preparation;
use crate::dtype::RoundEveryOp;
use crate::lanes::Real;
use crate::random::Source;
use crate::rule::{Hyperparameters, Lines};
use half::{bf16, f16};

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
    pub const NEUTRAL: Call =
        Call { scale: 1.0, limit: f64::INFINITY, source: Source { seed: [0; 2], step: 0 } };
}

/// The types that the tensors of a step are computed in.
#[derive(Clone, Copy, Debug)]
pub struct Types {
    /// float32
    pub f32: bool,
    /// float64
    pub f64: bool,
    /// float32, rounded to float16 after every operation
    pub f16: bool,
    /// float32, rounded to bfloat16 after every operation
    pub bf16: bool,
}

impl Types {
    /// All of them.
    pub const ALL: Types = Types { f32: true, f64: true, f16: true, bf16: true };
}

/// What the tensors of a step are stepped by: the loops of every group, by the type that is computed in.
#[derive(Debug)]
pub struct Plan {
    f32: Vec<Loops<f32>>,
    f64: Vec<Loops<f64>>,
    f16: Vec<Loops<RoundEveryOp<f16>>>,
    bf16: Vec<Loops<RoundEveryOp<bf16>>>,
    source: Source,
}

impl Plan {
    /// A plan without groups.
    pub const fn empty() -> Self {
        Plan {
            f32: Vec::new(),
            f64: Vec::new(),
            f16: Vec::new(),
            bf16: Vec::new(),
            source: Call::NEUTRAL.source,
        }
    }

    /// A plan of groups, of which each has the factor that clips its gradients' norm.
    pub fn new(groups: &[(Hyperparameters, f64)], call: &Call) -> Self {
        let mut plan = Plan::empty();
        plan.set(groups.iter().copied(), call, Types::ALL);
        plan
    }

    /// Replaces all groups, for tensors of some types. A plan that is kept from step to step allocates
    /// nothing.
    #[inline(always)]
    pub fn set<G>(&mut self, groups: G, call: &Call, types: Types)
    where
        G: Iterator<Item = (Hyperparameters, f64)> + Clone,
    {
        self.source = call.source;
        fill(&mut self.f32, types.f32, groups.clone(), call);
        fill(&mut self.f64, types.f64, groups.clone(), call);
        fill(&mut self.f16, types.f16, groups.clone(), call);
        fill(&mut self.bf16, types.bf16, groups, call);
    }

    /// The loops of every group, for a type that the plan has been set for.
    #[inline(always)]
    pub(super) fn loops<T: Computed>(&self) -> &[Loops<T>] {
        T::loops(self)
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }
}

#[inline(always)]
fn fill<T: Real>(
    loops: &mut Vec<Loops<T>>,
    wanted: bool,
    groups: impl Iterator<Item = (Hyperparameters, f64)>,
    call: &Call,
) {
    loops.clear();
    if wanted {
        loops.extend(groups.map(|(h, coefficient)| Loops::new(&h, coefficient, call)));
    }
}

/// What is run on the elements of a tensor.
#[derive(Debug)]
pub struct Loops<T> {
    /// Whether they need a momentum buffer.
    pub(super) buffered: bool,
    /// Which lines of the rule apply at the first step of a parameter, and at later ones.
    pub(super) lines: [Lines; 2],
    pub(super) preparation: Preparation<T>,
    pub(super) kernel: Kernel<T>,
}

impl<T: Real> Loops<T> {
    fn new(h: &Hyperparameters, coefficient: f64, &Call { scale, limit, .. }: &Call) -> Self {
        Loops {
            buffered: h.momentum != 0.0,
            lines: [Lines::new(h, true), Lines::new(h, false)],
            preparation: Preparation::new(scale, coefficient, limit),
            kernel: Kernel::new(h),
        }
    }
}

/// A type that tensors are computed in.
pub trait Computed: Real {
    /// The loops for this type.
    fn loops(plan: &Plan) -> &[Loops<Self>];
}

macro_rules! computed {
    ($type:ty, $field:ident) => {
        impl Computed for $type {
            #[inline(always)]
            fn loops(plan: &Plan) -> &[Loops<Self>] {
                &plan.$field
            }
        }
    };
}
computed!(f32, f32);
computed!(f64, f64);
computed!(RoundEveryOp<f16>, f16);
computed!(RoundEveryOp<bf16>, bf16);
