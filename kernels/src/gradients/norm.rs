//! What norms of gradients are made of, and whether gradients are finite.
//!
//! Sums are taken in float64 in one order, whatever the SIMD level and the number of threads: blocks of
//! [`BLOCK`] elements, in each of them [`LANES`] sums of every so many elements.

use super::addends::Addends;
use super::order::{Largest, Magnitudes, Measure, Order, Squares};
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

/// Elements that are measured by themselves.
pub const BLOCK: usize = 4096;
/// Sums that a block is divided into.
pub const LANES: usize = 16;

/// Blocks that a thread takes at a time: as many bytes as in a step.
const BLOCKS: usize = 16;

/// What is known of gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Total {
    /// The sum of their squares or of their magnitudes, or the largest magnitude.
    pub measure: f64,
    /// Whether all of them are finite; what is not finite before scaling is not afterwards.
    pub finite: bool,
}

impl Total {
    /// That of no gradients.
    pub const NOTHING: Total = Total { measure: 0.0, finite: true };

    /// This, and what comes after it.
    pub(crate) fn and<M: Measure>(self, next: Total) -> Total {
        let measure = M::join(self.measure, next.measure);
        Total { measure, finite: self.finite && next.finite }
    }

    /// The same for a norm of some order.
    #[cfg(feature = "mpi")]
    pub(crate) fn join(self, order: Order, next: Total) -> Total {
        match order {
            Order::One => self.and::<Magnitudes>(next),
            Order::Two => self.and::<Squares>(next),
            Order::Infinity => self.and::<Largest>(next),
        }
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

/// How gradients are measured.
#[derive(Clone, Copy)]
pub(crate) struct How<M> {
    pub(crate) measure: M,
    pub(crate) scale: f64,
    pub(crate) level: Level,
}

/// The total of each sum of gradients times `scale`, for a norm of some order.
///
/// # Errors
/// A gradient that is not contiguous.
pub fn totals(
    gradients: &[Sum<'_>],
    scale: f64,
    order: Order,
    config: &Config,
) -> Result<Vec<Total>, Error> {
    let is_contiguous = |g: &Sum<'_>| dispatch!(&g.gradient, view => view.as_slice().is_some());
    if !gradients.iter().all(is_contiguous) {
        return Err(Error::Table("Cannot sum up a gradient that is not contiguous".to_owned()));
    }
    match order {
        Order::One => measure_all(gradients, how(Magnitudes, scale, config), config),
        Order::Two => measure_all(gradients, how(Squares, scale, config), config),
        Order::Infinity => measure_all(gradients, how(Largest, scale, config), config),
    }
}

fn how<M>(measure: M, scale: f64, config: &Config) -> How<M> {
    How { measure, scale, level: config.level() }
}

fn measure_all<M: Measure>(
    gradients: &[Sum<'_>],
    how: How<M>,
    config: &Config,
) -> Result<Vec<Total>, Error> {
    let bytes: usize = gradients.iter().map(|g| dispatch!(&g.gradient, view => bytes(view))).sum();
    if config.threads() == 1 || bytes < PARALLEL_BYTES {
        return Ok(gradients.iter().map(|gradient| total(gradient, how)).collect());
    }
    config
        .pool()?
        .install(|| Ok(gradients.par_iter().map(|gradient| total_shared(gradient, how)).collect()))
}

fn bytes<T>(view: &ArrayView1<'_, T>) -> usize {
    size_of::<T>() * view.len()
}

fn total<M: Measure>(gradient: &Sum<'_>, how: How<M>) -> Total {
    blocks(gradient, how, |count, block| {
        (0..count).map(block).fold(Total::NOTHING, Total::and::<M>)
    })
}

fn total_shared<M: Measure>(gradient: &Sum<'_>, how: How<M>) -> Total {
    blocks(gradient, how, |count, block| {
        let totals: Vec<Total> =
            (0..count).into_par_iter().with_min_len(BLOCKS).map(block).collect();
        totals.into_iter().fold(Total::NOTHING, Total::and::<M>)
    })
}

/// Calls a function with the number of blocks, and with the total of one of them.
fn blocks<M: Measure>(
    sum: &Sum<'_>,
    how: How<M>,
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
            block_total(block, added, how)
        })
    })
}

pub(crate) fn block_total<M: Measure, H: Stored + Kind>(
    block: &[H],
    added: Option<(Addends<'_>, bool)>,
    How { measure, scale, level }: How<M>,
) -> Total {
    let factor = H::Computed::from_f64(scale);
    let mut finite = true;
    let mut lanes = [0.0; LANES];
    if let Some(values) = H::as_direct(block)
        && added.is_none()
    {
        lanes = level.run(Include { measure, lanes, values, factor });
        finite = is_finite(&lanes, values, factor);
    } else {
        let mut tile = [H::Computed::from_f64(0.0); TILE];
        for (index, part) in block.chunks(TILE).enumerate() {
            let values = &mut tile[..part.len()];
            H::load(level, part, values);
            if let Some((addends, rounded)) = added {
                addends.add::<H, H::Computed>(level, index * TILE, values, rounded);
            }
            lanes = level.run(Include { measure, lanes, values, factor });
            finite &= is_finite(&lanes, values, factor);
        }
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] = M::join(lanes[i], lanes[i + half]);
        }
    }
    Total { measure: lanes[0], finite }
}

/// Whether values are finite, given what has been measured of them: sums of float64 overflow, all
/// others do not. Only then are the values looked at.
fn is_finite<T: Number>(lanes: &[f64; LANES], values: &[T], factor: T) -> bool {
    lanes.iter().all(|sum| sum.is_finite())
        || values.iter().all(|&value| (value * factor).into().is_finite())
}

/// Includes every 16th value in one of the lanes.
struct Include<'a, M, T> {
    measure: M,
    lanes: [f64; LANES],
    values: &'a [T],
    factor: T,
}

impl<M: Measure, T: Number> WithSimd for Include<'_, M, T> {
    type Output = [f64; LANES];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; LANES] {
        let Include { measure, mut lanes, values, factor } = self;
        let (whole, rest) = values.as_chunks::<LANES>();
        for values in whole {
            for i in 0..LANES {
                lanes[i] = include::<S, M, T>(measure, lanes[i], values[i], factor);
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(rest) {
            *lane = include::<S, M, T>(measure, *lane, value, factor);
        }
        lanes
    }
}

#[inline(always)]
fn include<S: Simd, M: Measure, T: Number>(measure: M, so_far: f64, value: T, factor: T) -> f64 {
    measure.include::<S, T>(so_far, (value * factor).into()) // a product with 1 is exact
}
