//! The way back through a step: its vector-Jacobian product, written once for every native path.
//!
//! With the names of [`crate::rule`], `q` the new parameter, `c` the new buffer, and `dx` the
//! derivative of some loss with respect to `x`:
//!
//! ```text
//! du <- sign ? 0 : -lr * dq
//! if momentum != 0:
//!     dc <- dc + (nesterov ? momentum * du : du)
//!     dg <- (first ? dc : (1 - dampening) * dc) + (nesterov ? du : 0)
//!     db <- first ? none : momentum * dc
//! else dg <- du, db <- dc
//! dp <- decoupled ? (1 - lr * weight_decay) * dq : dq + weight_decay * dg
//! dg <- maximize ? -dg : dg
//!
//! d lr           <- sum of -dq * u, or with sign of -dq * sign(u)
//! d momentum     <- sum of (first ? 0 : dc * b) + (nesterov ? du * c : 0); 0 without momentum
//! d dampening    <- sum of -dc * g at later steps, with the g that weight decay leaves
//! d weight_decay <- sum of dg * p
//!
//! with decoupled weight decay, and the sum of dq * p:
//! d lr           <- as above, - weight_decay * sum
//! d weight_decay <- -lr * sum
//! ```
//!
//! Elements are computed in their own type, with `u`, `g` and `c` rounded as the step rounded them.
//! The four sums are taken in float64, over chunks of fixed length and in a fixed order, so that
//! neither the number of threads nor the SIMD level changes a bit of them.

mod rule;

use crate::config::Config;
use crate::error::Error;
use crate::lanes::Number;
use crate::parallel::PARALLEL_BYTES;
use crate::rule::{Factors, Hyperparameters, Lines, decay, momentum};
use crate::simd::Level;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
pub use rule::Sums;
use rule::{element, finish};

/// Elements of which a partial sum is taken.
pub const CHUNK: usize = 4096;

/// Running sums of a chunk, which are added up last.
pub const LANES: usize = 8;

/// One tensor: what the step read, the cotangents of what it wrote, and where the results go. All
/// of one length, but for what is said to be empty.
#[derive(Debug)]
pub struct Pullback<'a, T> {
    /// The parameter before the step.
    pub param: &'a [T],
    /// Its gradient.
    pub grad: &'a [T],
    /// The momentum buffer before the step; empty at a first step and without momentum.
    pub buffer: &'a [T],
    /// The derivative with respect to the parameter after the step.
    pub param_cotangent: &'a [T],
    /// The derivative with respect to the buffer after the step; empty without momentum.
    pub buffer_cotangent: &'a [T],
    /// Receives the derivative with respect to the parameter before the step.
    pub d_param: &'a mut [T],
    /// Receives the derivative with respect to the gradient.
    pub d_grad: &'a mut [T],
    /// Receives the derivative with respect to the buffer before the step; empty where `buffer` is.
    pub d_buffer: &'a mut [T],
}

/// A tensor of any supported type.
#[derive(Debug)]
pub enum Tensor<'a> {
    /// float32
    F32(Pullback<'a, f32>),
    /// float64
    F64(Pullback<'a, f64>),
}

/// Goes back through one step of all tensors. All checks come before the first write.
///
/// # Errors
/// Lengths that differ, or a buffer that is missing.
pub fn pull_back(
    tensors: Vec<Tensor<'_>>,
    h: &Hyperparameters,
    config: &Config,
) -> Result<Sums, Error> {
    let mut bytes = 0;
    for (number, tensor) in tensors.iter().enumerate() {
        bytes += match tensor {
            Tensor::F32(pullback) => pullback.check(number, h)? * size_of::<f32>(),
            Tensor::F64(pullback) => pullback.check(number, h)? * size_of::<f64>(),
        };
    }
    let level = config.level();
    let mut chunks = Vec::new();
    for tensor in tensors {
        match tensor {
            Tensor::F32(pullback) => pullback.cut(Tensor::F32, &mut chunks),
            Tensor::F64(pullback) => pullback.cut(Tensor::F64, &mut chunks),
        }
    }
    let run = |chunk: Tensor<'_>| match chunk {
        Tensor::F32(chunk) => choose(chunk, h, level),
        Tensor::F64(chunk) => choose(chunk, h, level),
    };
    let parts: Vec<Sums> = if config.threads() == 1 || bytes < PARALLEL_BYTES {
        chunks.into_iter().map(run).collect()
    } else {
        config.pool()?.install(|| chunks.into_par_iter().map(run).collect())
    };
    let add = |sums: Sums, part: &Sums| std::array::from_fn(|k| sums[k] + part[k]);
    Ok(finish(h, parts.iter().fold([0.0; 4], add)))
}

