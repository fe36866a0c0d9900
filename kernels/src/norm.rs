//! The norm of gradients, and whether they are finite.
//!
//! The sum of squares is taken in float64 in one order, whatever the SIMD level and the number of
//! threads: blocks of [`BLOCK`] elements, in each of them [`LANES`] sums of every so many elements.

use crate::config::Config;
use crate::element::Element;
use crate::error::Error;
use crate::gradient::Preparation;
use crate::rule::Real;
use crate::share::PARALLEL_BYTES;
use crate::simd::Level;
use half::{bf16, f16};
use ndarray::ArrayView1;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Elements that are summed up by themselves.
pub const BLOCK: usize = 4096;
/// Sums that a block is divided into.
pub const LANES: usize = 16;

/// Elements that are prepared at a time.
const STAGE: usize = 1 << 10;

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

fn blocks<H: Element<T>, T: Real + Into<f64>>(
    view: &ArrayView1<'_, H>,
    scale: f64,
    level: Level,
    add_up: impl FnOnce(usize, &(dyn Fn(usize) -> Total + Sync)) -> Total,
) -> Total {
    let slice = view.as_slice().unwrap_or_default();
    let preparation = Preparation::new(scale, 1.0, f64::INFINITY);
    add_up(slice.len().div_ceil(BLOCK), &|index| {
        let from = index * BLOCK;
        let block = &slice[from..slice.len().min(from + BLOCK)];
        block_total::<H, T>(block, &preparation, level)
    })
}

fn block_total<H: Element<T>, T: Real + Into<f64>>(
    block: &[H],
    preparation: &Preparation<T>,
    level: Level,
) -> Total {
    let mut lanes = [0.0; LANES];
    let mut finite = true;
    let mut stage = [T::from_f64(0.0); STAGE];
    for part in block.chunks(STAGE) {
        let stage = &mut stage[..part.len()];
        H::load(level, part, stage);
        preparation.run(level, stage);
        lanes = level.run(AddSquares { lanes, values: stage });
        // Squares of float64 overflow, all others do not: only then are elements looked at.
        let suspicious = !lanes.iter().all(|sum| sum.is_finite());
        finite &= !suspicious || stage.iter().all(|&value| value.into().is_finite());
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    Total { squares: lanes[0], finite }
}

/// Adds the square of every 16th element to one sum.
struct AddSquares<'a, T> {
    lanes: [f64; LANES],
    values: &'a [T],
}

impl<T: Copy + Into<f64>> WithSimd for AddSquares<'_, T> {
    type Output = [f64; LANES];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; LANES] {
        let AddSquares { mut lanes, values } = self;
        let (whole, rest) = values.as_chunks::<LANES>();
        for values in whole {
            for i in 0..LANES {
                add_square(&mut lanes[i], values[i]);
            }
        }
        lanes.iter_mut().zip(rest).for_each(|(sum, &value)| add_square(sum, value));
        lanes
    }
}

#[inline(always)]
fn add_square<T: Into<f64>>(sum: &mut f64, value: T) {
    let value = value.into();
    *sum += value * value;
}
