//! The GPU path: tensors that live on a device, and the rule as a compute shader over them.
//!
//! [`Gpu`] is all that `ffi` needs. Work is queued in the order of the calls and the calls return at
//! once; only a [`pending::Pending`] waits.

pub mod arena;
pub mod asked;
pub mod chunks;
pub mod context;
mod device;
mod dispatch;
pub mod kernel;
mod layout;
pub mod pending;
pub mod pieces;
pub mod pipelines;
pub mod prepared;
pub mod queue;
pub mod request;
pub mod started;
pub mod step;
pub mod tensor;
pub mod timer;
pub mod timing;

pub use device::{Gpu, Traffic, Tuning};
pub use dispatch::View;
