//! One parameter of a step: what has to fit, how it is cut in two, and which loop it takes.

use super::failure::fail;
use super::mixed::{Mixed, MixedGradient, Momentum, Param};
use super::plan::{Computed, Plan};
use super::tiled::Tile;
use crate::dtype::{Element, RoundEveryOp, TILE};
use crate::error::Error;
use crate::parallel::{Task, both, middle_of};
use crate::simd::Level;
use crate::views::{elements, elements_mut};
use half::{bf16, f16};
use ndarray::{ArrayView1, ArrayViewMut1, Axis};
use std::marker::PhantomData;

/// A gradient.
#[derive(Debug)]
pub enum Gradient<'a, H> {
    /// It is only read.
    Kept(ArrayView1<'a, H>),
    /// It is filled with zeros once it has been read.
    Cleared(ArrayViewMut1<'a, H>),
}

/// A type that tensors are computed in, and whether the loop over blocks steps those stored in it.
pub trait Blocked: Computed {
    /// A tensor that is stored in this type, for the loop over blocks, if that knows it.
    fn mixed<'a>(
        _param: &'a mut [Self],
        _grad: Gradient<'a, Self>,
        _buffer: Option<&'a mut [Self]>,
    ) -> Option<Mixed<'a>> {
        None
    }
}

impl Blocked for f32 {
    fn mixed<'a>(
        param: &'a mut [f32],
        grad: Gradient<'a, f32>,
        buffer: Option<&'a mut [f32]>,
    ) -> Option<Mixed<'a>> {
        let grad = match grad {
            Gradient::Kept(grad) => MixedGradient::F32(elements(&grad)),
            Gradient::Cleared(grad) => MixedGradient::ClearedF32(elements_mut(grad)),
        };
        let momentum = buffer.map_or(Momentum::None, Momentum::F32);
        Some(Mixed::new(Param::F32(param), grad, momentum))
    }
}

impl Blocked for f64 {}
impl Blocked for RoundEveryOp<f16> {}
impl Blocked for RoundEveryOp<bf16> {}

/// One parameter of a step: its arrays, contiguous and of one length. It is stored as `H`, its buffer
/// as `B`, and computed with as `T`.
#[derive(Debug)]
pub struct Slot<'a, H, B, T> {
    /// The parameter, updated in place.
    pub param: ArrayViewMut1<'a, H>,
    /// Its gradient.
    pub grad: Gradient<'a, H>,
    /// Its momentum buffer, updated in place; needed if the group has momentum.
    pub buffer: Option<ArrayViewMut1<'a, B>>,
    /// Whether the buffer has never been written: it is then not read.
    pub first: bool,
    /// The index of its group.
    pub group: usize,
    /// The type that it is computed with in.
    pub computed: PhantomData<T>,
}

impl<'a, H, B, T> Slot<'a, H, B, T> {
    /// A parameter of the first group after its first step, with nothing but the rule to it.
    pub fn new(
        param: ArrayViewMut1<'a, H>,
        grad: ArrayView1<'a, H>,
        buffer: Option<ArrayViewMut1<'a, B>>,
    ) -> Self {
        Slot {
            param,
            grad: Gradient::Kept(grad),
            buffer,
            first: false,
            group: 0,
            computed: PhantomData,
        }
    }

    pub(super) fn reborrow(&mut self) -> Slot<'_, H, B, T> {
        Slot {
            param: self.param.view_mut(),
            grad: match &mut self.grad {
                Gradient::Kept(grad) => Gradient::Kept(grad.view()),
                Gradient::Cleared(grad) => Gradient::Cleared(grad.view_mut()),
            },
            buffer: self.buffer.as_mut().map(|buffer| buffer.view_mut()),
            ..*self
        }
    }

    /// The first elements, and the rest if there is one.
    pub(super) fn cut(self, middle: usize) -> (Self, Option<Self>) {
        if middle >= self.param.len() {
            return (self, None);
        }
        let (part, rest) = self.split_at(middle);
        (part, Some(rest))
    }

    fn split_at(self, middle: usize) -> (Self, Self) {
        let (param, param_rest) = self.param.split_at(Axis(0), middle);
        let (grad, grad_rest) = match self.grad {
            Gradient::Kept(grad) => both(grad.split_at(Axis(0), middle), Gradient::Kept),
            Gradient::Cleared(grad) => both(grad.split_at(Axis(0), middle), Gradient::Cleared),
        };
        let (buffer, buffer_rest) = self.buffer.map(|b| b.split_at(Axis(0), middle)).unzip();
        let rest = Slot { param: param_rest, grad: grad_rest, buffer: buffer_rest, ..self };
        (Slot { param, grad, buffer, ..self }, rest)
    }
}

