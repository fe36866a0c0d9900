//! The native kernels of Descent, stochastic gradient descent for Deno.
//!
//! [`rule`] says what one step does to one element; [`sweep`] over slices and [`cpu`] over whole tensors with the
//! SIMD level chosen by [`simd`] and the threads kept by [`config`]; `gpu` (a feature, on by default)
//! runs it over tensors that live on a device; `ffi` is the only place where pointers come in.
//!
//! ```
//! use descent_kernels::cpu::{self, Slot, Tensor};
//! use descent_kernels::{config::Config, rule::Hyperparameters, sweep::Group};
//! use ndarray::array;
//!
//! let plain = Group::new(&Hyperparameters {
//!     lr: 0.5, momentum: 0.0, dampening: 0.0, weight_decay: 0.0,
//!     nesterov: false, maximize: false, sign: false,
//! });
//! let mut p = array![1.0_f32, 2.0];
//! let g = array![2.0_f32, -2.0];
//! let slot = Slot { param: p.view_mut(), grad: g.view(), buffer: None, first: true, group: 0 };
//! cpu::step(&mut [Tensor::F32(slot)][..], &[plain], &Config::default()).unwrap();
//! assert_eq!(p, array![0.0, 3.0]);
//! ```

pub mod config;
pub mod cpu;
pub mod element;
pub mod error;
mod ffi;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod gradient;
pub mod norm;
pub mod random;
pub mod roofline;
pub mod rule;
pub mod scale;
pub mod share;
pub mod simd;
pub mod sparse;
mod stage;
pub mod staged;
pub mod sweep;
pub mod vjp;
