//! Steps of parameters, gradients and momentum that are stored in different ways, against one number at
//! a time: every storage, level and number of threads, short last blocks, and what is refused.

mod configs;
mod formats;
mod options;
mod stored;

use configs::each_config;
use descent_kernels::config::Config;
use descent_kernels::random::Source;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::step::{self, Call, Plan, Tensor};
use formats::Eight;
use half::bf16;
use options::{DAMPED, FULL, PLAIN, run};
use stored::Form::{Bf16, Bf16Master, F16, F16Master, F32, Split, Split24};
use stored::{Form, Grad, NEUTRAL, Options, PAIRS, SOURCE, Stored, bits};

#[test]
fn every_storage_gives_the_bits_of_the_rule_and_of_its_format() {
    let lengths = [1, 31, 32, 33, 64, 95, 199, 1030];
    let clipped = Options { clear: true, scale: 0.3, coefficient: 0.7, limit: 0.125, ..NEUTRAL };
    let sign = Hyperparameters { sign: true, ..DAMPED };
    let decoupled = |h| Hyperparameters { weight_decay: 0.3, decoupled_weight_decay: true, ..h };
    let cases = [
        (FULL, NEUTRAL),
        (DAMPED, clipped),
        (PLAIN, clipped),
        (sign, NEUTRAL),
        (decoupled(FULL), NEUTRAL),
        (decoupled(DAMPED), clipped),
    ];
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
