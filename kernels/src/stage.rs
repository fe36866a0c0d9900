//! One stage of a staged step: what is run on the elements that lie in the first-level cache.

use crate::element::{Element, STAGE};
use crate::gradient::Preparation;
use crate::random::Bits;
use crate::rule::{Hyperparameters, Real};
use crate::simd::Level;
use crate::staged::Call;
use crate::sweep::{Kernel, Kernels};
use ndarray::ArrayViewMut1;

/// What is run on each stage.
#[derive(Debug)]
pub struct Loops<T> {
    preparation: Preparation<T>,
    kernels: Kernels<T>,
}

impl<T: Real> Loops<T> {
    /// The loops of a group whose gradients are also multiplied by `coefficient`.
    pub fn new(h: &Hyperparameters, coefficient: f64, call: &Call) -> Self {
        Loops {
            preparation: Preparation::new(call.scale, coefficient, call.limit),
            kernels: Kernels::new(h),
        }
    }
}

/// The stages of a view that `Slot::check` has found contiguous.
pub fn stages<T>(view: ArrayViewMut1<'_, T>) -> std::slice::ChunksMut<'_, T> {
    view.into_slice().unwrap_or_default().chunks_mut(STAGE)
}

/// Memory for one stage, and what is run on it.
pub struct Stage<'a, T> {
    level: Level,
    preparation: &'a Preparation<T>,
    kernel: &'a Kernel<T>,
    reads_buffer: bool,
    bits: Option<Bits>,
    grad: [T; STAGE],
    /// Parameters and buffers, where these are not stored as `T`.
    other: [[T; STAGE]; 2],
}

impl<'a, T: Real> Stage<'a, T> {
    /// Room for a stage of a tensor, at whose first step its buffer is not read.
    #[inline(always)]
    pub fn new(loops: &'a Loops<T>, first: bool, bits: Option<Bits>, level: Level) -> Self {
        let Loops { preparation, kernels } = loops;
        Stage {
            level,
            preparation,
            kernel: kernels.choose(first),
            reads_buffer: !first,
            bits,
            grad: [T::from_f64(0.0); STAGE],
            other: [[T::from_f64(0.0); STAGE]; 2],
        }
    }

    /// Loads and prepares the gradients of a stage.
    pub fn load<H: Element<T>>(&mut self, grad: &[H]) {
        let stage = &mut self.grad[..grad.len()];
        if let Some(grad) = H::as_direct(grad) {
            return self.preparation.copy(self.level, grad, stage);
        }
        H::load(self.level, grad, stage);
        self.preparation.run(self.level, stage);
    }

    /// Steps the parameters of a stage by the gradients that have been loaded.
    pub fn step<H, B>(&mut self, param: &mut [H], buffer: &mut [B], master: Option<&mut [T]>)
    where
        H: Element<T>,
        B: Element<T>,
    {
        let Stage { level, kernel, reads_buffer, bits, grad, other: [p, b], .. } = self;
        let (level, grad) = (*level, &grad[..param.len()]);
        let mut run = |p: &mut [T]| match B::direct(buffer) {
            Some(b) => kernel.run(level, p, grad, b),
            None => {
                let b = &mut b[..buffer.len()];
                if *reads_buffer {
                    B::load(level, buffer, b);
                }
                kernel.run(level, p, grad, b);
                B::store(level, b, buffer);
            }
        };
        if let (None, Some(param)) = (&master, H::direct(param)) {
            return run(param);
        }
        let p = match master {
            Some(master) => master,
            None => {
                let p = &mut p[..param.len()];
                H::load(level, param, p);
                p
            }
        };
        run(p);
        round(level, bits, p, param);
    }
}

/// Writes parameters back: the nearest values, or by chance.
fn round<H: Element<T>, T>(level: Level, bits: &mut Option<Bits>, from: &[T], to: &mut [H]) {
    let Some(bits) = bits else { return H::store(level, from, to) };
    let mut random = [0; STAGE];
    let random = &mut random[..to.len()];
    bits.fill(random);
    H::scatter(level, from, to, random);
}
