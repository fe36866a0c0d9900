//! Models between canaries, and what a plain loop over the rule makes of them.

use descent_kernels::rule::Hyperparameters;
use descent_kernels::step::{Slot, Tensor};
use ndarray::{ArrayView1, ArrayViewMut1};
use std::fmt::Debug;

/// A type of elements, as the reference needs it.
pub trait Element: Copy + Debug + PartialOrd {
    fn of(value: f64) -> Self;
    fn from_word(word: u64) -> Self;
    fn mul(self, other: Self) -> Self;
    fn fma(self, factor: Self, addend: Self) -> Self;
    fn neg(self) -> Self;
    /// The bits, with one NaN for all.
    fn bits(self) -> u64;
}

macro_rules! element {
    ($type:ty, $word:ty) => {
        impl Element for $type {
            fn of(value: f64) -> Self {
                value as $type
            }
            fn from_word(word: u64) -> Self {
                <$type>::from_bits(word as $word)
            }
            fn mul(self, other: Self) -> Self {
                self * other
            }
            fn fma(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
            }
            fn neg(self) -> Self {
                -self
            }
            fn bits(self) -> u64 {
                if self.is_nan() { u64::MAX } else { u64::from(self.to_bits()) }
            }
        }
    };
}
element!(f32, u32);
element!(f64, u64);

/// The rule for one element, from the design and not from the code.
fn reference<T: Element>(h: &Hyperparameters, first: bool, p: T, g: T, b: T) -> (T, T) {
    let mut u = if h.maximize { g.neg() } else { g };
    let mut p = p;
    let mut next = b;
    if h.weight_decay != 0.0 && h.decoupled_weight_decay {
        p = T::of(1.0 - h.lr * h.weight_decay).mul(p);
    } else if h.weight_decay != 0.0 {
        u = T::of(h.weight_decay).fma(p, u);
    }
    if h.momentum != 0.0 {
        let kept = T::of(h.momentum).mul(b);
        next = if first { u } else { T::of(1.0 - h.dampening).fma(u, kept) };
        u = if h.nesterov { T::of(h.momentum).fma(next, u) } else { next };
    }
    if h.sign {
        u = sign(u);
    }
    (T::of(-h.lr).fma(u, p), next)
}

fn sign<T: Element>(u: T) -> T {
    let (zero, one) = (T::of(0.0), T::of(1.0));
    if u > zero {
        one
    } else if u < zero {
        one.neg()
    } else {
        zero
    }
}

/// An array with canaries before and after it.
#[derive(Clone, Debug)]
struct Guarded<T> {
    whole: Vec<T>,
    from: usize,
    length: usize,
}

const CANARIES: usize = 20;
const CANARY: f64 = -12345.625;

impl<T: Element> Guarded<T> {
    /// Values that are reproducible; one in sixteen is a zero, infinity, NaN, subnormal or huge.
    fn new(seed: u64, length: usize) -> Self {
        let from = CANARIES + seed as usize % 5;
        let mut whole = vec![T::of(CANARY); from + length + CANARIES];
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for value in &mut whole[from..from + length] {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let uniform = (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
            *value = match state % 128 {
                0 => T::of(0.0),
                1 => T::of(-0.0),
                2 => T::of(f64::INFINITY),
                3 => T::of(f64::NEG_INFINITY),
                4 => T::of(f64::NAN),
                5 => T::from_word(state >> 40), // subnormal
                6 => T::of(uniform * 3e38),
                7 => T::of(uniform * 1e-38),
                _ => T::of(uniform * 4.0),
            };
        }
        Guarded { whole, from, length }
    }

    fn read(&self) -> &[T] {
        &self.whole[self.from..self.from + self.length]
    }

    fn write(&mut self) -> &mut [T] {
        &mut self.whole[self.from..self.from + self.length]
    }

    /// Whether all bits are equal, those of the canaries too.
    pub fn equals(&self, other: &Self) -> bool {
        self.whole.iter().zip(&other.whole).all(|(a, b)| a.bits() == b.bits())
    }
}

/// One tensor of a step.
#[derive(Clone, Debug)]
pub struct Arrays<T> {
    group: usize,
    first: bool,
    p: Guarded<T>,
    g: Guarded<T>,
    b: Guarded<T>,
}

impl<T: Element> Arrays<T> {
    pub fn new(seed: u64, size: usize, group: usize, first: bool) -> Self {
        let [p, g, b] = [1, 2, 3].map(|which| Guarded::new(seed * 3 + which, size));
        Arrays { group, first, p, g, b }
    }

    pub fn slot(&mut self) -> Slot<'_, T, T, T> {
        let param = ArrayViewMut1::from(self.p.write());
        let buffer = Some(ArrayViewMut1::from(self.b.write()));
        let slot = Slot::new(param, ArrayView1::from(self.g.read()), buffer);
        Slot { first: self.first, group: self.group, ..slot }
    }

    /// What a step has to make of this.
    pub fn stepped(&self, groups: &[Hyperparameters]) -> Self {
        let mut next = self.clone();
        let pairs = next.p.write().iter_mut().zip(next.b.write());
        for ((p, b), &g) in pairs.zip(self.g.read()) {
            (*p, *b) = reference(&groups[self.group], self.first, *p, g, *b);
        }
        next
    }

    pub fn equals(&self, other: &Self) -> bool {
        self.p.equals(&other.p) && self.g.equals(&other.g) && self.b.equals(&other.b)
    }
}

/// Tensors of both types.
#[derive(Clone, Debug, Default)]
pub struct Model {
    f32: Vec<Arrays<f32>>,
    f64: Vec<Arrays<f64>>,
}

impl Model {
    pub fn new(sizes: &[usize], groups: usize, first: bool) -> Self {
        let mut model = Model::default();
        for group in 0..groups {
            for &size in sizes {
                let seed = (group * 1_000_003 + size + usize::from(first)) as u64;
                model.f32.push(Arrays::new(seed, size, group, first));
                model.f64.push(Arrays::new(seed, size, group, first));
            }
        }
        model
    }

    /// The only place where tensors are made of arrays.
    pub fn tensors(&mut self) -> Vec<Tensor<'_>> {
        let f32 = self.f32.iter_mut().map(|arrays| Tensor::F32(arrays.slot()));
        f32.chain(self.f64.iter_mut().map(|arrays| Tensor::F64(arrays.slot()))).collect()
    }

    pub fn stepped(&self, groups: &[Hyperparameters]) -> Self {
        Model {
            f32: self.f32.iter().map(|arrays| arrays.stepped(groups)).collect(),
            f64: self.f64.iter().map(|arrays| arrays.stepped(groups)).collect(),
        }
    }

    pub fn assert_equals(&self, expected: &Self, groups: &[Hyperparameters], context: &str) {
        assert_arrays("float32", &self.f32, &expected.f32, groups, context);
        assert_arrays("float64", &self.f64, &expected.f64, groups, context);
    }
}

fn assert_arrays<T: Element>(
    dtype: &str,
    actual: &[Arrays<T>],
    expected: &[Arrays<T>],
    groups: &[Hyperparameters],
    context: &str,
) {
    for (actual, expected) in actual.iter().zip(expected) {
        let (h, size) = (&groups[actual.group], actual.p.length);
        let first = actual.first;
        assert!(
            actual.equals(expected),
            "{context}, {dtype}, {size} elements, first {first}, {h:?}"
        );
    }
}
