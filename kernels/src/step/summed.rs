//! Tensors whose gradients are sums: a tile of the sums is made at a time, and stepped while it lies in
//! the first-level cache.

use super::mixed::Mixed;
use super::plan::Plan;
use super::slot::{Blocked, Slot};
use super::tiled::Tile;
use crate::dtype::{Element, TILE};
use crate::gradients::addends::Addends;
use crate::gradients::view::Kind;
use crate::parallel::{Task, middle_of};
use crate::simd::Level;

/// A parameter of a step, and what is added to its gradient.
#[derive(Debug)]
pub struct Summed<'a, S> {
    /// The parameter: a [`Slot`] or a [`Mixed`].
    pub tensor: S,
    /// What is added to its gradient.
    pub addends: Addends<'a>,
}

fn halve<'a, S: Task>(tensor: S, addends: Addends<'a>, length: usize) -> [Summed<'a, S>; 2] {
    let (a, b) = tensor.halve();
    let rest = addends.after(middle_of(length));
    [Summed { tensor: a, addends }, Summed { tensor: b, addends: rest }]
}

impl<H: Element<T> + Kind, B: Element<T>, T: Blocked> Task for Summed<'_, Slot<'_, H, B, T>> {
    type Plan = Plan;

    fn bytes(&self) -> usize {
        self.tensor.bytes()
    }

    fn halve(self) -> (Self, Self) {
        let length = self.tensor.param.len();
        halve(self.tensor, self.addends, length).into()
    }

    fn run(self, plan: &Plan, level: Level) {
        let Summed { mut tensor, mut addends } = self;
        if let Some(mixed) = tensor.mixed() {
            return mixed.run_summed(addends, plan, level);
        }
        tensor.run_tiled(plan, level, |tile: &mut Tile<'_, T>, grad| {
            tile.load_sum(grad, &addends);
            addends = addends.after(TILE);
        });
    }
}

impl Task for Summed<'_, Mixed<'_>> {
    type Plan = Plan;

    fn bytes(&self) -> usize {
        self.tensor.bytes()
    }

    fn halve(self) -> (Self, Self) {
        let length = self.tensor.len();
        halve(self.tensor, self.addends, length).into()
    }

    fn run(self, plan: &Plan, level: Level) {
        self.tensor.run_summed(self.addends, plan, level);
    }
}
