//! What a step is asked to do to its gradients, and what follows from that for its shaders.

use bytemuck::{Pod, Zeroable};

/// What happens to gradients on their way into the rule, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// What they are multiplied by to unscale them.
    pub inverse_scale: f64,
    /// Whether the step is skipped if something is infinite or NaN.
    pub check_finite: bool,
    /// The largest norm, if it matters.
    pub max_norm: Option<f64>,
    /// Which norm that is.
    pub norm: Norm,
    /// Whether each group has a norm of its own.
    pub per_group: bool,
    /// The largest magnitude of an element.
    pub max_value: f64,
    /// Whether they are filled with zeros afterwards.
    pub zero_grad: bool,
}

/// Which norm: the number in the shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Norm(pub u32);

impl Norm {
    /// The root of the sum of squares.
    pub const EUCLIDEAN: Norm = Norm(2);

    /// The norm of an order: 1, 2 or infinity, for which the shaders have 0.
    pub fn of(order: f64) -> Self {
        Norm(if order.is_finite() { order as u32 } else { 0 })
    }
}

/// What the shaders of a step are compiled for, besides the options of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Effects {
    /// The norm of gradients is taken, and whether they are finite.
    pub measured: Option<Norm>,
    /// They are multiplied.
    pub scaled: bool,
    /// Elements are clamped.
    pub clamped: bool,
    /// They are filled with zeros afterwards.
    pub zeroed: bool,
}

/// `Request` of `decide.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct RequestWords {
    scale: f32,
    limit: f32,
    max_norm: f32,
    exponent: i32,
    flags: u32,
}

const CHECK_FINITE: u32 = 1;
const PER_GROUP: u32 = 2;

impl Request {
    /// Nothing besides the rule.
    pub const NEUTRAL: Request = Request {
        inverse_scale: 1.0,
        check_finite: false,
        max_norm: None,
        norm: Norm::EUCLIDEAN,
        per_group: false,
        max_value: f64::INFINITY,
        zero_grad: false,
    };

    /// Whether gradients are measured before they are used, so that the step may be skipped.
    pub fn is_measured(&self) -> bool {
        self.check_finite || self.max_norm.is_some()
    }

    /// What the shaders have to do.
    pub fn effects(&self) -> Effects {
        let clips = self.max_norm.is_some_and(f64::is_finite);
        Effects {
            measured: self.is_measured().then_some(self.norm),
            scaled: self.inverse_scale != 1.0 || clips,
            clamped: self.max_value < f64::INFINITY,
            zeroed: self.zero_grad,
        }
    }

    /// The request as `decide.wgsl` reads it.
    pub fn words(&self) -> RequestWords {
        let (max_norm, exponent) = self.max_norm.map_or((-1.0, 0), split);
        let flag = |is_set, bit| if is_set { bit } else { 0 };
        RequestWords {
            scale: self.inverse_scale as f32,
            limit: self.max_value as f32,
            max_norm,
            exponent,
            flags: flag(self.check_finite, CHECK_FINITE) | flag(self.per_group, PER_GROUP),
        }
    }
}

/// A norm as `max_norm` and `exponent` of `decide.wgsl`.
fn split(norm: f64) -> (f32, i32) {
    if (norm as f32).is_finite() || norm.is_infinite() {
        return (norm as f32, 0);
    }
    let exponent = norm.log2().floor().min(1023.0);
    ((norm / exponent.exp2()) as f32, exponent as i32)
}

impl Effects {
    /// Whether a step reads a decision even if the host knows everything of its momentum buffers.
    pub fn needs_decision(&self) -> bool {
        self.measured.is_some() || self.scaled || self.clamped
    }
}
