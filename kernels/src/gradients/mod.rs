//! Gradients outside of a step: their norms, and their changes in place; and their sums.

pub mod addends;
pub mod change;
pub mod norm;
pub mod order;
pub(crate) mod view;

pub use view::{GradientView, Read, Write};
