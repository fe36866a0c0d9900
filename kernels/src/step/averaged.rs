//! Tensors that are averaged in the pass that steps them: a piece is stepped, and its average updated
//! while it lies in the cache.

use super::mixed::Mixed;
use super::plan::Plan;
use super::slot::{Blocked, Slot};
use super::summed::Summed;
use crate::average::Blend;
use crate::dtype::{Element, Stored};
use crate::gradients::view::Kind;
use crate::lanes::Number;
use crate::parallel::{Task, middle_of};
use crate::simd::Level;
use crate::views::elements;

/// Elements of a piece, a whole number of lines and blocks. Parameter, gradient, buffer and average of one
/// stay in the first-level cache: with pieces for the second level, a step took a fifth longer.
const PIECE: usize = 1 << 9;

/// A task of a step that can be done a piece at a time, and whose parameters can be averaged then.
pub trait Divisible: Task<Plan = Plan> {
    /// The type of the average.
    type Wide: Number;
    /// The same task for a while.
    type Part<'b>: Task<Plan = Plan>
    where
        Self: 'b;

    /// The same task for a while.
    fn reborrow(&mut self) -> Self::Part<'_>;
    /// The first elements, and the rest if there is one.
    fn cut(self, middle: usize) -> (Self, Option<Self>);
    /// Updates an average by the parameters: by their master weights where they have any.
    fn update(&self, blend: Blend, level: Level, average: &mut [Self::Wide]);
}

/// A parameter of a step, and its average.
#[derive(Debug)]
pub struct Averaged<'a, S: Divisible> {
    /// The parameter: a [`Slot`], a [`Mixed`] or a [`Summed`].
    pub tensor: S,
    /// Its average.
    pub average: &'a mut [S::Wide],
    /// How it is updated.
    pub blend: Blend,
}

impl<S: Divisible> Task for Averaged<'_, S> {
    type Plan = Plan;

    fn bytes(&self) -> usize {
        self.tensor.bytes()
    }

    fn halve(self) -> (Self, Self) {
        let Averaged { tensor, average, blend } = self;
        let (average, average_rest) = average.split_at_mut(middle_of(average.len()));
        let (a, b) = tensor.halve();
        let rest = Averaged { tensor: b, average: average_rest, blend };
        (Averaged { tensor: a, average, blend }, rest)
    }

    fn run(self, plan: &Plan, level: Level) {
        let Averaged { tensor, average, blend } = self;
        let (mut rest, mut averages) = (Some(tensor), average.chunks_mut(PIECE));
        while let (Some(all), Some(average)) = (rest.take(), averages.next()) {
            let (mut piece, next) = all.cut(PIECE);
            piece.reborrow().run(plan, level);
            piece.update(blend, level, average);
            rest = next;
        }
    }
}

impl<H, B, T> Divisible for Slot<'_, H, B, T>
where
    H: Element<T> + Stored,
    B: Element<T>,
    T: Blocked,
{
    type Wide = H::Computed;
    type Part<'b>
        = Slot<'b, H, B, T>
    where
        Self: 'b;

    fn reborrow(&mut self) -> Slot<'_, H, B, T> {
        Slot::reborrow(self)
    }

    fn cut(self, middle: usize) -> (Self, Option<Self>) {
        Slot::cut(self, middle)
    }

    fn update(&self, blend: Blend, level: Level, average: &mut [H::Computed]) {
        blend.update(level, elements(&self.param.view()), average);
    }
}

impl Divisible for Mixed<'_> {
    type Wide = f32;
    type Part<'b>
        = Mixed<'b>
    where
        Self: 'b;

    fn reborrow(&mut self) -> Mixed<'_> {
        Mixed::reborrow(self)
    }

    fn cut(self, middle: usize) -> (Self, Option<Self>) {
        Mixed::cut(self, middle)
    }

    fn update(&self, blend: Blend, level: Level, average: &mut [f32]) {
        self.update_average(blend, level, average);
    }
}

impl<'a, H, B, T> Divisible for Summed<'a, Slot<'_, H, B, T>>
where
    H: Element<T> + Stored + Kind,
    B: Element<T>,
    T: Blocked,
{
    type Wide = H::Computed;
    type Part<'b>
        = Summed<'a, Slot<'b, H, B, T>>
    where
        Self: 'b;

    fn reborrow(&mut self) -> Summed<'a, Slot<'_, H, B, T>> {
        Summed { tensor: Slot::reborrow(&mut self.tensor), addends: self.addends }
    }

    fn cut(self, middle: usize) -> (Self, Option<Self>) {
        cut(self, middle, Slot::cut)
    }

    fn update(&self, blend: Blend, level: Level, average: &mut [H::Computed]) {
        self.tensor.update(blend, level, average);
    }
}

impl<'a> Divisible for Summed<'a, Mixed<'_>> {
    type Wide = f32;
    type Part<'b>
        = Summed<'a, Mixed<'b>>
    where
        Self: 'b;

    fn reborrow(&mut self) -> Summed<'a, Mixed<'_>> {
        Summed { tensor: Mixed::reborrow(&mut self.tensor), addends: self.addends }
    }

    fn cut(self, middle: usize) -> (Self, Option<Self>) {
        cut(self, middle, Mixed::cut)
    }

    fn update(&self, blend: Blend, level: Level, average: &mut [f32]) {
        self.tensor.update(blend, level, average);
    }
}

/// Cuts a parameter and what is added to its gradient.
fn cut<'a, S>(
    Summed { tensor, addends }: Summed<'a, S>,
    middle: usize,
    cut: impl FnOnce(S, usize) -> (S, Option<S>),
) -> (Summed<'a, S>, Option<Summed<'a, S>>) {
    let (tensor, rest) = cut(tensor, middle);
    let rest = rest.map(|tensor| Summed { tensor, addends: addends.after(middle) });
    (Summed { tensor, addends }, rest)
}
