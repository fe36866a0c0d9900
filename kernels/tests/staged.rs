//! Staged steps: gradients that are unscaled, clipped and cleared on the way, 16-bit types, and norms.

mod configs;

use configs::each_config;
use descent_kernels::config::Config;
use descent_kernels::cpu;
use descent_kernels::element::Element;
use descent_kernels::norm::{self, BLOCK, LANES};
use descent_kernels::random::Source;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::simd::Level;
use descent_kernels::staged::{self, Call, Gradient, Plan, Slot, Tensor};
use descent_kernels::sweep::Group;
use half::{bf16, f16};
use ndarray::{ArrayView1, ArrayViewMut1};

const SIZES: [usize; 8] = [0, 1, 7, 64, 1023, 1025, 70_001, 300_000];

const FULL: Hyperparameters = Hyperparameters {
    lr: 0.1,
    momentum: 0.9,
    dampening: 0.0,
    weight_decay: 0.01,
    nesterov: true,
    maximize: false,
    sign: false,
};
const PLAIN: Hyperparameters =
    Hyperparameters { momentum: 0.0, nesterov: false, weight_decay: 0.0, ..FULL };
const DAMPED: Hyperparameters =
    Hyperparameters { dampening: 0.3, nesterov: false, maximize: true, ..FULL };

/// Numbers in -1..1, other ones for every seed.
fn numbers(seed: u64, length: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

/// The arrays of one tensor.
#[derive(Clone, Debug, PartialEq)]
struct Arrays<H, B> {
    p: Vec<H>,
    g: Vec<H>,
    b: Vec<B>,
    master: Vec<f32>,
}

impl<H: Copy, B: Copy> Arrays<H, B> {
    fn new(length: usize, h: impl Fn(f32) -> H, b: impl Fn(f32) -> B) -> Self {
        let [p, g, m] = [1, 2, 3].map(|seed| numbers(seed, length));
        Arrays {
            p: p.iter().map(|&x| h(x)).collect(),
            g: g.iter().map(|&x| h(x)).collect(),
            b: m.iter().map(|&x| b(x)).collect(),
            master: p,
        }
    }

    fn slot<T>(&mut self, clear: bool) -> Slot<'_, H, B, T> {
        Slot {
            param: ArrayViewMut1::from(&mut self.p[..]),
            grad: match clear {
                true => Gradient::Cleared(ArrayViewMut1::from(&mut self.g[..])),
                false => Gradient::Kept(ArrayView1::from(&self.g[..])),
            },
            buffer: Some(ArrayViewMut1::from(&mut self.b[..])),
            master: None,
            first: false,
            stochastic: false,
            group: 0,
            number: 0,
            offset: 0,
        }
    }
}

fn run(tensor: Tensor<'_>, h: &Hyperparameters, coefficient: f64, call: &Call, config: &Config) {
    let plan = Plan::new([(*h, coefficient)].into_iter(), call);
    staged::step(&mut [tensor][..], &plan, config).unwrap();
}

/// What `cpu` makes of arrays in the type that is computed with.
fn stepped(h: &Hyperparameters, p: &mut [f32], g: &[f32], b: &mut [f32]) {
    let slot = cpu::Slot {
        param: ArrayViewMut1::from(p),
        grad: ArrayView1::from(g),
        buffer: Some(ArrayViewMut1::from(b)),
        first: false,
        group: 0,
    };
    let config = Config::new(Level::Portable, 1);
    cpu::step(&mut [cpu::Tensor::F32(slot)][..], &[Group::new(h)], &config).unwrap();
}

