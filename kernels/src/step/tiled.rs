//! The tiled loop: a tile of elements is loaded and prepared, and the direct loops run on it while it
//! lies in the first-level cache, so that a step goes through memory once.

use super::loops::Kernel;
use super::plan::Loops;
use super::prepare::Preparation;
use crate::dtype::{Element, TILE};
use crate::gradients::addends::Addends;
use crate::gradients::view::Kind;
use crate::lanes::Real;
use crate::simd::Level;

/// Memory for one tile, and what is run on it.
pub(crate) struct Tile<'a, T> {
    level: Level,
    preparation: &'a Preparation<T>,
    kernel: &'a Kernel<T>,
    first: bool,
    grad: [T; TILE],
    /// Parameters and buffers, where these are not stored as `T`.
    other: [[T; TILE]; 2],
}

impl<'a, T: Real> Tile<'a, T> {
    /// Room for a tile of a tensor, at whose first step its buffer is not read.
    #[inline(always)]
    pub(crate) fn new(loops: &'a Loops<T>, first: bool, level: Level) -> Self {
        let Loops { preparation, kernel, .. } = loops;
        Tile {
            level,
            preparation,
            kernel,
            first,
            grad: [T::from_f64(0.0); TILE],
            other: [[T::from_f64(0.0); TILE]; 2],
        }
    }

    /// Loads and prepares the gradients of a tile.
    pub(crate) fn load<H: Element<T>>(&mut self, grad: &[H]) {
        let tile = &mut self.grad[..grad.len()];
        if let Some(grad) = H::as_direct(grad) {
            return self.preparation.copy(self.level, grad, tile);
        }
        H::load(self.level, grad, tile);
        if !self.preparation.is_neutral() {
            self.preparation.run(self.level, tile);
        }
    }

    /// Loads the gradients of a tile, adds others to them, and prepares the sums.
    pub(crate) fn load_sum<H: Element<T> + Kind>(&mut self, grad: &[H], addends: &Addends<'_>) {
        let tile = &mut self.grad[..grad.len()];
        H::load(self.level, grad, tile);
        addends.add::<H, T>(self.level, 0, tile, false);
        if !self.preparation.is_neutral() {
            self.preparation.run(self.level, tile);
        }
    }

    /// Steps the parameters of a tile by the gradients that have been loaded.
    pub(crate) fn step<H, B>(&mut self, param: &mut [H], buffer: &mut [B])
    where
        H: Element<T>,
        B: Element<T>,
    {
        let Tile { level, kernel, first, grad, other: [p, b], .. } = self;
        let (level, first, grad) = (*level, *first, &grad[..param.len()]);
        let mut run = |p: &mut [T]| match B::direct(buffer) {
            Some(b) => kernel.run(level, first, p, grad, b),
            None => {
                let b = &mut b[..buffer.len()];
                if !first {
                    B::load(level, buffer, b);
                }
                kernel.run(level, first, p, grad, b);
                B::store(level, b, buffer);
            }
        };
        if let Some(param) = H::direct(param) {
            return run(param);
        }
        let p = &mut p[..param.len()];
        H::load(level, param, p);
        run(p);
        H::store(level, p, param);
    }
}