impl<'a, T> Pullback<'a, T> {
    /// Returns the number of elements.
    fn check(&self, number: usize, h: &Hyperparameters) -> Result<usize, Error> {
        let n = self.param.len();
        let fits = |length: usize| length == n;
        let optional = |length: usize| length == n || length == 0;
        let buffered = if h.momentum == 0.0 { 0 } else { n };
        let good = fits(self.grad.len())
            && fits(self.param_cotangent.len())
            && fits(self.d_param.len())
            && fits(self.d_grad.len())
            && optional(self.buffer.len())
            && self.buffer.len() <= buffered
            && self.d_buffer.len() == self.buffer.len()
            && self.buffer_cotangent.len() == buffered;
        if good {
            return Ok(n);
        }
        Err(Error::Table(format!("Cannot go back through tensor {number} as its lengths differ")))
    }

    fn cut(self, wrap: impl Fn(Pullback<'a, T>) -> Tensor<'a>, chunks: &mut Vec<Tensor<'a>>) {
        let mut rest = self;
        while rest.param.len() > CHUNK {
            let (chunk, after) = rest.split(CHUNK);
            chunks.push(wrap(chunk));
            rest = after;
        }
        chunks.push(wrap(rest));
    }

    fn split(self, at: usize) -> (Self, Self) {
        let (param, param_rest) = self.param.split_at(at);
        let (grad, grad_rest) = self.grad.split_at(at);
        let (buffer, buffer_rest) = self.buffer.split_at(at.min(self.buffer.len()));
        let (param_cotangent, param_cotangent_rest) = self.param_cotangent.split_at(at);
        let (buffer_cotangent, buffer_cotangent_rest) =
            self.buffer_cotangent.split_at(at.min(self.buffer_cotangent.len()));
        let (d_param, d_param_rest) = self.d_param.split_at_mut(at);
        let (d_grad, d_grad_rest) = self.d_grad.split_at_mut(at);
        let (d_buffer, d_buffer_rest) = self.d_buffer.split_at_mut(at.min(self.d_buffer.len()));
        let first = Pullback {
            param,
            grad,
            buffer,
            param_cotangent,
            buffer_cotangent,
            d_param,
            d_grad,
            d_buffer,
        };
        let second = Pullback {
            param: param_rest,
            grad: grad_rest,
            buffer: buffer_rest,
            param_cotangent: param_cotangent_rest,
            buffer_cotangent: buffer_cotangent_rest,
            d_param: d_param_rest,
            d_grad: d_grad_rest,
            d_buffer: d_buffer_rest,
        };
        (first, second)
    }
}

fn choose<T: Number>(chunk: Pullback<'_, T>, h: &Hyperparameters, level: Level) -> Sums {
    match h.decoupled_weight_decay {
        false => choose_momentum::<T, false>(chunk, h, level),
        true => choose_momentum::<T, true>(chunk, h, level),
    }
}

fn choose_momentum<T: Number, const DECOUPLED: bool>(
    chunk: Pullback<'_, T>,
    h: &Hyperparameters,
    level: Level,
) -> Sums {
    use momentum::{FIRST, FIRST_NESTEROV, LATER, LATER_NESTEROV, NONE};
    let f = Factors::new(h, T::from_f64);
    let (decays, sign) = (h.weight_decay != 0.0, h.sign);
    match (h.momentum != 0.0, chunk.buffer.is_empty(), h.nesterov) {
        (false, _, _) => level.run(Loop::<T, NONE, DECOUPLED> { f, decays, sign, chunk }),
        (true, true, false) => level.run(Loop::<T, FIRST, DECOUPLED> { f, decays, sign, chunk }),
        (true, true, true) => {
            level.run(Loop::<T, FIRST_NESTEROV, DECOUPLED> { f, decays, sign, chunk })
        }
        (true, false, false) => level.run(Loop::<T, LATER, DECOUPLED> { f, decays, sign, chunk }),
        (true, false, true) => {
            level.run(Loop::<T, LATER_NESTEROV, DECOUPLED> { f, decays, sign, chunk })
        }
    }
}

/// The loop over a chunk.
struct Loop<'a, T, const MOMENTUM: u8, const DECOUPLED: bool> {
    f: Factors<T>,
    decays: bool,
    sign: bool,
    chunk: Pullback<'a, T>,
}

