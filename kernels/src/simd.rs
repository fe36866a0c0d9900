//! The SIMD level: which instructions the kernels are compiled for and run with.
//!
//! The kernels are written once over pulp's vectors and compiled once per level. Every level gives
//! the same bits because `fma` rounds once on all of them.

#[cfg(target_arch = "x86_64")]
use crate::registers::Avx2;
use crate::registers::{BLOCK, Body, Registers};
use pulp::{NullaryFnOnce, Scalar, Simd, WithSimd};

/// Bytes that a prefetch brings in.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;

/// An instruction set that this processor is known to have.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    /// What every processor of this architecture has; `fma` may be a function call.
    Portable,
    /// AVX2, FMA and F16C: eight float32 at a time.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// AVX-512: sixteen float32 at a time.
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    /// NEON: four float32 at a time.
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
}

impl Level {
    /// Every level of this processor, from the narrowest to the widest.
    pub fn available() -> Vec<Level> {
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(Avx2::try_new().map(Level::Avx2));
            levels.extend(pulp::x86::V4::try_new().map(Level::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        levels.extend(pulp::aarch64::Neon::try_new().map(Level::Neon));
        levels
    }

    /// The widest level of this processor.
    pub fn best() -> Level {
        Self::available().pop().unwrap_or(Level::Portable)
    }

    /// The name that `DESCENT_SIMD` takes: `portable`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Level::Neon(_) => "neon",
        }
    }

    /// Runs a loop compiled for this level.
    #[inline(always)]
    pub fn run<F: WithSimd>(self, body: F) -> F::Output {
        match self {
            Level::Portable => run_portable(body),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(token) => Simd::vectorize(token.v3(), body),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(token) => Simd::vectorize(token, body),
            #[cfg(target_arch = "aarch64")]
            Level::Neon(token) => Simd::vectorize(token, body),
        }
    }

    /// Asks for memory ahead of its use, where this level has an instruction for that.
    #[inline(always)]
    pub(crate) fn prefetch<T>(self, slice: &[T]) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::_MM_HINT_T0;
            let sse = match self {
                Level::Portable => return,
                Level::Avx2(token) => token.v3().sse,
                Level::Avx512(token) => token.sse,
            };
            for line in slice.chunks(CACHE_LINE / size_of::<T>()) {
                sse._mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = slice;
    }

    /// Runs a loop over registers compiled for this level.
    #[inline(always)]
    pub(crate) fn run_registers<B: Body>(self, body: B) {
        match self {
            Level::Portable => run_scalar(body),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(r) => r.vectorize(WithRegisters::<_, _, { BLOCK / 8 }> { r, body }),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(r) => r.vectorize(WithRegisters::<_, _, { BLOCK / 16 }> { r, body }),
            #[cfg(target_arch = "aarch64")]
            Level::Neon(r) => r.vectorize(WithRegisters::<_, _, { BLOCK / 4 }> { r, body }),
        }
    }

    /// Runs a loop compiled for this level, or for AVX2 at the wider ones: for what gains nothing from
    /// them and would make the library larger.
    #[inline(always)]
    pub fn run_narrow<F: WithSimd>(self, body: F) -> F::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(token) => Simd::vectorize(*token, body),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(token) => Simd::vectorize(token.v3(), body),
            #[cfg(target_arch = "aarch64")]
            Level::Neon(token) => Simd::vectorize(token, body),
            Level::Portable => run_portable(body),
        }
    }
}

/// A function of its own, so that where a level is chosen there is nothing but calls.
#[inline(never)]
fn run_portable<F: WithSimd>(body: F) -> F::Output {
    Simd::vectorize(Scalar::new(), body)
}

/// As [`run_portable`].
#[inline(never)]
fn run_scalar<B: Body>(body: B) {
    body.run::<Scalar, BLOCK>(Scalar::new());
}

/// A loop over registers and the registers, of which `K` hold a block.
struct WithRegisters<R, B, const K: usize> {
    r: R,
    body: B,
}

impl<R: Registers, B: Body, const K: usize> NullaryFnOnce for WithRegisters<R, B, K> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        self.body.run::<R, K>(self.r);
    }
}
