//! A tensor that is stored in one of many ways, and what a step has to make of it, one number at a time.

use crate::formats::{Eight, join, key, nearest_bf16, nearest_f16, split, split24};
use crate::options::{numbers, run};
use descent_kernels::config::Config;
use descent_kernels::random::Source;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::step::{Call, Mixed, MixedGradient, Momentum, Param, Tensor};
use half::{bf16, f16};

pub const SOURCE: Source = Source { seed: [0x1234_5678, 0x9abc_def0], step: 5_000_000_000 };
pub const NUMBER: u32 = 3;

/// The ways to store a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    F32,
    F16,
    Bf16,
    F16Master,
    Bf16Master,
    Split,
    Split24,
}

/// The ways to store a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grad {
    F32,
    F16,
    Bf16,
}

use Form::{Bf16, Bf16Master, F16, F16Master, F32, Split, Split24};

pub const PAIRS: [(Form, Grad); 13] = [
    (F32, Grad::F32),
    (F16, Grad::F16),
    (F16, Grad::F32),
    (Bf16, Grad::Bf16),
    (Bf16, Grad::F32),
    (F16Master, Grad::F16),
    (F16Master, Grad::F32),
    (Bf16Master, Grad::Bf16),
    (Bf16Master, Grad::F32),
    (Split, Grad::Bf16),
    (Split, Grad::F32),
    (Split24, Grad::Bf16),
    (Split24, Grad::F32),
];

/// A tensor with all that any storage needs.
#[derive(Clone, Debug)]
pub struct Stored {
    pub form: Form,
    pub grad: Grad,
    pub eight: bool,
    pub wide: Vec<f32>,
    pub words: Vec<u16>,
    pub corrections: Vec<i16>,
    pub small_corrections: Vec<i8>,
    pub grad_wide: Vec<f32>,
    pub grad_words: Vec<u16>,
    pub buffer: Vec<f32>,
    pub momentum8: Eight,
}

/// The bits of a number, with one NaN for all.
pub fn bits(x: f32) -> u32 {
    if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }
}

impl Stored {
    pub fn new(form: Form, grad: Grad, eight: bool, length: usize) -> Self {
        let [p, g, b] = [1, 2, 3].map(|seed| with_specials(seed, length));
        let mut stored = Stored {
            form,
            grad,
            eight,
            wide: vec![0.0; length],
            words: vec![0; length],
            corrections: vec![0; length],
            small_corrections: vec![0; length],
            grad_wide: vec![0.0; length],
            grad_words: vec![0; length],
            buffer: vec![0.0; length],
            momentum8: Eight::zeroed(length),
        };
        for i in 0..length {
            stored.set_param(i, p[i]);
            match grad {
                Grad::F32 => stored.grad_wide[i] = g[i],
                Grad::F16 => stored.grad_words[i] = nearest_f16(g[i]),
                Grad::Bf16 => stored.grad_words[i] = nearest_bf16(g[i]),
            }
        }
        if eight {
            stored.momentum8 = Eight::encoded(&b, 99);
        } else {
            stored.buffer = b;
        }
        stored
    }

    pub fn param(&self, i: usize) -> f32 {
        match self.form {
            F32 | F16Master | Bf16Master => self.wide[i],
            F16 => f16::from_bits(self.words[i]).to_f32(),
            Bf16 => bf16::from_bits(self.words[i]).to_f32(),
            Split => join(self.words[i], self.corrections[i].into()),
            Split24 => join(self.words[i], 256 * i32::from(self.small_corrections[i])),
        }
    }

    /// A parameter's word, with one NaN for all: the sign and the payload follow from no rule.
    pub fn word(&self, i: usize) -> u16 {
        let (word, is_f16) = (self.words[i], matches!(self.form, F16 | F16Master));
        let least_nan = if is_f16 { 0x7c01 } else { 0x7f81 };
        if word & 0x7fff >= least_nan { 0x7fff } else { word }
    }

