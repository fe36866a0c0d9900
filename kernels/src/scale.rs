//! Gradients multiplied in place, to clip their norm outside of a step.

use crate::config::Config;
use crate::cpu::{both, fail};
use crate::element::{Element, STAGE};
use crate::error::Error;
use crate::gradient::Preparation;
use crate::rule::Real;
use crate::share::{self, Tensors, Work, middle_of};
use crate::simd::Level;
use half::{bf16, f16};
use ndarray::{ArrayViewMut1, Axis};

/// A gradient of any supported type, contiguous.
#[derive(Debug)]
pub enum Values<'a> {
    /// float32
    F32(ArrayViewMut1<'a, f32>),
    /// float64
    F64(ArrayViewMut1<'a, f64>),
    /// float16
    F16(ArrayViewMut1<'a, f16>),
    /// bfloat16
    Bf16(ArrayViewMut1<'a, bf16>),
}

/// A gradient and the index of its factor.
#[derive(Debug)]
pub struct Gradient<'a> {
    /// The elements, multiplied in place.
    pub values: Values<'a>,
    /// The index of the factor.
    pub group: usize,
}

/// Multiplies each gradient by the factor of its group, rounded to the type that is computed in.
///
/// # Errors
/// A group that does not exist, and a view with gaps. Nothing has then been written.
pub fn scale<T>(gradients: T, factors: &[f64], config: &Config) -> Result<(), Error>
where
    T: Tensors<Plan = [f64]>,
{
    share::run(gradients, factors, config)
}

macro_rules! each_type {
    ($values:expr, $view:ident => $body:expr) => {
        match $values {
            Values::F32($view) => $body,
            Values::F64($view) => $body,
            Values::F16($view) => $body,
            Values::Bf16($view) => $body,
        }
    };
}

impl Work for Gradient<'_> {
    type Plan = [f64];

    fn bytes(&self) -> usize {
        each_type!(&self.values, view => size_of_val(view.as_slice().unwrap_or_default()))
    }

    fn check(&self, index: usize, factors: &[f64]) -> Result<(), Error> {
        if self.group >= factors.len() {
            return fail(index, "its group does not exist");
        }
        if each_type!(&self.values, view => view.as_slice().is_none()) {
            return fail(index, "its gradient is not contiguous");
        }
        Ok(())
    }

    fn halve(self) -> (Self, Self) {
        let group = self.group;
        let (a, b) = match self.values {
            Values::F32(view) => both(halves(view), Values::F32),
            Values::F64(view) => both(halves(view), Values::F64),
            Values::F16(view) => both(halves(view), Values::F16),
            Values::Bf16(view) => both(halves(view), Values::Bf16),
        };
        (Gradient { values: a, group }, Gradient { values: b, group })
    }

    fn sweep(self, factors: &[f64], level: Level) {
        let factor = factors[self.group];
        match self.values {
            Values::F32(view) => multiply::<f32, f32>(view, factor, level),
            Values::F64(view) => multiply::<f64, f64>(view, factor, level),
            Values::F16(view) => multiply::<f16, f32>(view, factor, level),
            Values::Bf16(view) => multiply::<bf16, f32>(view, factor, level),
        }
    }
}

fn halves<H>(view: ArrayViewMut1<'_, H>) -> (ArrayViewMut1<'_, H>, ArrayViewMut1<'_, H>) {
    let middle = middle_of(view.len());
    view.split_at(Axis(0), middle)
}

fn multiply<H: Element<T>, T: Real>(view: ArrayViewMut1<'_, H>, factor: f64, level: Level) {
    let preparation = Preparation::<T>::new(1.0, factor, f64::INFINITY);
    let mut stage = [T::from_f64(0.0); STAGE];
    for values in view.into_slice().unwrap_or_default().chunks_mut(STAGE) {
        if let Some(direct) = H::direct(values) {
            preparation.run(level, direct);
            continue;
        }
        let stage = &mut stage[..values.len()];
        H::load(level, values, stage);
        preparation.run(level, stage);
        H::store(level, stage, values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One gradient, as a list.
    struct One<'a>(&'a mut [f16]);

    impl Tensors for One<'_> {
        type Work<'a>
            = Gradient<'a>
        where
            Self: 'a;
        type Plan = [f64];

        fn count(&self) -> usize {
            1
        }
        fn at(&mut self, _: usize) -> Option<Gradient<'_>> {
            Some(Gradient { values: Values::F16(ArrayViewMut1::from(&mut *self.0)), group: 0 })
        }
        fn split(self, _: usize) -> (Self, Self) {
            (self, One(&mut []))
        }
    }

    #[test]
    fn every_element_is_multiplied_once_and_rounded_once_on_any_number_of_threads() {
        for (threads, n) in [(1, 0), (1, 1500), (2, 1500), (2, 300_001), (3, 1_000_001)] {
            let config = Config::new(Level::best(), threads);
            let mut values: Vec<f16> = (0..n).map(|i| f16::from_f32((i % 2048) as f32)).collect();
            scale(One(&mut values), &[0.3], &config).unwrap();
            let right =
                |(i, &value): (usize, &f16)| value == f16::from_f32((i % 2048) as f32 * 0.3_f32);
            assert!(values.iter().enumerate().all(right), "{n} on {threads} threads");
        }
    }

    #[test]
    fn a_group_that_does_not_exist_is_an_error_and_nothing_is_changed() {
        let mut values = [f16::ONE];
        assert!(scale(One(&mut values), &[], &Config::new(Level::best(), 1)).is_err());
        assert_eq!(values, [f16::ONE]);
    }
}
