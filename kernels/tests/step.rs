//! The step against a plain loop: every size, option, SIMD level and number of threads, with canaries
//! around every array; and what a step refuses, which must change nothing.

mod configs;
mod model;

use configs::each_config;
use descent_kernels::error::Error;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::step::{self, Call, Gradient, Plan, Slot, Tensor};
use model::{Arrays, Model};
use ndarray::{Ix1, SliceInfo, SliceInfoElem, s};

/// Elements of float32 that the kernels do not share out any further.
const GRAIN: usize = 1 << 16;

const PLAIN: Hyperparameters = Hyperparameters {
    lr: 0.1,
    momentum: 0.0,
    dampening: 0.0,
    weight_decay: 0.0,
    decoupled_weight_decay: false,
    nesterov: false,
    maximize: false,
    sign: false,
};

fn plan_of(options: &[Hyperparameters]) -> Plan {
    let groups: Vec<_> = options.iter().map(|&h| (h, 1.0)).collect();
    Plan::new(&groups, &Call::NEUTRAL)
}

/// Every combination of options that the TypeScript side lets through.
fn all_options() -> Vec<Hyperparameters> {
    let mut all = Vec::new();
    for bits in 0..128_u32 {
        let on = |bit: u32| bits >> bit & 1 == 1;
        let nesterov = on(3);
        if nesterov && (!on(0) || on(1)) || on(6) && !on(2) {
            continue;
        }
        all.push(Hyperparameters {
            momentum: if on(0) { 0.9 } else { 0.0 },
            dampening: if on(1) { 0.25 } else { 0.0 },
            weight_decay: if on(2) { 0.01 } else { 0.0 },
            nesterov,
            maximize: on(4),
            sign: on(5),
            decoupled_weight_decay: on(6),
            ..PLAIN
        });
    }
    all
}

/// Steps a model under every configuration and compares it with the reference.
fn assert_steps(sizes: &[usize], options: &[Hyperparameters]) {
    let plan = plan_of(options);
    for first in [true, false] {
        let start = Model::new(sizes, options.len(), first);
        let expected = start.stepped(options);
        each_config(|config, context| {
            let mut model = start.clone();
            step::step(&mut model.tensors()[..], &plan, config).unwrap();
            model.assert_equals(&expected, options, context);
        });
    }
}

#[test]
fn every_size_option_level_and_thread_count_gives_the_bits_of_the_rule() {
    let sizes: Vec<usize> = (0..=70).collect();
    let options = all_options();
    assert_eq!(options.len(), 60);
    assert_steps(&sizes, &options);
}

#[test]
fn sizes_at_which_work_is_shared_out_give_the_bits_of_the_rule() {
    let sizes = [1023, 1024, 1025, GRAIN - 1, GRAIN, GRAIN + 1, 2 * GRAIN + 1, 3 * GRAIN + 17];
    let full = Hyperparameters { momentum: 0.9, weight_decay: 0.01, nesterov: true, ..PLAIN };
    let sign = Hyperparameters { momentum: 0.9, dampening: 0.25, sign: true, ..PLAIN };
    assert_steps(&sizes, &[PLAIN, full, sign]);
}

#[test]
fn factors_are_rounded_once_from_float64() {
    // 1 - 0.6 rounds to another float32 than the difference of the rounded numbers.
    assert_ne!((1.0 - 0.6) as f32, 1.0 - 0.6_f32);
    let odd = Hyperparameters { lr: 1.0 / 3.0, momentum: 0.7, dampening: 0.6, ..PLAIN };
    // Zero as a float32, but not zero: its line is not skipped.
    let tiny = Hyperparameters { momentum: 1e-60, weight_decay: 1e-60, ..PLAIN };
    // 1 - 0.1 * 9.7 rounds to another float32 than what comes of the rounded numbers.
    assert_ne!((1.0 - 0.1 * 9.7) as f32, 1.0 - 0.1_f32 * 9.7_f32);
    let shrunk = Hyperparameters { weight_decay: 9.7, decoupled_weight_decay: true, ..PLAIN };
    assert_steps(&[257], &[odd, tiny, shrunk]);
}

#[test]
fn without_momentum_a_tensor_needs_no_buffer() {
    each_config(|config, context| {
        let mut arrays = Arrays::<f32>::new(5, 100_001, 0, false);
        let expected = arrays.stepped(&[PLAIN]);
        let slot = Slot { buffer: None, ..arrays.slot() };
        step::step(&mut [Tensor::F32(slot)][..], &plan_of(&[PLAIN]), config).unwrap();
        assert!(arrays.equals(&expected), "{context}");
    });
}

#[test]
fn no_tensors_are_no_work() {
    let mut none: [Tensor<'_>; 0] = [];
    each_config(|config, _| step::step(&mut none[..], &Plan::empty(), config).unwrap());
}

/// Part of a gradient.
fn sliced(
    grad: Gradient<'_, f32>,
    part: SliceInfo<[SliceInfoElem; 1], Ix1, Ix1>,
) -> Gradient<'_, f32> {
    match grad {
        Gradient::Kept(grad) => Gradient::Kept(grad.slice_move(part)),
        Gradient::Cleared(grad) => Gradient::Cleared(grad.slice_move(part)),
    }
}

/// A change that makes a tensor unfit for a step.
type Spoil = fn(Slot<'_, f32, f32, f32>) -> Slot<'_, f32, f32, f32>;

#[test]
fn a_tensor_that_does_not_fit_is_an_error_and_nothing_is_changed() {
    let cases: [(&str, Spoil); 8] = [
        ("group", |slot| Slot { group: 1, ..slot }),
        ("buffer", |slot| Slot { buffer: None, ..slot }),
        ("length", |slot| Slot { grad: sliced(slot.grad, s![1..]), ..slot }),
        ("length", |slot| Slot { param: slot.param.slice_move(s![1..]), ..slot }),
        ("length", |slot| Slot { buffer: slot.buffer.map(|b| b.slice_move(s![1..])), ..slot }),
        ("contiguous", |slot| Slot { param: slot.param.slice_move(s![..;-1]), ..slot }),
        ("contiguous", |slot| Slot { grad: sliced(slot.grad, s![..;-1]), ..slot }),
        ("contiguous", |slot| Slot {
            buffer: slot.buffer.map(|b| b.slice_move(s![..;-1])),
            ..slot
        }),
    ];
    let plan = plan_of(&[Hyperparameters { momentum: 0.9, ..PLAIN }]);
    for (word, spoil) in cases {
        each_config(|config, context| {
            let mut good = Arrays::<f64>::new(1, 300_000, 0, false);
            let mut bad = Arrays::<f32>::new(2, 70, 0, false);
            let before = (good.clone(), bad.clone());
            let mut tensors = [Tensor::F64(good.slot()), Tensor::F32(spoil(bad.slot()))];
            let error = step::step(&mut tensors[..], &plan, config).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, Error::Table(_)), "{text}");
            assert!(text.contains("tensor 1") && text.contains(word), "{text}");
            let unchanged = good.equals(&before.0) && bad.equals(&before.1);
            assert!(unchanged, "changed: {text} ({context})");
        });
    }
}