impl<T: Number, const MOMENTUM: u8, const DECOUPLED: bool> WithSimd
    for Loop<'_, T, MOMENTUM, DECOUPLED>
{
    type Output = Sums;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Sums {
        let Loop { f, decays, sign, chunk } = self;
        let decay = match decays {
            _ if DECOUPLED => decay::DECOUPLED, // 0 too: the derivative with respect to it has this form
            true => decay::COUPLED,
            false => decay::NONE,
        };
        let lines = Lines { decay, momentum: MOMENTUM, sign };
        let later = lines.reads_buffer();
        let n = chunk.param.len();
        let (p, g, dq) = (&chunk.param[..n], &chunk.grad[..n], &chunk.param_cotangent[..n]);
        // What is not there is read as something that is, and does not count.
        let b = if later { &chunk.buffer[..n] } else { p };
        let dc = if MOMENTUM == momentum::NONE { p } else { &chunk.buffer_cotangent[..n] };
        let (dp, dg) = (&mut chunk.d_param[..n], &mut chunk.d_grad[..n]);
        let db = if later { &mut chunk.d_buffer[..n] } else { &mut [] };
        let mut sums = [[0.0_f64; LANES]; 4];
        let whole = n - n % LANES;
        let mut views = Views { read: [p, g, b, dq, dc], dp, dg, db };
        for from in (0..whole).step_by(LANES) {
            views.go_back(&f, lines, from, &mut sums);
        }
        for i in whole..n {
            let mut last = [[0.0_f64; 1]; 4];
            views.go_back(&f, lines, i, &mut last);
            (0..4).for_each(|k| sums[k][i - whole] += last[k][0]);
        }
        sums.map(|[a, b, c, d, e, f, g, h]| ((a + b) + (c + d)) + ((e + f) + (g + h)))
    }
}

/// What a chunk reads, and where its derivatives go; those of the buffer only if there is one.
struct Views<'a, T> {
    read: [&'a [T]; 5],
    dp: &'a mut [T],
    dg: &'a mut [T],
    db: &'a mut [T],
}

impl<T: Number> Views<'_, T> {
    /// The way back through `N` elements, in steps that each become vectors.
    #[inline(always)]
    fn go_back<const N: usize>(
        &mut self,
        f: &Factors<T>,
        lines: Lines,
        from: usize,
        sums: &mut [[f64; N]; 4],
    ) {
        let zero = T::from_f64(0.0);
        let read: [[T; N]; 5] = std::array::from_fn(|k| {
            let slice = &self.read[k][from..from + N];
            std::array::from_fn(|i| slice[i])
        });
        let (mut dp, mut dg, mut db) = ([zero; N], [zero; N], [zero; N]);
        let mut terms = [[0.0; N]; 4];
        for i in 0..N {
            let back = element(f, lines, std::array::from_fn(|k| read[k][i]));
            (dp[i], dg[i], db[i]) = (back.0, back.1, back.2);
            (0..4).for_each(|k| terms[k][i] = back.3[k]);
        }
        self.dp[from..from + N].copy_from_slice(&dp);
        self.dg[from..from + N].copy_from_slice(&dg);
        if !self.db.is_empty() {
            self.db[from..from + N].copy_from_slice(&db);
        }
        for k in 0..4 {
            (0..N).for_each(|i| sums[k][i] += terms[k][i]);
        }
    }
}
