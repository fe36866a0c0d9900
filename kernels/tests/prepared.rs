//! Steps that prepare gradients: unscaled, clipped and cleared on the way; and norms.

mod arrays;
mod configs;
mod options;

use arrays::{Arrays, SIZES, stepped};
use configs::each_config;
use descent_kernels::config::Config;
use descent_kernels::gradients::GradientView;
use descent_kernels::gradients::norm::{self, BLOCK, LANES, Sum};
use descent_kernels::gradients::order::Order;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::step::{self, Call, Gradient, Plan, Slot, Tensor};
use half::f16;
use ndarray::{ArrayView1, ArrayViewMut1};
use options::{DAMPED, FULL, PLAIN, numbers, run};

#[test]
fn gradients_are_unscaled_clipped_and_cleared_as_if_before_and_after_a_plain_step() {
    let (scale, coefficient, limit) = (0.3, 0.7, 0.125);
    let call = Call { scale, limit, ..Call::NEUTRAL };
    for (length, h) in SIZES.iter().flat_map(|&n| [(n, FULL), (n, PLAIN), (n, DAMPED)]) {
        let start = Arrays::new(length, |x| x, |x| x);
        let mut expected = start.clone();
        let limit = limit as f32;
        let prepared = start.g.iter().map(|&g| g * scale as f32 * coefficient as f32);
        let prepared: Vec<f32> = prepared.map(|g| g.clamp(-limit, limit)).collect();
        stepped(&h, &mut expected.p, &prepared, &mut expected.b);
        each_config(|config, _| {
            for clear in [false, true] {
                let mut arrays = start.clone();
                run(Tensor::F32(arrays.slot(clear)), &h, coefficient, &call, config);
                expected.g = if clear { vec![0.0; length] } else { start.g.clone() };
                assert!(arrays == expected, "{length} elements, {h:?}, {config:?}");
            }
        });
    }
}

#[test]
fn a_step_that_asks_for_nothing_is_a_plain_one_and_nan_is_not_clamped() {
    let mut start = Arrays::new(3000, |x| x, |x| x);
    let mut expected = start.clone();
    stepped(&FULL, &mut expected.p, &start.g, &mut expected.b);
    each_config(|config, _| {
        let mut arrays = start.clone();
        run(Tensor::F32(arrays.slot(false)), &FULL, 1.0, &Call::NEUTRAL, config);
        assert!(arrays == expected, "{config:?}");
    });
    start.g[5] = f32::NAN;
    let call = Call { limit: 0.1, ..Call::NEUTRAL };
    run(Tensor::F32(start.slot(false)), &FULL, 1.0, &call, &Config::default());
    assert!(start.p[5].is_nan() && start.p[4].is_finite());
}

const ORDERS: [Order; 3] = [Order::One, Order::Two, Order::Infinity];

/// What a norm is made of, from the description and not from the code.
fn measured(values: &[f32], order: Order) -> f64 {
    let join = |a: f64, b: f64| if order == Order::Infinity { a.max(b) } else { a + b };
    let blocks = values.chunks(BLOCK).map(|block| {
        let mut lanes = [0.0; LANES];
        for (i, &x) in block.iter().enumerate() {
            let x = f64::from(x);
            let own = if order == Order::Two { x * x } else { x.abs() };
            lanes[i % LANES] = join(lanes[i % LANES], own);
        }
        for half in [8, 4, 2, 1] {
            (0..half).for_each(|i| lanes[i] = join(lanes[i], lanes[i + half]));
        }
        lanes[0]
    });
    blocks.fold(0.0, join)
}

