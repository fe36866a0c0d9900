//! The way back through a step: equal bits at every SIMD level and number of threads, derivatives
//! that differences of the step confirm, and what is refused.

use descent_kernels::config::Config;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::simd::Level;
use descent_kernels::step::{self, Call, Plan, Slot};
use descent_kernels::vjp::{Pullback, Sums, Tensor, pull_back};
use ndarray::{ArrayView1, ArrayViewMut1};

const PLAIN: Hyperparameters = Hyperparameters {
    lr: 0.25,
    momentum: 0.0,
    dampening: 0.0,
    weight_decay: 0.0,
    decoupled_weight_decay: false,
    nesterov: false,
    maximize: false,
    sign: false,
};

fn options() -> Vec<Hyperparameters> {
    let full = Hyperparameters { momentum: 0.75, weight_decay: 0.125, ..PLAIN };
    let decoupled = Hyperparameters { decoupled_weight_decay: true, ..full };
    vec![
        PLAIN,
        Hyperparameters { maximize: true, weight_decay: 0.125, ..PLAIN },
        Hyperparameters { dampening: 0.5, ..full },
        Hyperparameters { nesterov: true, ..full },
        Hyperparameters { sign: true, ..full },
        decoupled,
        Hyperparameters { nesterov: true, ..decoupled },
        Hyperparameters { sign: true, maximize: true, ..decoupled },
        Hyperparameters { weight_decay: 0.0, ..decoupled },
        Hyperparameters { decoupled_weight_decay: true, ..PLAIN },
    ]
}

fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / (1 << 23) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// What a step reads (parameter, gradient, buffer) and the cotangents of what it writes.
struct Inputs<T>([Vec<T>; 5]);

/// The derivatives by parameter, gradient and buffer, and by the hyperparameters.
#[derive(Debug, PartialEq)]
struct Outputs<T>([Vec<T>; 3], Sums);

macro_rules! inputs {
    ($type:ty, $variant:ident) => {
        impl Inputs<$type> {
            fn new(n: usize) -> Self {
                let cast = |values: Vec<f64>| values.iter().map(|&x| x as $type).collect();
                Inputs(std::array::from_fn(|i| cast(numbers(i as u64 + 1, n))))
            }

            fn back(&self, h: &Hyperparameters, first: bool, config: &Config) -> Outputs<$type> {
                let [p, g, b, dq, dc] = &self.0;
                let buffered = h.momentum != 0.0;
                let only = |wanted: bool, values: &Vec<$type>| match wanted {
                    true => values.clone(),
                    false => Vec::new(),
                };
                let (b, dc) = (only(buffered && !first, b), only(buffered, dc));
                let mut out = [vec![0.0; p.len()], vec![0.0; p.len()], vec![0.0; b.len()]];
                let [d_param, d_grad, d_buffer] = &mut out;
                let pullback = Pullback {
                    param: p,
                    grad: g,
                    buffer: &b,
                    param_cotangent: dq,
                    buffer_cotangent: &dc,
                    d_param,
                    d_grad,
                    d_buffer,
                };
                let sums = pull_back(vec![Tensor::$variant(pullback)], h, config).unwrap();
                Outputs(out, sums)
            }
        }
    };
}
inputs!(f32, F32);
inputs!(f64, F64);

#[test]
fn every_level_and_number_of_threads_gives_the_same_bits() {
    for n in [1, 7, 8, 9, 4095, 4096, 4097, 70_001, 300_000] {
        for (h, first) in options().iter().flat_map(|h| [(h, true), (h, false)]) {
            let (single, double) = (Inputs::<f32>::new(n), Inputs::<f64>::new(n));
            let one = Config::new(Level::Portable, 1);
            let expected = (single.back(h, first, &one), double.back(h, first, &one));
            for level in Level::available() {
                for threads in [1, 2, 3] {
                    let config = Config::new(level, threads);
                    let actual = (single.back(h, first, &config), double.back(h, first, &config));
                    assert!(actual == expected, "{} {threads} {n} {h:?}", level.name());
                }
            }
        }
    }
}

impl Inputs<f64> {
    /// The loss: what a step makes of the inputs, times the cotangents.
    fn loss(&self, h: &Hyperparameters, first: bool) -> f64 {
        let [p, g, b, dq, dc] = &self.0;
        let (mut p, mut b) = (p.clone(), b.clone());
        let buffer = Some(ArrayViewMut1::from(&mut b[..]));
        let slot = Slot::new(ArrayViewMut1::from(&mut p[..]), ArrayView1::from(&g[..]), buffer);
        let slot = Slot { first, ..slot };
        let plan = Plan::new(&[(*h, 1.0)], &Call::NEUTRAL);
        step::step(&mut [step::Tensor::F64(slot)][..], &plan, &Config::default()).unwrap();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(&p, dq) + if h.momentum == 0.0 { 0.0 } else { dot(&b, dc) }
    }
}

#[test]
fn the_derivatives_are_those_of_differences() {
    const STEP: f64 = 1e-6;
    let config = Config::default();
    for (h, first) in options().iter().flat_map(|h| [(h, true), (h, false)]) {
        let mut inputs = Inputs::<f64>::new(11);
        let Outputs(arrays, sums) = inputs.back(h, first, &config);
        for (which, derivatives) in arrays.iter().enumerate() {
            for (i, derivative) in derivatives.iter().enumerate() {
                let value = inputs.0[which][i];
                let [above, below] = [STEP, -STEP].map(|shift| {
                    inputs.0[which][i] = value + shift;
                    inputs.loss(h, first)
                });
                inputs.0[which][i] = value;
                let expected = (above - below) / (2.0 * STEP);
                assert!((derivative - expected).abs() < 1e-8, "{which} {i} {first} {h:?}");
            }
        }
        let shifts: [fn(&mut Hyperparameters, f64); 4] = [
            |h, shift| h.lr += shift,
            |h, shift| h.momentum += shift,
            |h, shift| h.dampening += shift,
            |h, shift| h.weight_decay += shift,
        ];
        for (k, shift) in shifts.iter().enumerate() {
            if k == 1 && h.momentum == 0.0 {
                assert_eq!(sums[k], 0.0);
                continue;
            }
            let [above, below] = [STEP, -STEP].map(|by| {
                let mut shifted = *h;
                shift(&mut shifted, by);
                inputs.loss(&shifted, first)
            });
            let expected = (above - below) / (2.0 * STEP);
            assert!((sums[k] - expected).abs() < 1e-7, "sum {k} {first} {h:?}");
        }
    }
}

#[test]
fn a_tensor_whose_lengths_differ_is_an_error() {
    let h = Hyperparameters { momentum: 0.5, ..PLAIN };
    let (full, short) = (vec![1.0_f32; 5], vec![1.0_f32; 4]);
    for wrong in 0..8 {
        let pick = |which: usize| if which == wrong { &short } else { &full };
        let [mut a, mut b, mut c] = [5, 6, 7].map(|which| pick(which).clone());
        let pullback = Pullback {
            param: pick(0),
            grad: pick(1),
            buffer: pick(2),
            param_cotangent: pick(3),
            buffer_cotangent: pick(4),
            d_param: &mut a,
            d_grad: &mut b,
            d_buffer: &mut c,
        };
        let error = pull_back(vec![Tensor::F32(pullback)], &h, &Config::default()).unwrap_err();
        assert!(error.to_string().contains("tensor 0"), "{error}");
        assert!([a, b, c].iter().flatten().all(|&x| x == 1.0));
    }
}
