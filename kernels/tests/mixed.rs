//! Steps of parameters, gradients and momentum that are stored in different ways, against one number at
//! a time: every storage, level and number of threads, short last blocks, and what is refused.

mod configs;
mod formats;
mod options;

use configs::each_config;
use descent_kernels::config::Config;
use descent_kernels::random::Source;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::step::{self, Call, Mixed, MixedGradient, Momentum, Param, Plan, Tensor};
use formats::{Eight, join, key, nearest_bf16, nearest_f16, split, split24};
use half::{bf16, f16};
use options::{DAMPED, FULL, PLAIN, numbers, run};

const SOURCE: Source = Source { seed: [0x1234_5678, 0x9abc_def0], step: 5_000_000_000 };
const NUMBER: u32 = 3;

/// The ways to store a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
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
enum Grad {
    F32,
    F16,
    Bf16,
}

use Form::{Bf16, Bf16Master, F16, F16Master, F32, Split, Split24};

const PAIRS: [(Form, Grad); 13] = [
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
struct Stored {
    form: Form,
    grad: Grad,
    eight: bool,
    wide: Vec<f32>,
    words: Vec<u16>,
    corrections: Vec<i16>,
    small_corrections: Vec<i8>,
    grad_wide: Vec<f32>,
    grad_words: Vec<u16>,
    buffer: Vec<f32>,
    momentum8: Eight,
}

/// The bits of a number, with one NaN for all.
fn bits(x: f32) -> u32 {
    if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }
}

