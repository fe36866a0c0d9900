//! Steps of 16-bit types: computed wide and rounded once, rounded after every operation, or
//! rounded by chance; and the conversions.

mod arrays;
mod configs;
mod options;

use arrays::{Arrays, SIZES, stepped};
use configs::each_config;
use descent_kernels::config::Config;
use descent_kernels::dtype::Element;
use descent_kernels::random::Source;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::simd::Level;
use descent_kernels::step::{self, Call, Mixed, MixedGradient, Momentum, Param, Plan, Tensor};
use half::{bf16, f16};
use options::{DAMPED, FULL, PLAIN, run};

/// A 16-bit type, as the references need it.
trait Half: Element<f32> + PartialEq + std::fmt::Debug {
    fn of(x: f32) -> Self;
    fn wide(self) -> f32;
    fn mixed<'a>(arrays: &'a mut Arrays<Self, f32>, master: Option<&'a mut [f32]>) -> Mixed<'a>;
    fn per_op(arrays: &mut Arrays<Self, Self>) -> Tensor<'_>;
}

macro_rules! half {
    ($type:ty, $name:ident, $master:ident, $per_op:ident) => {
        impl Half for $type {
            fn of(x: f32) -> Self {
                <$type>::from_f32(x)
            }
            fn wide(self) -> f32 {
                self.to_f32()
            }
            fn mixed<'a>(
                Arrays { p, g, b, .. }: &'a mut Arrays<Self, f32>,
                master: Option<&'a mut [f32]>,
            ) -> Mixed<'a> {
                let param = match master {
                    Some(master) => Param::$master(p, master),
                    None => Param::$name(p),
                };
                Mixed::new(param, MixedGradient::$name(g), Momentum::F32(b))
            }
            fn per_op(arrays: &mut Arrays<Self, Self>) -> Tensor<'_> {
                Tensor::$per_op(arrays.slot(false))
            }
        }
    };
}
half!(f16, F16, F16Master, F16PerOp);
half!(bf16, Bf16, Bf16Master, Bf16PerOp);

#[test]
fn sixteen_bit_parameters_are_computed_in_float32_and_rounded_once() {
    rounds_once::<f16>();
    rounds_once::<bf16>();
}

fn rounds_once<H: Half>() {
    for (length, with_master) in SIZES.iter().flat_map(|&n| [(n, false), (n, true)]) {
        let start = Arrays::new(length, H::of, |x| x);
        let mut expected = start.clone();
        let grad: Vec<f32> = start.g.iter().map(|g| g.wide()).collect();
        if !with_master {
            expected.master = start.p.iter().map(|p| p.wide()).collect();
        }
        stepped(&FULL, &mut expected.master, &grad, &mut expected.b);
        expected.p = expected.master.iter().map(|&p| H::of(p)).collect();
        if !with_master {
            expected.master.clone_from(&start.master);
        }
        each_config(|config, _| {
            let mut arrays = start.clone();
            let mut master = start.master.clone();
            let mixed = H::mixed(&mut arrays, with_master.then_some(&mut master[..]));
            run(Tensor::Mixed(mixed), &FULL, 1.0, &Call::NEUTRAL, config);
            arrays.master = master;
            assert!(arrays == expected, "{length} elements, master {with_master}, {config:?}");
        });
    }
}

#[test]
fn tensors_of_different_types_in_one_call_get_the_bits_of_a_call_for_each() {
    for length in SIZES {
        let start = (Arrays::new(length, |x| x, |x| x), Arrays::new(length, bf16::of, |x| x));
        let mut expected = start.clone();
        let one = Config::new(Level::Portable, 1);
        run(Tensor::F32(expected.0.slot(false)), &FULL, 1.0, &Call::NEUTRAL, &one);
        let narrow = bf16::mixed(&mut expected.1, None);
        run(Tensor::Mixed(narrow), &FULL, 1.0, &Call::NEUTRAL, &one);
        each_config(|config, _| {
            let (mut wide, mut narrow) = start.clone();
            let plan = Plan::new(&[(FULL, 1.0)], &Call::NEUTRAL);
            let mixed = Tensor::Mixed(bf16::mixed(&mut narrow, None));
            let mut tensors = [Tensor::F32(wide.slot(false)), mixed];
            step::step(&mut tensors, &plan, config).unwrap();
            assert!((wide, narrow) == expected, "{length} elements, {config:?}");
        });
    }
}

#[test]
fn in_torchs_way_every_operation_is_rounded_and_so_are_the_factors_of_sums() {
    rounds_each::<f16>();
    rounds_each::<bf16>();
}

