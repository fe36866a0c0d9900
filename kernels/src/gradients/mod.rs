//! Gradients outside of a step: their norm, and their multiplication in place.

pub mod multiply;
pub mod norm;
pub(crate) mod view;

pub use view::{GradientView, Read, Write};
