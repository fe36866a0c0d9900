//! Gradients multiplied and clamped in place, to unscale and to clip them outside of a step.

use super::view::{Write, dispatch};
use crate::config::Config;
use crate::dtype::{Stored, TILE};
use crate::error::Error;
use crate::lanes::Real;
use crate::parallel::{self, Runner, Task, TaskList, both, middle_of};
use crate::simd::Level;
use crate::step::prepare::Preparation;
use crate::views::elements_mut;
use ndarray::{ArrayViewMut1, Axis};

/// A gradient and the index of its coefficient.
#[derive(Debug)]
pub struct Gradient<'a> {
    /// The elements, changed in place.
    pub values: Write<'a>,
    /// The index of the coefficient.
    pub group: usize,
}

/// What is done to gradients, in this order. Each factor is rounded to the type that is computed in.
#[derive(Clone, Debug)]
pub struct Changes {
    /// What all of them are multiplied by.
    pub scale: f64,
    /// What those of each group are multiplied by.
    pub coefficients: Vec<f64>,
    /// The largest magnitude of an element.
    pub limit: f64,
}

/// Changes each gradient.
///
/// # Errors
/// A group that does not exist, and a view with gaps. Nothing has then been written.
pub fn change_all(
    gradients: &mut [Gradient<'_>],
    changes: &Changes,
    config: &Config,
) -> Result<(), Error> {
    let mut bytes = 0;
    for (index, gradient) in gradients.iter().enumerate() {
        gradient.check(index, changes)?;
        bytes += gradient.bytes();
    }
    parallel::run(gradients, bytes, changes, config)
}

impl Gradient<'_> {
    /// Checks that the coefficient exists, and that the elements are contiguous.
    fn check(&self, index: usize, changes: &Changes) -> Result<(), Error> {
        if self.group >= changes.coefficients.len() {
            return fail(index, "its group does not exist");
        }
        if dispatch!(&self.values, view => view.as_slice().is_none()) {
            return fail(index, "its gradient is not contiguous");
        }
        Ok(())
    }
}

impl Task for Gradient<'_> {
    type Plan = Changes;

    fn bytes(&self) -> usize {
        dispatch!(&self.values, view => bytes(view))
    }

    fn halve(self) -> (Self, Self) {
        let group = self.group;
        let halves = dispatch!(self.values, wrap, view => {
            let middle = middle_of(view.len());
            both(view.split_at(Axis(0), middle), wrap)
        });
        both(halves, |values| Gradient { values, group })
    }

    fn run(self, changes: &Changes, level: Level) {
        let group = self.group;
        dispatch!(self.values, view => change(elements_mut(view), changes, group, level));
    }
}

impl TaskList for &mut [Gradient<'_>] {
    type Plan = Changes;

    fn count(&self) -> usize {
        self.len()
    }
    fn bytes(&self, index: usize) -> usize {
        Task::bytes(&self[index])
    }
    fn run(&mut self, index: usize, runner: &Runner<'_, Changes>) {
        let Gradient { values, group } = &mut self[index];
        let values = dispatch!(values, wrap, view => wrap(view.view_mut()));
        runner.run(Gradient { values, group: *group });
    }
    fn split(self, index: usize) -> (Self, Self) {
        self.split_at_mut(index)
    }
}

fn bytes<T>(view: &ArrayViewMut1<'_, T>) -> usize {
    size_of::<T>() * view.len()
}

fn change<H: Stored>(values: &mut [H], changes: &Changes, group: usize, level: Level) {
    let &Changes { scale, limit, .. } = changes;
    let coefficient = changes.coefficients[group];
    let preparation = Preparation::<H::Computed>::new(scale, coefficient, limit);
    let mut tile = [H::Computed::from_f64(0.0); TILE];
    for values in values.chunks_mut(TILE) {
        if let Some(direct) = H::direct(values) {
            preparation.run(level, direct);
            continue;
        }
        let tile = &mut tile[..values.len()];
        H::load(level, values, tile);
        preparation.run(level, tile);
        H::store(level, tile, values);
    }
}

fn fail(index: usize, what: &str) -> Result<(), Error> {
    Err(Error::Table(format!("Cannot change gradient {index} as {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    fn scaled(values: &mut [f16], factors: &[f64], config: &Config) -> Result<(), Error> {
        let values = Write::F16(ArrayViewMut1::from(values));
        let coefficients = factors.to_vec();
        let changes = Changes { scale: 1.0, coefficients, limit: f64::INFINITY };
        change_all(&mut [Gradient { values, group: 0 }][..], &changes, config)
    }

    #[test]
    fn every_element_is_multiplied_once_and_rounded_once_on_any_number_of_threads() {
        for (threads, n) in [(1, 0), (1, 1500), (2, 1500), (2, 300_001), (3, 1_000_001)] {
            let config = Config::new(Level::best(), threads);
            let mut values: Vec<f16> = (0..n).map(|i| f16::from_f32((i % 2048) as f32)).collect();
            scaled(&mut values, &[0.3], &config).unwrap();
            let right =
                |(i, &value): (usize, &f16)| value == f16::from_f32((i % 2048) as f32 * 0.3_f32);
            assert!(values.iter().enumerate().all(right), "{n} on {threads} threads");
        }
    }

    #[test]
    fn gradients_are_unscaled_clipped_by_norm_and_then_by_value() {
        let mut values = [3.0_f32, -100.0, 0.5, f32::NAN];
        let changes = Changes { scale: 0.3, coefficients: vec![9.0, 0.7], limit: 1.5 };
        let own = Write::F32(ArrayViewMut1::from(&mut values[..]));
        let mut gradients = [Gradient { values: own, group: 1 }];
        change_all(&mut gradients[..], &changes, &Config::new(Level::best(), 1)).unwrap();
        let product = |x: f32| x * 0.3_f32 * 0.7_f32;
        assert_eq!(values[..3], [product(3.0), -1.5, product(0.5)]);
        assert!(values[3].is_nan());
    }

    #[test]
    fn a_group_that_does_not_exist_is_an_error_and_nothing_is_changed() {
        let mut values = [f16::ONE];
        assert!(scaled(&mut values, &[], &Config::new(Level::best(), 1)).is_err());
        assert_eq!(values, [f16::ONE]);
    }
}
