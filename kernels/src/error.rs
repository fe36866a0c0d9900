//! What can go wrong behind the boundary, and the number that each kind crosses it as.

use std::fmt;

/// A failure of the native library.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// A setting from the environment that is not valid.
    Setting(String),
    /// A table or tensor that does not fit the call.
    Table(String),
    /// A panic that was stopped at the boundary.
    Panic(String),
}

impl Error {
    /// The status that stands for this kind of error; 0 is success.
    pub fn status(&self) -> i32 {
        match self {
            Error::Setting(_) => 1,
            Error::Table(_) => 2,
            Error::Panic(_) => 3,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Setting(text) | Error::Table(text) => f.write_str(text),
            Error::Panic(text) => write!(f, "panic in the native library: {text}"),
        }
    }
}

impl std::error::Error for Error {}
