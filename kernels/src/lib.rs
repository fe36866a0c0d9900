//! The native kernels of Descent, stochastic gradient descent for Deno.
//!
//! [`rule`] defines what one step does to one element. [`step`] applies it to whole tensors, [`sparse`]
//! to matrices of which some rows have a gradient, [`average`] averages parameters over steps, and [`vjp`]
//! goes back through one. [`formats`] says how
//! numbers are stored in fewer bits, and [`registers`] converts them. [`simd`] chooses the instructions, [`config`] keeps the threads, and [`parallel`] splits the work between them. `gpu` (a
//! feature, on by default) steps tensors that live on a device, and `world` (the feature `mpi`, on by
//! default) reaches other processes. `ffi` is the only place where pointers
//! come in.
//!
//! ```
//! use descent_kernels::step::{self, Call, Plan, Slot, Tensor};
//! use descent_kernels::{config::Config, rule::Hyperparameters};
//! use ndarray::array;
//!
//! let plain = Hyperparameters {
//!     lr: 0.5, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, decoupled_weight_decay: false,
//!     nesterov: false, maximize: false, sign: false,
//! };
//! let plan = Plan::new(&[(plain, 1.0)], &Call::NEUTRAL);
//! let mut p = array![1.0_f32, 2.0];
//! let g = array![2.0_f32, -2.0];
//! let slot = Slot::new(p.view_mut(), g.view(), None);
//! step::step(&mut [Tensor::F32(slot)][..], &plan, &Config::default()).unwrap();
//! assert_eq!(p, array![0.0, 3.0]);
//! ```

pub mod average;
pub mod config;
pub mod dtype;
pub mod error;
mod ffi;
pub mod formats;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod gradients;
pub mod lanes;
pub mod launcher;
pub mod parallel;
pub mod random;
pub mod registers;
pub mod roofline;
pub mod rule;
pub mod simd;
pub mod sparse;
pub mod step;
mod views;
pub mod vjp;
#[cfg(feature = "mpi")]
pub mod world;