#[test]
fn gradients_are_unscaled_clipped_and_cleared_as_if_before_and_after_a_plain_step() {
    let (scale, coefficient, limit) = (0.3, 0.7, 0.125);
    let call = Call { scale, limit, ..Call::NOTHING };
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
        run(Tensor::F32(arrays.slot(false)), &FULL, 1.0, &Call::NOTHING, config);
        assert!(arrays == expected, "{config:?}");
    });
    start.g[5] = f32::NAN;
    let call = Call { limit: 0.1, ..Call::NOTHING };
    run(Tensor::F32(start.slot(false)), &FULL, 1.0, &call, &Config::default());
    assert!(start.p[5].is_nan() && start.p[4].is_finite());
}

/// A 16-bit type, as the references need it.
trait Half: Element<f32> + PartialEq + std::fmt::Debug {
    fn of(x: f32) -> Self;
    fn wide(self) -> f32;
    fn tensor(slot: Slot<'_, Self, f32, f32>) -> Tensor<'_>;
    fn each(arrays: &mut Arrays<Self, Self>) -> Tensor<'_>;
}

macro_rules! half {
    ($type:ty, $tensor:ident, $each:ident) => {
        impl Half for $type {
            fn of(x: f32) -> Self {
                <$type>::from_f32(x)
            }
            fn wide(self) -> f32 {
                self.to_f32()
            }
            fn tensor(slot: Slot<'_, Self, f32, f32>) -> Tensor<'_> {
                Tensor::$tensor(slot)
            }
            fn each(arrays: &mut Arrays<Self, Self>) -> Tensor<'_> {
                Tensor::$each(arrays.slot(false))
            }
        }
    };
}
half!(f16, F16, EachF16);
half!(bf16, Bf16, EachBf16);

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
            let mut slot = arrays.slot(false);
            if with_master {
                slot.master = Some(ArrayViewMut1::from(&mut master[..]));
            }
            run(H::tensor(slot), &FULL, 1.0, &Call::NOTHING, config);
            arrays.master = master;
            assert!(arrays == expected, "{length} elements, master {with_master}, {config:?}");
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
    for (length, h) in SIZES.iter().flat_map(|&n| [(n, FULL), (n, DAMPED)]) {
        let start = Arrays::new(length, H::of, H::of);
        let mut expected = start.clone();
        for i in 0..length {
            let (p, b) = (start.p[i].wide(), start.b[i].wide());
            let g = if h.maximize { -start.g[i].wide() } else { start.g[i].wide() };
            let g = fma(h.weight_decay, p, g);
            let b = fma(1.0 - h.dampening, g, round(h.momentum as f32 * b));
            let u = if h.nesterov { fma(h.momentum, b, g) } else { b };
            (expected.p[i], expected.b[i]) = (H::of(fma(-h.lr, u, p)), H::of(b));
        }
        each_config(|config, _| {
            let mut arrays = start.clone();
            run(H::each(&mut arrays), &h, 1.0, &Call::NOTHING, config);
            assert!(arrays == expected, "{length} elements, {h:?}, {config:?}");
        });
    }
}

#[test]
fn stochastic_rounding_takes_a_neighbour_by_bits_of_its_own_and_is_right_on_average() {
    rounds_by_chance::<f16>();
    rounds_by_chance::<bf16>();
}

fn rounds_by_chance<H: Half>() {
    let length = 300_001;
    let still = Hyperparameters { lr: 0.0, ..PLAIN };
    let scatter = |source: Source, number: u32, value: f32, config: &Config| {
        let mut arrays = Arrays::new(length, H::of, |x| x);
        let mut master = vec![value; length];
        let slot = Slot {
            master: Some(ArrayViewMut1::from(&mut master[..])),
            stochastic: true,
            number,
            ..arrays.slot(false)
        };
        run(H::tensor(slot), &still, 1.0, &Call { source, ..Call::NOTHING }, config);
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

/// The sum of squares, from the description and not from the code.
fn squares(values: &[f32]) -> f64 {
    let blocks = values.chunks(BLOCK).map(|block| {
        let mut lanes = [0.0; LANES];
        for (i, &x) in block.iter().enumerate() {
            lanes[i % LANES] += f64::from(x) * f64::from(x);
        }
        for half in [8, 4, 2, 1] {
            (0..half).for_each(|i| lanes[i] += lanes[i + half]);
        }
        lanes[0]
    });
    blocks.fold(0.0, |sum, block| sum + block)
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
                norm::Gradient::F32(ArrayView1::from(&values[..])),
                norm::Gradient::F16(ArrayView1::from(&halves[..])),
            ];
            let totals = norm::totals(&gradients, 0.3, config).unwrap();
            let found: Vec<f64> = totals.iter().map(|total| total.squares).collect();
            assert_eq!(found, [squares(&scaled), squares(&wide)], "{config:?}");
            assert!(totals.iter().all(|total| total.finite));
        });
    }
}

