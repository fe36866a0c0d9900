//! How parameters, gradients and momentum are stored that are computed with in float32: conversions of
//! a block of elements in registers.

pub(crate) mod dither;
pub mod momentum8;
pub(crate) mod split;
pub(crate) mod words;
