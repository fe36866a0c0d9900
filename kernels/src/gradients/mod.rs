//! Gradients outside of a step: their norm, and their multiplication in place; and their sums.

pub mod addends;
pub mod multiply;
pub mod norm;
pub(crate) mod view;

pub use view::{GradientView, Read, Write};
