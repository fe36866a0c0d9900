//! The arrays of one tensor, and steps in float32 to compare with.

use crate::options::{numbers, run};
use descent_kernels::config::Config;
use descent_kernels::rule::Hyperparameters;
use descent_kernels::simd::Level;
use descent_kernels::step::{Call, Gradient, Slot, Tensor};
use ndarray::{ArrayView1, ArrayViewMut1};

pub const SIZES: [usize; 8] = [0, 1, 7, 64, 1023, 1025, 70_001, 300_000];

/// The arrays of one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrays<H, B> {
    pub p: Vec<H>,
    pub g: Vec<H>,
    pub b: Vec<B>,
    pub master: Vec<f32>,
}

impl<H: Copy, B: Copy> Arrays<H, B> {
    pub fn new(length: usize, h: impl Fn(f32) -> H, b: impl Fn(f32) -> B) -> Self {
        let [p, g, m] = [1, 2, 3].map(|seed| numbers(seed, length));
        Arrays {
            p: p.iter().map(|&x| h(x)).collect(),
            g: g.iter().map(|&x| h(x)).collect(),
            b: m.iter().map(|&x| b(x)).collect(),
            master: p,
        }
    }

    pub fn slot<T>(&mut self, clear: bool) -> Slot<'_, H, B, T> {
        let param = ArrayViewMut1::from(&mut self.p[..]);
        let buffer = Some(ArrayViewMut1::from(&mut self.b[..]));
        if clear {
            let grad = Gradient::Cleared(ArrayViewMut1::from(&mut self.g[..]));
            return Slot { grad, ..Slot::new(param, ArrayView1::from(&[]), buffer) };
        }
        Slot::new(param, ArrayView1::from(&self.g[..]), buffer)
    }
}

/// What a neutral step makes of arrays in the type that is computed with.
pub fn stepped(h: &Hyperparameters, p: &mut [f32], g: &[f32], b: &mut [f32]) {
    let buffer = Some(ArrayViewMut1::from(b));
    let slot = Slot::new(ArrayViewMut1::from(p), ArrayView1::from(g), buffer);
    run(Tensor::F32(slot), h, 1.0, &Call::NEUTRAL, &Config::new(Level::Portable, 1));
}
