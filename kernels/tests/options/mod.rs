//! Options of groups, numbers to step, and steps of one tensor.

use descent_kernels::config::Config;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::step::{self, Call, Plan, Tensor};

pub const FULL: Hyperparameters = Hyperparameters {
    lr: 0.1,
    momentum: 0.9,
    dampening: 0.0,
    weight_decay: 0.01,
    decoupled_weight_decay: false,
    nesterov: true,
    maximize: false,
    sign: false,
};
pub const PLAIN: Hyperparameters =
    Hyperparameters { momentum: 0.0, nesterov: false, weight_decay: 0.0, ..FULL };
pub const DAMPED: Hyperparameters =
    Hyperparameters { dampening: 0.3, nesterov: false, maximize: true, ..FULL };

/// Numbers in -1..1, other ones for every seed.
pub fn numbers(seed: u64, length: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

/// One step of a tensor.
pub fn run(
    tensor: Tensor<'_>,
    h: &Hyperparameters,
    coefficient: f64,
    call: &Call,
    config: &Config,
) {
    let plan = Plan::new(&[(*h, coefficient)], call);
    step::step(&mut [tensor][..], &plan, config).unwrap();
}
