//! The rule's arithmetic on the vectors of a block.

use crate::lanes::{Lanes, Real};
use crate::registers::each;
use crate::rule::Arithmetic;
use pulp::Simd;

/// The arithmetic of `K` vectors.
#[derive(Clone, Copy)]
pub(super) struct Vectors<S, const K: usize>(pub S);

impl<S: Simd, const K: usize> Vectors<S, K> {
    #[inline(always)]
    fn lanes(self) -> Lanes<S, f32> {
        f32::arithmetic(self.0)
    }
}

impl<S: Simd, const K: usize> Arithmetic for Vectors<S, K> {
    type Value = [S::f32s; K];

    #[inline(always)]
    fn mul(self, a: Self::Value, b: Self::Value) -> Self::Value {
        each!(K, i => self.lanes().mul(a[i], b[i]))
    }
    #[inline(always)]
    fn fma(self, a: Self::Value, b: Self::Value, c: Self::Value) -> Self::Value {
        each!(K, i => self.lanes().fma(a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn sign(self, a: Self::Value) -> Self::Value {
        each!(K, i => self.lanes().sign(a[i]))
    }
}
