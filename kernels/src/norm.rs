//! The norm of gradients, and whether they are finite.
//!
//! The sum of squares is taken in float64 in one order, whatever the SIMD level and the number of
//! threads: blocks of [`BLOCK`] elements, in each of them [`LANES`] sums of every so many elements.

use crate::config::Config;
use crate::element::{Element, STAGE};
use crate::error::Error;
use crate::rule::Real;
use crate::share::PARALLEL_BYTES;
use crate::simd::Level;
use half::{bf16, f16};
use ndarray::ArrayView1;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Mul;

/// Elements that are summed up by themselves.
pub const BLOCK: usize = 4096;
/// Sums that a block is divided into.
pub const LANES: usize = 16;

/// A gradient of any supported type, contiguous.
#[derive(Clone, Copy, Debug)]
pub enum Gradient<'a> {
    /// float32
    F32(ArrayView1<'a, f32>),
    /// float64
    F64(ArrayView1<'a, f64>),
    /// float16
    F16(ArrayView1<'a, f16>),
    /// bfloat16
    Bf16(ArrayView1<'a, bf16>),
}

/// What is known of gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Total {
    /// The sum of their squares.
    pub squares: f64,
    /// Whether all of them are finite; what is not finite before scaling is not afterwards.
    pub finite: bool,
}

impl Total {
    /// That of no gradients.
    pub const NOTHING: Total = Total { squares: 0.0, finite: true };

    /// This, and what comes after it.
    pub fn and(self, next: Total) -> Total {
        Total { squares: self.squares + next.squares, finite: self.finite && next.finite }
    }
}

/// The total of each gradient times `scale`.
///
/// # Errors
/// A gradient that is not contiguous.
pub fn totals(
    gradients: &[Gradient<'_>],
    scale: f64,
    config: &Config,
) -> Result<Vec<Total>, Error> {
    if !gradients.iter().all(Gradient::is_contiguous) {
        return Err(Error::Table("Cannot sum up a gradient that is not contiguous".to_owned()));
    }
    let level = config.level();
    let bytes: usize = gradients.iter().map(Gradient::bytes).sum();
    if config.threads() == 1 || bytes < PARALLEL_BYTES {
        return Ok(gradients.iter().map(|gradient| gradient.total(scale, level)).collect());
    }
    config.pool()?.install(|| {
        Ok(gradients.par_iter().map(|gradient| gradient.total_shared(scale, level)).collect())
    })
}

macro_rules! each_type {
    ($gradient:expr, $view:ident => $body:expr) => {
        match $gradient {
            Gradient::F32($view) => $body,
            Gradient::F64($view) => $body,
            Gradient::F16($view) => $body,
            Gradient::Bf16($view) => $body,
        }
    };
}

impl Gradient<'_> {
    fn is_contiguous(&self) -> bool {
        each_type!(self, view => view.as_slice().is_some())
    }

    fn bytes(&self) -> usize {
        each_type!(self, view => size_of_val(view.as_slice().unwrap_or_default()))
    }

    fn total(&self, scale: f64, level: Level) -> Total {
        self.blocks(scale, level, |count, block| {
            (0..count).map(block).fold(Total::NOTHING, Total::and)
        })
    }

    fn total_shared(&self, scale: f64, level: Level) -> Total {
        self.blocks(scale, level, |count, block| {
            let totals: Vec<Total> =
                (0..count).into_par_iter().with_min_len(8).map(block).collect();
            totals.into_iter().fold(Total::NOTHING, Total::and)
        })
    }

    /// Calls a function with the number of blocks, and with the total of one of them.
    fn blocks(
        &self,
        scale: f64,
        level: Level,
        add_up: impl FnOnce(usize, &(dyn Fn(usize) -> Total + Sync)) -> Total,
    ) -> Total {
        match self {
            Gradient::F32(view) => blocks::<f32, f32>(view, scale, level, add_up),
            Gradient::F64(view) => blocks::<f64, f64>(view, scale, level, add_up),
            Gradient::F16(view) => blocks::<f16, f32>(view, scale, level, add_up),
            Gradient::Bf16(view) => blocks::<bf16, f32>(view, scale, level, add_up),
        }
    }
}

fn blocks<H: Element<T>, T: Number>(
    view: &ArrayView1<'_, H>,
    scale: f64,
    level: Level,
    add_up: impl FnOnce(usize, &(dyn Fn(usize) -> Total + Sync)) -> Total,
) -> Total {
    let slice = view.as_slice().unwrap_or_default();
    let factor = T::from_f64(scale);
    add_up(slice.len().div_ceil(BLOCK), &|index| {
        let from = index * BLOCK;
        let block = &slice[from..slice.len().min(from + BLOCK)];
        block_total::<H, T>(block, factor, level)
    })
}

/// A type that gradients are computed with.
trait Number: Real + Into<f64> + Mul<Output = Self> {}
impl<T: Real + Into<f64> + Mul<Output = T>> Number for T {}

fn block_total<H: Element<T>, T: Number>(block: &[H], factor: T, level: Level) -> Total {
    let mut sums = Total { squares: 0.0, finite: true };
    let mut lanes = [0.0; LANES];
    if let Some(values) = H::as_direct(block) {
        lanes = level.run(AddSquares { lanes, values, factor });
        sums.finite = is_finite(&lanes, values, factor);
    } else {
        let mut stage = [T::from_f64(0.0); STAGE];
        for part in block.chunks(STAGE) {
            let values = &mut stage[..part.len()];
            H::load(level, part, values);
            lanes = level.run(AddSquares { lanes, values, factor });
            sums.finite &= is_finite(&lanes, values, factor);
        }
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    Total { squares: lanes[0], ..sums }
}

/// Whether values are finite, given sums of their squares: those of float64 overflow, all others do
/// not. Only then are the values looked at.
fn is_finite<T: Number>(lanes: &[f64; LANES], values: &[T], factor: T) -> bool {
    lanes.iter().all(|sum| sum.is_finite())
        || values.iter().all(|&value| (value * factor).into().is_finite())
}

/// Adds the square of every 16th value to one sum.
struct AddSquares<'a, T> {
    lanes: [f64; LANES],
    values: &'a [T],
    factor: T,
}

impl<T: Number> WithSimd for AddSquares<'_, T> {
    type Output = [f64; LANES];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; LANES] {
        let AddSquares { mut lanes, values, factor } = self;
        let square = |value: T| {
            let value: f64 = (value * factor).into(); // a product with 1 is exact
            value * value
        };
        let (whole, rest) = values.as_chunks::<LANES>();
        for values in whole {
            let squares: [f64; LANES] = std::array::from_fn(|i| square(values[i]));
            for i in 0..LANES {
                lanes[i] += squares[i];
            }
        }
        lanes.iter_mut().zip(rest).for_each(|(sum, &value)| *sum += square(value));
        lanes
    }
}