#[test]
fn one_gradient_that_is_not_finite_is_found_wherever_it_lies() {
    for (at, bad) in [(0, f32::NAN), (4097, f32::INFINITY), (69_999, f32::NEG_INFINITY)] {
        let mut values = numbers(5, 70_000);
        values[at] = bad;
        each_config(|config, _| {
            for scale in [1.0, 1e-60] {
                let gradient = norm::Gradient::F32(ArrayView1::from(&values[..]));
                let totals = norm::totals(&[gradient], scale, config).unwrap();
                assert!(!totals[0].finite, "{bad} at {at}, {config:?}");
            }
        });
    }
    let huge = [1e300_f64, -1e300];
    let gradient = norm::Gradient::F64(ArrayView1::from(&huge[..]));
    let total = norm::totals(&[gradient], 1.0, &Config::default()).unwrap()[0];
    assert!(total.finite && total.squares == f64::INFINITY);
    let large = [3e38_f32; 3];
    let gradient = norm::Gradient::F32(ArrayView1::from(&large[..]));
    assert!(!norm::totals(&[gradient], 4.0, &Config::default()).unwrap()[0].finite);
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

#[test]
fn a_tensor_that_does_not_fit_is_an_error_and_nothing_is_changed() {
    type Spoil = fn(&mut Slot<'_, f32, f32, f32>);
    let cases: [(&str, Spoil); 4] = [
        ("group", |slot| slot.group = 1),
        ("buffer", |slot| slot.buffer = None),
        ("length", |slot| slot.grad = Gradient::Kept(ArrayView1::from(&[1.0][..]))),
        ("master", |slot| slot.master = Some(ArrayViewMut1::from(&mut [][..]))),
    ];
    for (word, spoil) in cases {
        let mut good = Arrays::new(10, |x| x, |x| x);
        let mut bad = good.clone();
        let before = (good.clone(), bad.clone());
        let mut slot = bad.slot(false);
        spoil(&mut slot);
        let plan = Plan::new([(FULL, 1.0)].into_iter(), &Call::NOTHING);
        let mut tensors = [Tensor::F32(good.slot(false)), Tensor::F32(slot)];
        let error = staged::step(&mut tensors[..], &plan, &Config::default()).unwrap_err();
        assert!(error.to_string().contains("tensor 1") && error.to_string().contains(word));
        assert!((good, bad) == before);
    }
}

#[test]
fn float64_is_staged_too() {
    let mut p = [1.0_f64, 2.0];
    let mut g = [1e300_f64, -4.0];
    let slot = Slot::<f64, f64, f64> {
        param: ArrayViewMut1::from(&mut p[..]),
        grad: Gradient::Cleared(ArrayViewMut1::from(&mut g[..])),
        buffer: None,
        master: None,
        first: true,
        stochastic: false,
        group: 0,
        number: 0,
        offset: 0,
    };
    let call = Call { scale: 0.5, limit: 1.0, ..Call::NOTHING };
    let h = Hyperparameters { lr: 0.25, ..PLAIN };
    run(Tensor::F64(slot), &h, 1.0, &call, &Config::default());
    assert_eq!((p, g), ([0.75, 2.25], [0.0; 2]));
}
