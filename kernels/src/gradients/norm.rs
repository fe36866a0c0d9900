//! The norm of gradients, and whether they are finite.
//!
//! The sum of squares is taken in float64 in one order, whatever the SIMD level and the number of
//! threads: blocks of [`BLOCK`] elements, in each of them [`LANES`] sums of every so many elements.

use super::addends::Addends;
use super::view::{Kind, Read, dispatch};
use crate::config::Config;
use crate::dtype::{Stored, TILE};
use crate::error::Error;
use crate::lanes::{Number, Real};
use crate::parallel::PARALLEL_BYTES;
use crate::simd::Level;
use crate::views::elements;
use ndarray::ArrayView1;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Elements that are summed up by themselves.
pub const BLOCK: usize = 4096;
/// Sums that a block is divided into.
pub const LANES: usize = 16;

/// Blocks that a thread takes at a time: as many bytes as in a step.
const BLOCKS: usize = 16;

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

/// A gradient, and what is added to it.
#[derive(Clone, Copy, Debug)]
pub struct Sum<'a> {
    /// The gradient.
    pub gradient: Read<'a>,
    /// What is added to it.
    pub addends: Addends<'a>,
    /// Whether each sum is rounded to the type that the gradient is stored in.
    pub rounded: bool,
}

impl<'a> From<Read<'a>> for Sum<'a> {
    fn from(gradient: Read<'a>) -> Self {
        Sum { gradient, addends: Addends::default(), rounded: false }
    }
}

/// The total of each sum of gradients times `scale`.
///
/// # Errors
/// A gradient that is not contiguous.
pub fn totals(gradients: &[Sum<'_>], scale: f64, config: &Config) -> Result<Vec<Total>, Error> {
    let is_contiguous = |g: &Sum<'_>| dispatch!(&g.gradient, view => view.as_slice().is_some());
    if !gradients.iter().all(is_contiguous) {
        return Err(Error::Table("Cannot sum up a gradient that is not contiguous".to_owned()));
    }
    let level = config.level();
    let bytes: usize = gradients.iter().map(|g| dispatch!(&g.gradient, view => bytes(view))).sum();
    if config.threads() == 1 || bytes < PARALLEL_BYTES {
        return Ok(gradients.iter().map(|gradient| total(gradient, scale, level)).collect());
    }
    config.pool()?.install(|| {
        Ok(gradients.par_iter().map(|gradient| total_shared(gradient, scale, level)).collect())
    })
}

fn bytes<T>(view: &ArrayView1<'_, T>) -> usize {
    size_of::<T>() * view.len()
}

fn total(gradient: &Sum<'_>, scale: f64, level: Level) -> Total {
    blocks(gradient, scale, level, |count, block| {
        (0..count).map(block).fold(Total::NOTHING, Total::and)
    })
}

fn total_shared(gradient: &Sum<'_>, scale: f64, level: Level) -> Total {
    blocks(gradient, scale, level, |count, block| {
        let totals: Vec<Total> =
            (0..count).into_par_iter().with_min_len(BLOCKS).map(block).collect();
        totals.into_iter().fold(Total::NOTHING, Total::and)
    })
}

/// Calls a function with the number of blocks, and with the total of one of them.
fn blocks(
    sum: &Sum<'_>,
    scale: f64,
    level: Level,
    add_up: impl FnOnce(usize, &(dyn Fn(usize) -> Total + Sync)) -> Total,
) -> Total {
    let &Sum { addends, rounded, .. } = sum;
    let is_sum = !addends.is_empty();
    dispatch!(&sum.gradient, view => {
        let slice = elements(view);
        add_up(slice.len().div_ceil(BLOCK), &|index| {
            let from = index * BLOCK;
            let block = &slice[from..slice.len().min(from + BLOCK)];
            let added = is_sum.then(|| (addends.after(from), rounded));
            block_total(block, added, scale, level)
        })
    })
}

pub(crate) fn block_total<H: Stored + Kind>(
    block: &[H],
    added: Option<(Addends<'_>, bool)>,
    scale: f64,
    level: Level,
) -> Total {
    let factor = H::Computed::from_f64(scale);
    let mut finite = true;
    let mut lanes = [0.0; LANES];
    if let Some(values) = H::as_direct(block)
        && added.is_none()
    {
        lanes = level.run(AddSquares { lanes, values, factor });
        finite = is_finite(&lanes, values, factor);
    } else {
        let mut tile = [H::Computed::from_f64(0.0); TILE];
        for (index, part) in block.chunks(TILE).enumerate() {
            let values = &mut tile[..part.len()];
            H::load(level, part, values);
            if let Some((addends, rounded)) = added {
                addends.add::<H, H::Computed>(level, index * TILE, values, rounded);
            }
            lanes = level.run(AddSquares { lanes, values, factor });
            finite &= is_finite(&lanes, values, factor);
        }
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    Total { squares: lanes[0], finite }
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
        let (whole, rest) = values.as_chunks::<LANES>();
        for values in whole {
            for i in 0..LANES {
                lanes[i] = add_square::<S, T>(lanes[i], values[i], factor);
            }
        }
        for (sum, &value) in lanes.iter_mut().zip(rest) {
            *sum = add_square::<S, T>(*sum, value, factor);
        }
        lanes
    }
}

#[inline(always)]
fn add_square<S: Simd, T: Number>(sum: f64, value: T, factor: T) -> f64 {
    let value: f64 = (value * factor).into(); // a product with 1 is exact
    // The square of what was not a float64 is exact, so that it does not matter how it is added.
    let fused = const { size_of::<T>() < size_of::<f64>() && !S::IS_SCALAR };
    if fused { value.mul_add(value, sum) } else { sum + value * value }
}
