//! The orders of a norm: what each element adds to it.

use crate::error::Error;
use crate::lanes::Number;
use pulp::Simd;

/// Which norm of gradients is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The sum of magnitudes.
    One,
    /// The root of the sum of squares.
    Two,
    /// The largest magnitude; NaN if an element is.
    Infinity,
}

impl Order {
    /// The order of a number: 1, 2, or 0 for infinity.
    ///
    /// # Errors
    /// Any other number.
    pub fn of(number: u32) -> Result<Self, Error> {
        match number {
            0 => Ok(Order::Infinity),
            1 => Ok(Order::One),
            2 => Ok(Order::Two),
            _ => Err(Error::Table(format!("Cannot measure as there is no norm of order {number}"))),
        }
    }

    /// Puts the measures of two parts together.
    pub fn join(self, a: f64, b: f64) -> f64 {
        match self {
            Order::One => Magnitudes::join(a, b),
            Order::Two => Squares::join(a, b),
            Order::Infinity => Largest::join(a, b),
        }
    }
}

/// What is measured of elements, as types, so that each has a loop of its own.
pub(crate) trait Measure: Copy + Send + Sync {
    /// A measure with one more element of type `T`.
    fn include<S: Simd, T: Number>(self, so_far: f64, value: f64) -> f64;
    /// That of two parts.
    fn join(a: f64, b: f64) -> f64;
}

#[derive(Clone, Copy)]
pub(crate) struct Squares;

impl Measure for Squares {
    #[inline(always)]
    fn include<S: Simd, T: Number>(self, sum: f64, value: f64) -> f64 {
        // The square of what was not a float64 is exact, so that it does not matter how it is added.
        let fused = const { size_of::<T>() < size_of::<f64>() && !S::IS_SCALAR };
        if fused { value.mul_add(value, sum) } else { sum + value * value }
    }

    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        a + b
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Magnitudes;

impl Measure for Magnitudes {
    #[inline(always)]
    fn include<S: Simd, T: Number>(self, sum: f64, value: f64) -> f64 {
        sum + value.abs()
    }

    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        a + b
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Largest;

impl Measure for Largest {
    #[inline(always)]
    fn include<S: Simd, T: Number>(self, most: f64, value: f64) -> f64 {
        Self::join(most, value.abs())
    }

    /// The larger one, or NaN if one of them is, unlike `f64::max`.
    #[inline(always)]
    fn join(a: f64, b: f64) -> f64 {
        if b > a || b.is_nan() { b } else { a }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_two_is_nan_if_one_of_them_is() {
        for (a, b) in [(f64::NAN, 1.0), (1.0, f64::NAN), (f64::NAN, f64::INFINITY)] {
            assert!(Order::Infinity.join(a, b).is_nan(), "{a} and {b}");
        }
        assert_eq!(Order::Infinity.join(2.0, 1.0), 2.0);
    }

    #[test]
    fn other_orders_are_refused() {
        assert!(Order::of(3).unwrap_err().to_string().contains("no norm of order 3"));
    }
}
