//! The error for a tensor that cannot be stepped.

use crate::error::Error;

/// The error for a tensor that cannot be stepped.
#[cold]
pub(crate) fn fail(index: usize, what: &str) -> Error {
    Error::Table(format!("Cannot step tensor {index} as {what}"))
}