impl<H: Element<T>, B: Element<T>, T: Blocked> Task for Slot<'_, H, B, T> {
    type Plan = Plan;

    #[inline(always)]
    fn bytes(&self) -> usize {
        size_of::<T>() * self.param.len()
    }

    fn halve(self) -> (Self, Self) {
        let middle = middle_of(self.param.len());
        self.split_at(middle)
    }

    /// Steps the parameter: directly if it is stored as it is computed with and nothing is done to its
    /// gradient; else in blocks or a tile at a time.
    #[inline(always)]
    fn run(mut self, plan: &Plan, level: Level) {
        if !self.run_directly(plan, level) {
            self.run_prepared(plan, level);
        }
    }
}

impl<H: Element<T>, B: Element<T>, T: Blocked> Slot<'_, H, B, T> {
    /// Checks that the group exists, and that all arrays are contiguous and of one length; returns the
    /// bytes of the gradient.
    pub(super) fn check(&self, index: usize, plan: &Plan) -> Result<usize, Error> {
        let Some(loops) = plan.loops::<T>().get(self.group) else {
            return Err(fail(index, "its group does not exist"));
        };
        let n = self.param.len();
        let (length, grad) = match &self.grad {
            Gradient::Kept(grad) => (grad.len(), grad.as_slice().is_some()),
            Gradient::Cleared(grad) => (grad.len(), grad.as_slice().is_some()),
        };
        if length != n {
            return Err(fail(index, "its gradient has another length"));
        }
        if !grad || self.param.as_slice().is_none() {
            return Err(fail(index, "its data or gradient is not contiguous"));
        }
        match &self.buffer {
            None if loops.buffered => Err(fail(index, "it has no momentum buffer")),
            Some(b) if b.len() != n || b.as_slice().is_none() => {
                Err(fail(index, "its momentum buffer has another length or is not contiguous"))
            }
            _ => Ok(size_of::<T>() * n),
        }
    }

    #[inline(always)]
    fn run_directly(&mut self, plan: &Plan, level: Level) -> bool {
        let loops = &plan.loops::<T>()[self.group];
        let buffer = self.buffer.as_mut().map_or(&mut [][..], |b| elements_mut(b.view_mut()));
        if let Gradient::Kept(grad) = &self.grad
            && let Some(g) = H::as_direct(elements(grad))
            && let Some(p) = H::direct(elements_mut(self.param.view_mut()))
            && let Some(b) = B::direct(buffer)
            && loops.preparation.is_neutral()
        {
            loops.kernel.run(level, self.first, p, g, b);
            return true;
        }
        false
    }

    #[inline(never)]
    fn run_prepared(mut self, plan: &Plan, level: Level) {
        match self.mixed() {
            Some(mixed) => mixed.run(plan, level),
            None => self.run_tiled(plan, level, |tile, grad| tile.load(grad)),
        }
    }

    /// The tensor for the loop over blocks, if that knows its type.
    pub(super) fn mixed(&mut self) -> Option<Mixed<'_>> {
        let grad = match &mut self.grad {
            Gradient::Kept(grad) => Gradient::Kept(H::as_direct(elements(grad))?.into()),
            Gradient::Cleared(grad) => {
                Gradient::Cleared(H::direct(elements_mut(grad.view_mut()))?.into())
            }
        };
        let buffer = match &mut self.buffer {
            Some(buffer) => Some(B::direct(elements_mut(buffer.view_mut()))?),
            None => None,
        };
        let param = H::direct(elements_mut(self.param.view_mut()))?;
        let mut mixed = T::mixed(param, grad, buffer)?;
        (mixed.first, mixed.group) = (self.first, self.group);
        Some(mixed)
    }

    /// Steps a tile at a time. A function loads the gradients of each.
    pub(super) fn run_tiled(
        self,
        plan: &Plan,
        level: Level,
        mut load: impl FnMut(&mut Tile<'_, T>, &[H]),
    ) {
        let mut tile = Tile::new(&plan.loops::<T>()[self.group], self.first, level);
        let mut params = tiles(self.param);
        let mut buffers = self.buffer.into_iter().flat_map(tiles);
        let mut run = |grad: &[H]| {
            load(&mut tile, grad);
            let buffer = buffers.next().unwrap_or_default();
            let param = params.next().unwrap_or_default();
            tile.step(param, buffer);
        };
        match self.grad {
            Gradient::Kept(grad) => elements(&grad).chunks(TILE).for_each(run),
            Gradient::Cleared(grad) => tiles(grad).for_each(|grad| {
                run(grad);
                grad.fill(H::ZERO);
            }),
        }
    }
}

fn tiles<T>(view: ArrayViewMut1<'_, T>) -> std::slice::ChunksMut<'_, T> {
    elements_mut(view).chunks_mut(TILE)
}
