//! Steps that average against steps and averages apart, at every SIMD level, in one part and in many.

use descent_kernels::average::Blend;
use descent_kernels::average::task::{Split, Whole};
use descent_kernels::parallel::Task;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::simd::Level;
use descent_kernels::step::{Averaged, Call, Mixed, MixedGradient, Momentum, Param, Plan, Slot};
use half::bf16;
use ndarray::{ArrayView1, ArrayViewMut1};

const HYPERPARAMETERS: Hyperparameters = Hyperparameters {
    decoupled_weight_decay: false,
    lr: 0.1,
    momentum: 0.9,
    dampening: 0.0,
    weight_decay: 0.01,
    nesterov: false,
    maximize: false,
    sign: false,
};

const BLENDS: [Blend; 4] = [Blend::Copy, Blend::Lerp(0.001), Blend::Lerp(0.75), Blend::Mean(3.0)];

const SIZES: [usize; 6] = [1, 31, 64, 4096, 4097, 20_001];

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn plan() -> Plan {
    Plan::new(&[(HYPERPARAMETERS, 1.0)], &Call::NEUTRAL)
}

/// Runs a task, halved so many times over.
fn run<T: Task>(task: T, plan: &T::Plan, level: Level, depth: usize) {
    if depth == 0 || task.bytes() < 1024 {
        return task.run(plan, level);
    }
    let (a, b) = task.halve();
    run(b, plan, level, depth - 1);
    run(a, plan, level, depth - 1);
}

/// What `torch.lerp` and the mean are, one number at a time.
fn blended(blend: Blend, a: f32, v: f32) -> f32 {
    match blend {
        Blend::Copy => v,
        Blend::Lerp(weight) => match weight as f32 {
            weight if weight < 0.5 => weight.mul_add(v - a, a),
            weight => (weight - 1.0).mul_add(v - a, v),
        },
        Blend::Mean(count) => a + (v - a) / count as f32,
    }
}

#[test]
fn a_step_that_averages_is_a_step_and_an_average() {
    for level in Level::available() {
        for (size, blend) in SIZES.into_iter().flat_map(|n| BLENDS.map(|blend| (n, blend))) {
            let grad = numbers(2, size);
            let mut right = [numbers(1, size), numbers(3, size)];
            let [param, buffer] = &mut right;
            run(slot(param, &grad, buffer), &plan(), level, 0);
            let average = numbers(4, size);
            let values = average.iter().zip(&right[0]);
            let averaged: Vec<f32> = values.map(|(&a, &v)| blended(blend, a, v)).collect();
            for depth in 0..3 {
                let mut found = [numbers(1, size), numbers(3, size), average.clone()];
                let [param, buffer, average] = &mut found;
                let tensor = slot(param, &grad, buffer);
                run(Averaged { tensor, average, blend }, &plan(), level, depth);
                let [param, buffer, average] = found;
                assert_eq!([&param, &buffer], [&right[0], &right[1]], "{size} {blend:?}");
                assert_eq!(average, averaged, "{size} {blend:?} in {depth}");
            }
        }
    }
}

fn slot<'a>(
    param: &'a mut [f32],
    grad: &'a [f32],
    buffer: &'a mut [f32],
) -> Slot<'a, f32, f32, f32> {
    let buffer = Some(ArrayViewMut1::from(buffer));
    Slot::new(ArrayViewMut1::from(param), ArrayView1::from(grad), buffer)
}

#[test]
fn split_masters_are_averaged_as_they_are_joined() {
    for level in Level::available() {
        for (size, blend) in SIZES.into_iter().flat_map(|n| BLENDS.map(|blend| (n, blend))) {
            let grad = numbers(2, size);
            let masters = numbers(1, size);
            let split = |masters: &[f32]| -> (Vec<bf16>, Vec<i16>) {
                let bits = masters.iter().map(|master| master.to_bits());
                let word = |bits: u32| bf16::from_bits((bits.wrapping_add(0x8000) >> 16) as u16);
                bits.map(|bits| (word(bits), bits as u16 as i16)).unzip()
            };
            let mut stepped = [masters.clone(), numbers(3, size)];
            let [param, buffer] = &mut stepped;
            run(slot(param, &grad, buffer), &plan(), level, 0);
            let average = numbers(4, size);
            let values = average.iter().zip(&stepped[0]);
            let averaged: Vec<f32> = values.map(|(&a, &v)| blended(blend, a, v)).collect();

            let (mut words, mut lower) = split(&masters);
            let (mut buffer, mut inside) = (numbers(3, size), average.clone());
            let tensor = Mixed::new(
                Param::Split(&mut words, &mut lower),
                MixedGradient::F32(&grad),
                Momentum::F32(&mut buffer),
            );
            run(Averaged { tensor, average: &mut inside, blend }, &plan(), level, 2);
            assert_eq!(inside, averaged, "{size} {blend:?}");
            assert_eq!((&words, &lower), (&split(&stepped[0]).0, &split(&stepped[0]).1));

            let mut apart = average.clone();
            let task = Split { params: &words, lower: &lower, average: &mut apart };
            run(task, &blend, level, 2);
            assert_eq!(apart, averaged, "{size} {blend:?}");
        }
    }
}

#[test]
fn parameters_of_16_bits_are_averaged_in_float32() {
    for level in Level::available() {
        let values: Vec<bf16> = numbers(1, 5000).into_iter().map(bf16::from_f32).collect();
        let wide: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
        let average = numbers(4, 5000);
        let pairs = average.iter().zip(&wide);
        let blend = Blend::Lerp(0.001);
        let right: Vec<f32> = pairs.map(|(&a, &v)| blended(blend, a, v)).collect();
        let mut found = average.clone();
        run(Whole { values: &values, average: &mut found }, &blend, level, 2);
        assert_eq!(found, right);
    }
}