fn rounds_each<H: Half>() {
    let round = |x: f32| H::of(x).wide();
    let fma = |a: f64, b: f32, c: f32| round(round(a as f32).mul_add(b, c));
    // Enough weight decay to be seen in 16 bits.
    let decoupled = Hyperparameters { weight_decay: 0.3, decoupled_weight_decay: true, ..FULL };
    let options = [FULL, DAMPED, decoupled];
    for (length, h) in SIZES.iter().flat_map(|&n| options.map(|h| (n, h))) {
        let start = Arrays::new(length, H::of, H::of);
        let mut expected = start.clone();
        for i in 0..length {
            let (mut p, b) = (start.p[i].wide(), start.b[i].wide());
            let mut g = if h.maximize { -start.g[i].wide() } else { start.g[i].wide() };
            if h.decoupled_weight_decay {
                p = round((1.0 - h.lr * h.weight_decay) as f32 * p);
            } else {
                g = fma(h.weight_decay, p, g);
            }
            let b = fma(1.0 - h.dampening, g, round(h.momentum as f32 * b));
            let u = if h.nesterov { fma(h.momentum, b, g) } else { b };
            (expected.p[i], expected.b[i]) = (H::of(fma(-h.lr, u, p)), H::of(b));
        }
        each_config(|config, _| {
            let mut arrays = start.clone();
            run(H::per_op(&mut arrays), &h, 1.0, &Call::NEUTRAL, config);
            assert!(arrays == expected, "{length} elements, {h:?}, {config:?}");
        });
    }
}

#[test]
fn stochastic_rounding_takes_a_neighbor_by_bits_of_its_own_and_is_right_on_average() {
    rounds_by_chance::<f16>();
    rounds_by_chance::<bf16>();
}

fn rounds_by_chance<H: Half>() {
    let length = 300_001;
    let still = Hyperparameters { lr: 0.0, ..PLAIN };
    let scatter = |source: Source, number: u32, value: f32, config: &Config| {
        let mut arrays = Arrays::new(length, H::of, |x| x);
        let mut master = vec![value; length];
        let mut mixed = H::mixed(&mut arrays, Some(&mut master));
        (mixed.stochastic, mixed.number) = (true, number);
        run(Tensor::Mixed(mixed), &still, 1.0, &Call { source, ..Call::NEUTRAL }, config);
        arrays.p
    };
    let one = Config::new(Level::Portable, 1);
    let source = Source { seed: [1, 2], step: 3 };
    for value in [1.0 + 1.0 / 4096.0, -0.3, 3.3e-6, 1.0] {
        let outcome = scatter(source, 0, value, &one);
        each_config(|config, _| assert!(scatter(source, 0, value, config) == outcome));
        let mean = outcome.iter().map(|p| f64::from(p.wide())).sum::<f64>() / length as f64;
        let unit = outcome.iter().map(|p| f64::from((p.wide() - value).abs())).fold(0.0, f64::max);
        let deviation = unit / (length as f64).sqrt();
        assert!((mean - f64::from(value)).abs() <= 6.0 * deviation, "{mean} for {value}");
        let nearest = H::of(value).wide();
        assert_eq!(outcome.iter().all(|p| p.wide() == nearest), nearest == value);
    }
    let outcome = scatter(source, 0, -0.3, &one);
    for other in [Source { seed: [2, 2], ..source }, Source { seed: [1, 3], ..source }] {
        assert!(scatter(other, 0, -0.3, &one) != outcome);
    }
    assert!(scatter(Source { step: 4, ..source }, 0, -0.3, &one) != outcome);
    assert!(scatter(source, 1, -0.3, &one) != outcome);
    for special in [f32::INFINITY, f32::NEG_INFINITY] {
        assert!(scatter(source, 0, special, &one).iter().all(|p| p.wide() == special));
    }
    assert!(scatter(source, 0, f32::NAN, &one).iter().all(|p| p.wide().is_nan()));
}

#[test]
fn conversions_of_every_bit_pattern_are_those_of_the_half_crate() {
    let patterns: Vec<u16> = (0..=u16::MAX).collect();
    for level in Level::available() {
        converts::<bf16>(level, &patterns, bf16::from_bits);
        converts::<f16>(level, &patterns, f16::from_bits);
    }
}

fn converts<H: Half>(level: Level, patterns: &[u16], of: impl Fn(u16) -> H) {
    let halves: Vec<H> = patterns.iter().map(|&bits| of(bits)).collect();
    let mut wide = vec![0.0_f32; halves.len()];
    H::load(level, &halves, &mut wide);
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    assert!(wide.iter().zip(&halves).all(|(&x, h)| same(x, h.wide())));
    for step in [0, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001] {
        let between: Vec<f32> =
            wide.iter().map(|x| f32::from_bits(x.to_bits().wrapping_add(step))).collect();
        let mut narrow = halves.clone();
        H::store(level, &between, &mut narrow);
        let right = narrow.iter().zip(&between).all(|(n, &x)| same(n.wide(), H::of(x).wide()));
        assert!(right, "{step:#x} above");
    }
}