impl Stored {
    fn new(form: Form, grad: Grad, eight: bool, length: usize) -> Self {
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

    fn param(&self, i: usize) -> f32 {
        match self.form {
            F32 | F16Master | Bf16Master => self.wide[i],
            F16 => f16::from_bits(self.words[i]).to_f32(),
            Bf16 => bf16::from_bits(self.words[i]).to_f32(),
            Split => join(self.words[i], self.corrections[i].into()),
            Split24 => join(self.words[i], 256 * i32::from(self.small_corrections[i])),
        }
    }

    /// A parameter's word, with one NaN for all: the sign and the payload follow from no rule.
    fn word(&self, i: usize) -> u16 {
        let (word, is_f16) = (self.words[i], matches!(self.form, F16 | F16Master));
        let least_nan = if is_f16 { 0x7c01 } else { 0x7f81 };
        if word & 0x7fff >= least_nan { 0x7fff } else { word }
    }

    fn set_param(&mut self, i: usize, x: f32) {
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

    fn gradient(&self, i: usize) -> f32 {
        match self.grad {
            Grad::F32 => self.grad_wide[i],
            Grad::F16 => f16::from_bits(self.grad_words[i]).to_f32(),
            Grad::Bf16 => bf16::from_bits(self.grad_words[i]).to_f32(),
        }
    }

    fn momentum(&self, i: usize) -> f32 {
        if self.eight { self.momentum8.decoded(i) } else { self.buffer[i] }
    }

    /// What a step has to make of this, from the rule's description.
    fn stepped(&self, h: &Hyperparameters, options: &Options) -> Self {
        let mut next = self.clone();
        let mut velocity = vec![0.0; self.words.len()];
        for (i, velocity) in velocity.iter_mut().enumerate() {
            let (p, b) = (self.param(i), self.momentum(i));
            let mut g = options.prepared(self.gradient(i));
            g *= if h.maximize { -1.0 } else { 1.0 };
            if h.weight_decay != 0.0 {
                g = (h.weight_decay as f32).mul_add(p, g);
            }
            let mut u = g;
            if h.momentum != 0.0 {
                let kept = h.momentum as f32 * b;
                let blend = (1.0 - h.dampening) as f32;
                *velocity = if options.first { g } else { blend.mul_add(g, kept) };
                let b = *velocity;
                u = if h.nesterov { (h.momentum as f32).mul_add(b, g) } else { b };
            }
            if h.sign {
                u = f32::from(i8::from(u > 0.0) - i8::from(u < 0.0));
            }
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

    fn mixed(&mut self, options: &Options) -> Mixed<'_> {
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

    fn step(&mut self, h: &Hyperparameters, options: &Options, config: &Config) {
        let call = Call { scale: options.scale, limit: options.limit, source: SOURCE };
        run(Tensor::Mixed(self.mixed(options)), h, options.coefficient, &call, config);
    }

    fn assert_equals(&self, expected: &Self, context: &str) {
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
struct Options {
    first: bool,
    clear: bool,
    scale: f64,
    coefficient: f64,
    limit: f64,
}

const NEUTRAL: Options =
    Options { first: false, clear: false, scale: 1.0, coefficient: 1.0, limit: f64::INFINITY };

impl Options {
    fn prepared(&self, g: f32) -> f32 {
        let (limit, g) = (self.limit as f32, g * self.scale as f32 * self.coefficient as f32);
        if g.is_nan() { g } else { g.clamp(-limit, limit) }
    }
}

/// Numbers of which some are zeros, infinite, NaN, subnormal or huge.
fn with_specials(seed: u64, length: usize) -> Vec<f32> {
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

fn halves<H: half_slice::FromBits>(words: &[u16]) -> &[H] {
    H::halves(words)
}

fn halves_mut<H: half_slice::FromBits>(words: &mut [u16]) -> &mut [H] {
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

#[test]
fn every_storage_gives_the_bits_of_the_rule_and_of_its_format() {
    let lengths = [1, 31, 32, 33, 64, 95, 199, 1030];
    let clipped = Options { clear: true, scale: 0.3, coefficient: 0.7, limit: 0.125, ..NEUTRAL };
    let sign = Hyperparameters { sign: true, ..DAMPED };
    let cases = [(FULL, NEUTRAL), (DAMPED, clipped), (PLAIN, clipped), (sign, NEUTRAL)];
    for ((form, grad), eight) in PAIRS.iter().flat_map(|&pair| [(pair, false), (pair, true)]) {
        for (length, (h, options)) in lengths.iter().flat_map(|&n| cases.map(|case| (n, case))) {
            for first in [false, true] {
                let options = Options { first, ..options };
                let start = Stored::new(form, grad, eight, length);
                let expected = start.stepped(&h, &options);
                each_config(|config, context| {
                    let mut stored = start.clone();
                    stored.step(&h, &options, config);
                    let context = format!("{length} elements, {h:?}, {options:?}, {context}");
                    stored.assert_equals(&expected, &context);
                });
            }
        }
    }
}

#[test]
fn tensors_that_are_shared_out_have_the_bits_of_one_thread() {
    let options = Options { clear: true, scale: 0.5, ..NEUTRAL };
    for (form, grad) in PAIRS {
        for (eight, length, options) in [(true, 300_001, NEUTRAL), (false, 524_320, options)] {
            let start = Stored::new(form, grad, eight, length);
            let expected = start.stepped(&FULL, &options);
            each_config(|config, context| {
                let mut stored = start.clone();
                stored.step(&FULL, &options, config);
                stored.assert_equals(&expected, &format!("{length} elements, {context}"));
            });
        }
    }
}

/// float32 bits: every upper half with lower halves around what roundings turn on.
fn patterns() -> Vec<f32> {
    const LOWER: [u32; 16] = [
        0, 1, 0x0080, 0x00ff, 0x0fff, 0x1000, 0x1001, 0x1800, 0x3000, 0x7fff, 0x8000, 0x8001,
        0xf000, 0xff7f, 0xff80, 0xffff,
    ];
    let uppers = 0..=u32::from(u16::MAX);
    uppers.flat_map(|upper| LOWER.map(|lower| f32::from_bits(upper << 16 | lower))).collect()
}

/// A step that changes nothing but how numbers are stored.
const STILL: Hyperparameters = Hyperparameters { lr: 0.0, ..PLAIN };

#[test]
fn patterns_of_every_kind_are_rounded_and_split_as_defined() {
    let values = patterns();
    for form in [F32, F16Master, Bf16Master, Split, Split24] {
        let mut start = Stored::new(form, Grad::F32, false, values.len());
        start.grad_wide.fill(0.0);
        (0..values.len()).for_each(|i| start.set_param(i, values[i]));
        let expected = start.stepped(&STILL, &NEUTRAL);
        if form == Split {
            let exact = |(i, &x): (usize, &f32)| {
                x.is_nan() && expected.param(i).is_nan() || x.to_bits() == bits(expected.param(i))
            };
            assert!(values.iter().enumerate().all(exact), "masters are not what was split");
        }
        each_config(|config, context| {
            let mut stored = start.clone();
            stored.step(&STILL, &NEUTRAL, config);
            stored.assert_equals(&expected, context);
        });
    }
}

#[test]
fn every_word_is_widened_to_its_value() {
    let words: Vec<u16> = (0..=u16::MAX).collect();
    for (form, grad) in [(F16, Grad::F16), (Bf16, Grad::Bf16)] {
        let mut start = Stored::new(form, grad, false, words.len());
        (start.words, start.grad_words) = (words.clone(), words.clone());
        let options = Options { first: true, ..NEUTRAL };
        let h = Hyperparameters { weight_decay: 0.0, nesterov: false, lr: 0.0, ..FULL };
        let expected = start.stepped(&h, &options);
        each_config(|config, context| {
            let mut stored = start.clone();
            stored.step(&h, &options, config);
            stored.assert_equals(&expected, context);
        });
    }
}

#[test]
fn corrections_that_do_not_belong_to_a_parameter_never_make_nan_of_it() {
    let words: Vec<u16> = (0..=u16::MAX).collect();
    for form in [Split, Split24] {
        for correction in [i16::MIN, -1, 0, 1, 0x80, i16::MAX] {
            let mut start = Stored::new(form, Grad::Bf16, false, words.len());
            start.grad_words.fill(0);
            start.words.clone_from(&words);
            start.corrections.fill(correction);
            start.small_corrections.fill((correction >> 8) as i8);
            let expected = start.stepped(&STILL, &NEUTRAL);
            let nan = |word: u16| bf16::from_bits(word).is_nan();
            let kept = words.iter().zip(&expected.words).all(|(&a, &b)| nan(a) == nan(b));
            assert!(kept, "{form:?} with {correction}");
            each_config(|config, context| {
                let mut stored = start.clone();
                stored.step(&STILL, &NEUTRAL, config);
                stored.assert_equals(&expected, context);
            });
        }
    }
}

#[test]
fn momentum_of_any_kind_is_encoded_and_decoded_as_defined() {
    let mut state = 1_u64;
    let mut random = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    let h = Hyperparameters { weight_decay: 0.0, ..FULL };
    for case in 0..3000 {
        let length = random() as usize % 199 + 1;
        let mut start = Stored::new(F32, Grad::F32, true, length);
        let base = random();
        for i in 0..length {
            let word = random();
            let exponent = |spread: u32| (base >> 23).wrapping_sub(word >> 8 & spread) << 23;
            start.grad_wide[i] = f32::from_bits(match case % 7 {
                0 => word,                                    // any bits
                1 => base & 0x7f80_0000 | word & 0x807f_ffff, // one exponent
                2 => exponent(31) & 0x7f80_0000 | word & 0x807f_ffff,
                3 => word & 0x807f_ffff,                     // subnormal
                4 => 0x7f00_0000 | word & 0x80ff_ffff,       // huge, infinite and NaN
                5 => word & 0x8000_0000,                     // zeros
                _ => ((word as i8 as f32) * 0.25).to_bits(), // exact
            });
        }
        for first in [true, false] {
            let options = Options { first, ..NEUTRAL };
            let expected = start.stepped(&h, &options);
            each_config(|config, context| {
                let mut stored = start.clone();
                stored.step(&h, &options, config);
                stored.assert_equals(&expected, &format!("case {case}, {context}"));
            });
        }
    }
}

#[test]
fn momentum_that_has_never_been_written_is_zero_and_what_stops_reaches_zero() {
    let n = 100;
    let mut stored = Stored::new(F32, Grad::F32, true, n);
    stored.wide.fill(0.0);
    stored.grad_wide.fill(1.0);
    stored.momentum8 = Eight::zeroed(n);
    let h = Hyperparameters { lr: 1.0, ..Hyperparameters { momentum: 0.9, ..PLAIN } };
    stored.step(&h, &NEUTRAL, &Config::default());
    assert_eq!(stored.wide, vec![-1.0; n]);
    stored.grad_wide.fill(0.0);
    for step in 0..2000 {
        let call = Call { source: Source { step, ..SOURCE }, ..Call::NEUTRAL };
        run(Tensor::Mixed(stored.mixed(&NEUTRAL)), &h, 1.0, &call, &Config::default());
    }
    assert_eq!(stored.momentum8.values, vec![0; n]);
}

#[test]
fn stochastic_rounding_takes_a_neighbor_whatever_the_gradient_and_momentum_are_stored_as() {
    let n = 3001;
    for (form, grad) in &PAIRS[1..9] {
        for eight in [false, true] {
            let start = Stored::new(*form, *grad, eight, n);
            let mut wide = Stored { form: F32, ..start.clone() };
            wide.wide = (0..n).map(|i| start.param(i)).collect();
            let expected = wide.stepped(&FULL, &NEUTRAL);
            let narrow = if matches!(form, F16 | F16Master) { F16 } else { Bf16 };
            each_config(|config, context| {
                let mut stored = start.clone();
                let mut mixed = stored.mixed(&NEUTRAL);
                mixed.stochastic = true;
                let call = Call { source: SOURCE, ..Call::NEUTRAL };
                run(Tensor::Mixed(mixed), &FULL, 1.0, &call, config);
                assert!(stored.momentum8 == expected.momentum8, "{form:?}, {context}");
                stored.form = narrow;
                let near = |i| is_neighbor(stored.param(i), expected.wide[i]);
                assert_eq!((0..n).find(|&i| !near(i)), None, "{form:?} {grad:?}, {context}");
            });
        }
    }
}

/// Whether a number of 8 significant bits or more is one that another can be rounded to.
fn is_neighbor(found: f32, exact: f32) -> bool {
    let unit = exact.abs() / 128.0 + 6e-8;
    bits(found) == bits(exact) || (found - exact).abs() <= unit || exact.abs() > 6e4
}

#[test]
fn a_tensor_that_does_not_fit_is_an_error_and_nothing_is_changed() {
    type Spoil = fn(&mut Stored);
    let cases: [(&str, Form, bool, Spoil); 6] = [
        ("gradient", Bf16, false, |s| s.grad_words.truncate(9)),
        ("momentum buffer", Bf16, false, |s| s.buffer.truncate(9)),
        ("momentum buffer", Bf16, true, |s| s.momentum8.scales.clear()),
        ("momentum buffer", Bf16, true, |s| s.momentum8.values.truncate(9)),
        ("master copy", Split, false, |s| s.corrections.truncate(9)),
        ("master copy", Split24, true, |s| s.small_corrections.truncate(9)),
    ];
    for (word, form, eight, spoil) in cases {
        let mut stored = Stored::new(form, Grad::Bf16, eight, 10);
        spoil(&mut stored);
        let before = stored.clone();
        let plan = Plan::new(&[(FULL, 1.0)], &Call::NEUTRAL);
        let mut tensors = [Tensor::Mixed(stored.mixed(&NEUTRAL))];
        let error = step::step(&mut tensors, &plan, &Config::default()).unwrap_err().to_string();
        assert!(error.contains("tensor 0") && error.contains(word), "{error}");
        stored.assert_equals(&before, word);
    }
}
