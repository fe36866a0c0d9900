//! Ballots that tensors cast and follow, against one number at a time: every storage and level, in one
//! part and in several.

mod formats;
#[allow(dead_code, reason = "other tests need more of it")]
mod options;
#[allow(dead_code, reason = "other tests need more of it")]
mod stored;

use descent_kernels::parallel::Task;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::simd::Level;
use descent_kernels::step::{Call, Plan, spread, tally};
use options::{DAMPED, FULL, PLAIN};
use stored::{NEUTRAL, Options, PAIRS, SOURCE, Stored};

/// Calls a check with every level, and how often a task is to be halved.
fn each_way(mut check: impl FnMut(Level, u32, &str)) {
    for level in Level::available() {
        for cuts in [0, 2] {
            check(level, cuts, &format!("{} cut {cuts} times", level.name()));
        }
    }
}

/// Runs a task, halved so many times over.
fn run<T: Task>(task: T, plan: &T::Plan, level: Level, cuts: u32) {
    if cuts == 0 || task.bytes() <= 256 {
        return task.run(plan, level);
    }
    let (a, b) = task.halve();
    run(b, plan, level, cuts - 1);
    run(a, plan, level, cuts - 1);
}

const LENGTHS: [usize; 7] = [1, 31, 32, 33, 95, 199, 1030];

fn plan(h: Hyperparameters, options: &Options) -> Plan {
    let call = Call { scale: options.scale, limit: options.limit, source: SOURCE };
    Plan::new(&[(h, options.coefficient)], &call)
}

#[test]
fn every_storage_casts_the_signs_that_the_rule_would_move_along() {
    let clipped = Options { scale: 0.3, coefficient: 0.7, limit: 0.125, ..NEUTRAL };
    let first = Options { first: true, ..NEUTRAL };
    let cases = [(FULL, NEUTRAL), (DAMPED, clipped), (PLAIN, clipped), (FULL, first)];
    for ((form, grad), eight) in PAIRS.iter().flat_map(|&pair| [(pair, false), (pair, true)]) {
        for (length, (h, options)) in LENGTHS.iter().flat_map(|&n| cases.map(|case| (n, case))) {
            let h = Hyperparameters { sign: true, ..h };
            let start = Stored::new(form, grad, eight, length);
            let moved = start.stepped(&h, &options);
            let mut expected = start.clone();
            (expected.buffer, expected.momentum8) = (moved.buffer, moved.momentum8);
            let signs: Vec<f32> =
                (0..length).map(|i| start.direction(i, &h, &options)[0]).collect();
            let plan = plan(Hyperparameters { lr: f64::NEG_INFINITY, ..h }, &options);
            each_way(|level, cuts, context| {
                let context = format!("{length} elements, {h:?}, {options:?}, {context}");
                let mut stored = start.clone();
                let mut ballots = vec![7; length.div_ceil(32)];
                let task = stored.mixed(&options).casting(&mut ballots);
                run(task, &plan, level, cuts);
                stored.assert_equals(&expected, &context);
                let mut found = vec![7.0; length];
                spread(&ballots, &mut found, |sign| sign);
                for i in (0..length).filter(|&i| start.param(i).is_finite()) {
                    assert_eq!(found[i], signs[i], "element {i}, {form:?} {grad:?}, {context}");
                }
                if length % 32 > 0 {
                    let rest = u32::MAX << (length % 32);
                    let beyond = u64::from(rest) << 32 | u64::from(rest);
                    assert_eq!(ballots[length / 32] & beyond, 0, "{context}");
                }
            });
        }
    }
}

#[test]
fn every_storage_follows_ballots_as_it_would_gradients() {
    let decoupled = Hyperparameters { weight_decay: 0.3, decoupled_weight_decay: true, ..PLAIN };
    for (form, _) in PAIRS {
        for (length, h) in LENGTHS.iter().flat_map(|&n| [(n, PLAIN), (n, decoupled)]) {
            let h = Hyperparameters { momentum: 0.0, maximize: false, nesterov: false, ..h };
            let mut start = Stored::new(form, stored::Grad::F32, false, length);
            for (i, g) in start.grad_wide.iter_mut().enumerate() {
                *g = ((i * i / 3 + i) % 3) as f32 - 1.0;
            }
            let mut ballots = vec![0; length.div_ceil(32)];
            tally(&start.grad_wide, &mut ballots, f64::from);
            let expected = start.stepped(&h, &NEUTRAL);
            let plan = plan(h, &NEUTRAL);
            each_way(|level, cuts, context| {
                let mut stored = start.clone();
                stored.grad_wide.fill(f32::NAN); // is not read
                let mut followed = ballots.clone();
                let task = stored.mixed(&NEUTRAL).following(&mut followed);
                run(task, &plan, level, cuts);
                stored.grad_wide.copy_from_slice(&start.grad_wide);
                stored.assert_equals(&expected, &format!("{length} elements, {h:?}, {context}"));
            });
        }
    }
}
