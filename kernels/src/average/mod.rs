//! Averages of parameters over the steps of a training: what one update makes of each element.
//!
//! Averages are float32, and float64 of float64 parameters. [`Blend`] has the arithmetic of
//! `torch.optim.swa_utils`; [`task`] updates averages outside of a step, and `step::Averaged` in the
//! pass that steps the parameters.

pub mod task;

use crate::dtype::{Stored, TILE};
use crate::lanes::{self, Number, Real};
use crate::simd::Level;
use half::bf16;
use pulp::{Simd, WithSimd};

/// What an update makes of an average `a` and a value `v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Blend {
    /// `v`
    Copy,
    /// `a + weight * (v - a)` with a fused product, or from 1/2 on `v + (weight - 1) * (v - a)`, as
    /// `torch.lerp` has it. The weight is rounded to the type.
    Lerp(f64),
    /// `a + (v - a) / count`, where each operation is rounded: the mean of so many values.
    Mean(f64),
}

impl Blend {
    /// The update of a call row: with divisor 0 by the weight, otherwise the mean of so many values, which
    /// the first one begins.
    pub fn new(weight: f64, divisor: f64) -> Self {
        match divisor {
            0.0 => Blend::Lerp(weight),
            1.0 => Blend::Copy,
            _ => Blend::Mean(divisor),
        }
    }

    /// Updates an average by values of the same length.
    pub fn update<H: Stored>(self, level: Level, values: &[H], average: &mut [H::Computed]) {
        if let Some(direct) = H::as_direct(values) {
            return self.run(level, direct, average);
        }
        let mut tile = [H::Computed::from_f64(0.0); TILE];
        for (values, average) in values.chunks(TILE).zip(average.chunks_mut(TILE)) {
            let tile = &mut tile[..values.len()];
            H::load(level, values, tile);
            self.run(level, tile, average);
        }
    }

    /// Updates an average by split master weights: parameters and what is below them.
    pub fn update_split<L: Lower>(
        self,
        level: Level,
        params: &[bf16],
        lower: &[L],
        average: &mut [f32],
    ) {
        let mut tile = [0.0; TILE];
        let parts = params.chunks(TILE).zip(lower.chunks(TILE));
        for ((params, lower), average) in parts.zip(average.chunks_mut(TILE)) {
            let tile = &mut tile[..params.len()];
            level.run(Join { params, lower, to: tile });
            self.run(level, tile, average);
        }
    }

    fn run<T: Number>(self, level: Level, values: &[T], average: &mut [T]) {
        match self {
            Blend::Copy => average.copy_from_slice(values),
            Blend::Lerp(weight) => {
                let weight = T::from_f64(weight);
                let exact: f64 = weight.into();
                if exact.abs() < 0.5 {
                    each(level, values, average, |a, v| weight.mul_add(v - a, a));
                } else {
                    let factor = T::from_f64(exact - 1.0);
                    each(level, values, average, |a, v| factor.mul_add(v - a, v));
                }
            }
            Blend::Mean(count) => {
                let count = T::from_f64(count);
                each(level, values, average, |a, v| a + (v - a) / count);
            }
        }
    }
}

#[inline(always)]
fn each<T: Real>(level: Level, values: &[T], average: &mut [T], f: impl Fn(T, T) -> T) {
    lanes::run::<T, _>(level, Each { values, average, f });
}

/// A function of each average and value. The compiler makes vectors of the loop.
struct Each<'a, T, F> {
    values: &'a [T],
    average: &'a mut [T],
    f: F,
}

impl<T: Copy, F: Fn(T, T) -> T> WithSimd for Each<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (average, &value) in self.average.iter_mut().zip(self.values) {
            *average = (self.f)(*average, value);
        }
    }
}

/// What a split master weight has below its parameter.
pub trait Lower: Copy + Send + Sync {
    /// The correction in units of the last bit of a float32.
    fn units(self) -> i32;
}

impl Lower for i16 {
    #[inline(always)]
    fn units(self) -> i32 {
        i32::from(self)
    }
}

impl Lower for i8 {
    #[inline(always)]
    fn units(self) -> i32 {
        256 * i32::from(self)
    }
}

/// Joins split master weights.
struct Join<'a, L> {
    params: &'a [bf16],
    lower: &'a [L],
    to: &'a mut [f32],
}

impl<L: Lower> WithSimd for Join<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for ((to, param), lower) in self.to.iter_mut().zip(self.params).zip(self.lower) {
            let upper = u32::from(param.to_bits()) << 16;
            let master = f32::from_bits(upper.wrapping_add_signed(lower.units()));
            // A correction that belongs to another parameter must not make NaN of a number.
            *to = if master.is_nan() { f32::from_bits(upper) } else { master };
        }
    }
}