#[test]
fn norms_have_the_same_bits_at_every_level_and_on_any_number_of_threads() {
    for length in SIZES {
        let values = numbers(5, length);
        let halves: Vec<f16> = values.iter().map(|&x| f16::from_f32(x)).collect();
        let wide: Vec<f32> = halves.iter().map(|x| x.to_f32() * 0.3).collect();
        let scaled: Vec<f32> = values.iter().map(|x| x * 0.3).collect();
        each_config(|config, _| {
            let gradients = [
                GradientView::F32(ArrayView1::from(&values[..])),
                GradientView::F16(ArrayView1::from(&halves[..])),
            ];
            for order in ORDERS {
                let sums = gradients.map(Sum::from);
                let totals = norm::totals(&sums, 0.3, order, config).unwrap();
                let found: Vec<f64> = totals.iter().map(|total| total.measure).collect();
                let right = [measured(&scaled, order), measured(&wide, order)];
                assert_eq!(found, right, "{order:?} {config:?}");
                assert!(totals.iter().all(|total| total.finite));
            }
        });
    }
}

#[test]
fn one_gradient_that_is_not_finite_is_found_wherever_it_lies() {
    for (at, bad) in [(0, f32::NAN), (4097, f32::INFINITY), (69_999, f32::NEG_INFINITY)] {
        let mut values = numbers(5, 70_000);
        values[at] = bad;
        each_config(|config, _| {
            for (scale, order) in [1.0, 1e-60].into_iter().flat_map(|s| ORDERS.map(|o| (s, o))) {
                let gradient = GradientView::F32(ArrayView1::from(&values[..]));
                let totals = norm::totals(&[gradient.into()], scale, order, config).unwrap();
                assert!(!totals[0].finite, "{bad} at {at}, {order:?} {config:?}");
                assert!(!totals[0].measure.is_finite());
                // Infinity times 0, which 1e-60 is in float32, is NaN.
                assert_eq!(totals[0].measure.is_nan(), bad.is_nan() || scale < 1.0);
            }
        });
    }
    let huge = [1e300_f64, -1e300];
    let gradient = GradientView::F64(ArrayView1::from(&huge[..]));
    let total = norm::totals(&[gradient.into()], 1.0, Order::Two, &Config::default()).unwrap()[0];
    assert!(total.finite && total.measure == f64::INFINITY);
    let large = [3e38_f32; 3];
    let gradient = GradientView::F32(ArrayView1::from(&large[..]));
    let total = norm::totals(&[gradient.into()], 4.0, Order::Two, &Config::default()).unwrap()[0];
    assert!(!total.finite);
}

#[test]
fn a_tensor_that_does_not_fit_is_an_error_and_nothing_is_changed() {
    type Spoil = fn(&mut Slot<'_, f32, f32, f32>);
    let cases: [(&str, Spoil); 3] = [
        ("group", |slot| slot.group = 1),
        ("buffer", |slot| slot.buffer = None),
        ("length", |slot| slot.grad = Gradient::Kept(ArrayView1::from(&[1.0][..]))),
    ];
    for (word, spoil) in cases {
        let mut good = Arrays::new(10, |x| x, |x| x);
        let mut bad = good.clone();
        let before = (good.clone(), bad.clone());
        let mut slot = bad.slot(false);
        spoil(&mut slot);
        let plan = Plan::new(&[(FULL, 1.0)], &Call::NEUTRAL);
        let mut tensors = [Tensor::F32(good.slot(false)), Tensor::F32(slot)];
        let error = step::step(&mut tensors[..], &plan, &Config::default()).unwrap_err();
        assert!(error.to_string().contains("tensor 1") && error.to_string().contains(word));
        assert!((good, bad) == before);
    }
}

#[test]
fn gradients_of_float64_are_prepared_too() {
    let mut p = [1.0_f64, 2.0];
    let mut g = [1e300_f64, -4.0];
    let slot = Slot {
        grad: Gradient::Cleared(ArrayViewMut1::from(&mut g[..])),
        first: true,
        ..Slot::new(ArrayViewMut1::from(&mut p[..]), ArrayView1::from(&[]), None)
    };
    let call = Call { scale: 0.5, limit: 1.0, ..Call::NEUTRAL };
    let h = Hyperparameters { lr: 0.25, ..PLAIN };
    run(Tensor::F64(slot), &h, 1.0, &call, &Config::default());
    assert_eq!((p, g), ([0.75, 2.25], [0.0; 2]));
}