    pub fn set_param(&mut self, i: usize, x: f32) {
        match self.form {
            F32 => self.wide[i] = x,
            F16 => self.words[i] = nearest_f16(x),
            Bf16 => self.words[i] = nearest_bf16(x),
            F16Master => (self.wide[i], self.words[i]) = (x, nearest_f16(x)),
            Bf16Master => (self.wide[i], self.words[i]) = (x, nearest_bf16(x)),
            Split => (self.words[i], self.corrections[i]) = split(x),
            Split24 => {
                let key = key(SOURCE.seed, SOURCE.step, NUMBER);
                (self.words[i], self.small_corrections[i]) = split24(x, key, i);
            }
        }
    }

    pub fn gradient(&self, i: usize) -> f32 {
        match self.grad {
            Grad::F32 => self.grad_wide[i],
            Grad::F16 => f16::from_bits(self.grad_words[i]).to_f32(),
            Grad::Bf16 => bf16::from_bits(self.grad_words[i]).to_f32(),
        }
    }

    pub fn momentum(&self, i: usize) -> f32 {
        if self.eight { self.momentum8.decoded(i) } else { self.buffer[i] }
    }

    /// What a step moves a parameter along, and what becomes of its momentum, from the rule's description.
    pub fn direction(&self, i: usize, h: &Hyperparameters, options: &Options) -> [f32; 2] {
        let (p, b) = (self.param(i), self.momentum(i));
        let mut g = options.prepared(self.gradient(i));
        g *= if h.maximize { -1.0 } else { 1.0 };
        if h.weight_decay != 0.0 && !h.decoupled_weight_decay {
            g = (h.weight_decay as f32).mul_add(p, g);
        }
        let (mut u, mut v) = (g, 0.0);
        if h.momentum != 0.0 {
            let kept = h.momentum as f32 * b;
            let blend = (1.0 - h.dampening) as f32;
            v = if options.first { g } else { blend.mul_add(g, kept) };
            u = if h.nesterov { (h.momentum as f32).mul_add(v, g) } else { v };
        }
        if h.sign {
            u = f32::from(i8::from(u > 0.0) - i8::from(u < 0.0));
        }
        [u, v]
    }

    /// What a step has to make of this.
    pub fn stepped(&self, h: &Hyperparameters, options: &Options) -> Self {
        let mut next = self.clone();
        let mut velocity = vec![0.0; self.words.len()];
        for (i, velocity) in velocity.iter_mut().enumerate() {
            let [u, v] = self.direction(i, h, options);
            let mut p = self.param(i);
            if h.weight_decay != 0.0 && h.decoupled_weight_decay {
                p *= (1.0 - h.lr * h.weight_decay) as f32;
            }
            *velocity = v;
            next.set_param(i, (-h.lr as f32).mul_add(u, p));
        }
        if h.momentum != 0.0 && self.eight {
            let key = key(SOURCE.seed, SOURCE.step, NUMBER);
            next.momentum8 = Eight::encoded(&velocity, key);
        } else if h.momentum != 0.0 {
            next.buffer = velocity;
        }
        if options.clear {
            next.grad_wide.fill(0.0);
            next.grad_words.fill(0);
        }
        next
    }

