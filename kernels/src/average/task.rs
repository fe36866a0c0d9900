//! Averages that are updated outside of a step.

use super::{Blend, Lower};
use crate::dtype::Stored;
use crate::parallel::{Task, middle_of};
use crate::simd::Level;
use half::bf16;

/// The values of a parameter, and its average of the same length.
#[derive(Debug)]
pub struct Whole<'a, H: Stored> {
    /// The values.
    pub values: &'a [H],
    /// Their average.
    pub average: &'a mut [H::Computed],
}

impl<H: Stored> Task for Whole<'_, H> {
    type Plan = Blend;

    fn bytes(&self) -> usize {
        size_of_val(&*self.average)
    }

    fn halve(self) -> (Self, Self) {
        let middle = middle_of(self.values.len());
        let (values, values_rest) = self.values.split_at(middle);
        let (average, average_rest) = self.average.split_at_mut(middle);
        (Whole { values, average }, Whole { values: values_rest, average: average_rest })
    }

    fn run(self, blend: &Blend, level: Level) {
        blend.update(level, self.values, self.average);
    }
}

/// A bfloat16 parameter with corrections, and the average of the master weights that they make.
#[derive(Debug)]
pub struct Split<'a, L> {
    /// The parameter.
    pub params: &'a [bf16],
    /// The corrections.
    pub lower: &'a [L],
    /// The average.
    pub average: &'a mut [f32],
}

impl<L: Lower> Task for Split<'_, L> {
    type Plan = Blend;

    fn bytes(&self) -> usize {
        size_of_val(&*self.average)
    }

    fn halve(self) -> (Self, Self) {
        let middle = middle_of(self.params.len());
        let (params, params_rest) = self.params.split_at(middle);
        let (lower, lower_rest) = self.lower.split_at(middle);
        let (average, average_rest) = self.average.split_at_mut(middle);
        let rest = Split { params: params_rest, lower: lower_rest, average: average_rest };
        (Split { params, lower, average }, rest)
    }

    fn run(self, blend: &Blend, level: Level) {
        blend.update_split(level, self.params, self.lower, self.average);
    }
}
