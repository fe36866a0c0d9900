//! The errors of the library, and the status with which each kind crosses the boundary.

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
    /// The GPU or its driver refused something, or the device is lost.
    Gpu(String),
    /// There is no GPU, or no library of MPI, to open.
    Unavailable(String),
    /// The device has no memory left.
    Memory(String),
    /// The ranks of a job cannot do something together.
    World(String),
}

impl Error {
    /// The status that stands for this kind of error; 0 is success.
    pub fn status(&self) -> i32 {
        match self {
            Error::Setting(_) => 1,
            Error::Table(_) => 2,
            Error::Panic(_) => 3,
            Error::Gpu(_) => 4,
            Error::Unavailable(_) => 5,
            Error::Memory(_) => 6,
            Error::World(_) => 7,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Setting(text)
            | Error::Table(text)
            | Error::Gpu(text)
            | Error::Unavailable(text)
            | Error::Memory(text)
            | Error::World(text) => f.write_str(text),
            Error::Panic(text) => write!(f, "panic in the native library: {text}"),
        }
    }
}

impl std::error::Error for Error {}