    pub fn mixed(&mut self, options: &Options) -> Mixed<'_> {
        let param = match self.form {
            F32 => Param::F32(&mut self.wide),
            F16 => Param::F16(halves_mut(&mut self.words)),
            Bf16 => Param::Bf16(halves_mut(&mut self.words)),
            F16Master => Param::F16Master(halves_mut(&mut self.words), &mut self.wide),
            Bf16Master => Param::Bf16Master(halves_mut(&mut self.words), &mut self.wide),
            Split => Param::Split(halves_mut(&mut self.words), &mut self.corrections),
            Split24 => Param::Split24(halves_mut(&mut self.words), &mut self.small_corrections),
        };
        let grad = match (self.grad, options.clear) {
            (Grad::F32, false) => MixedGradient::F32(&self.grad_wide),
            (Grad::F16, false) => MixedGradient::F16(halves(&self.grad_words)),
            (Grad::Bf16, false) => MixedGradient::Bf16(halves(&self.grad_words)),
            (Grad::F32, true) => MixedGradient::ClearedF32(&mut self.grad_wide),
            (Grad::F16, true) => MixedGradient::ClearedF16(halves_mut(&mut self.grad_words)),
            (Grad::Bf16, true) => MixedGradient::ClearedBf16(halves_mut(&mut self.grad_words)),
        };
        let momentum = match self.eight {
            true => Momentum::Eight(&mut self.momentum8.values, &mut self.momentum8.scales),
            false => Momentum::F32(&mut self.buffer),
        };
        let mut mixed = Mixed::new(param, grad, momentum);
        (mixed.first, mixed.number) = (options.first, NUMBER);
        mixed
    }

    pub fn step(&mut self, h: &Hyperparameters, options: &Options, config: &Config) {
        let call = Call { scale: options.scale, limit: options.limit, source: SOURCE };
        run(Tensor::Mixed(self.mixed(options)), h, options.coefficient, &call, config);
    }

    pub fn assert_equals(&self, expected: &Self, context: &str) {
        let same = |a: &[f32], b: &[f32]| a.iter().zip(b).position(|(&a, &b)| bits(a) != bits(b));
        let context = format!("{:?} {:?} eight {}, {context}", self.form, self.grad, self.eight);
        assert_eq!(same(&self.wide, &expected.wide), None, "parameters, {context}");
        assert_eq!(same(&self.buffer, &expected.buffer), None, "buffer, {context}");
        assert_eq!(same(&self.grad_wide, &expected.grad_wide), None, "gradient, {context}");
        let words =
            |stored: &Self| (0..self.words.len()).map(|i| stored.word(i)).collect::<Vec<_>>();
        assert!(words(self) == words(expected), "words, {context}");
        assert!(self.corrections == expected.corrections, "corrections, {context}");
        let corrections = self.small_corrections == expected.small_corrections;
        assert!(corrections, "8-bit corrections, {context}");
        assert!(self.grad_words == expected.grad_words, "gradient, {context}");
        assert_eq!(self.momentum8.scales, expected.momentum8.scales, "scales, {context}");
        assert!(self.momentum8 == expected.momentum8, "8-bit momentum, {context}");
    }
}

/// What a step is asked for besides the rule.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub first: bool,
    pub clear: bool,
    pub scale: f64,
    pub coefficient: f64,
    pub limit: f64,
}

pub const NEUTRAL: Options =
    Options { first: false, clear: false, scale: 1.0, coefficient: 1.0, limit: f64::INFINITY };

impl Options {
    fn prepared(&self, g: f32) -> f32 {
        let (limit, g) = (self.limit as f32, g * self.scale as f32 * self.coefficient as f32);
        if g.is_nan() { g } else { g.clamp(-limit, limit) }
    }
}

/// Numbers of which some are zeros, infinite, NaN, subnormal or huge.
pub fn with_specials(seed: u64, length: usize) -> Vec<f32> {
    let mut values = numbers(seed, length);
    for (i, value) in values.iter_mut().enumerate() {
        let tiny = f32::from_bits((i as u32).wrapping_mul(0x9e37_79b9) >> 10);
        match (i as u64).wrapping_mul(2 * seed + 1) % 229 {
            0 => *value = 0.0,
            1 => *value = -0.0,
            2 => *value = f32::INFINITY,
            3 => *value = f32::NEG_INFINITY,
            4 => *value = f32::NAN,
            5 => *value = tiny,
            6 => *value *= 3e38,
            7 => *value *= 1e-30,
            8..20 => *value *= 1e-3,
            _ => {}
        }
    }
    values
}

pub fn halves<H: half_slice::FromBits>(words: &[u16]) -> &[H] {
    H::halves(words)
}

pub fn halves_mut<H: half_slice::FromBits>(words: &mut [u16]) -> &mut [H] {
    H::halves_mut(words)
}

/// Words as the types of the half crate.
mod half_slice {
    use half::slice::HalfBitsSliceExt;

    pub trait FromBits: Sized {
        fn halves(words: &[u16]) -> &[Self];
        fn halves_mut(words: &mut [u16]) -> &mut [Self];
    }

    macro_rules! from_bits {
        ($type:ty) => {
            impl FromBits for $type {
                fn halves(words: &[u16]) -> &[Self] {
                    words.reinterpret_cast()
                }
                fn halves_mut(words: &mut [u16]) -> &mut [Self] {
                    words.reinterpret_cast_mut()
                }
            }
        };
    }
    from_bits!(half::f16);
    from_bits!(half::bf16);
}
