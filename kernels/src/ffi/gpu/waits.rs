//! The boundary of [`crate::gpu::pending`]. Waits are numbers here.

use super::registry::{GPUS, Registry};
use crate::error::Error;
use crate::ffi::pointers::{null, read, store};
use crate::ffi::process::guard;
use crate::gpu::pending::Pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

static WAITS: Registry<Wait> = Registry::new();

/// A wait and how it ended: another thread waits than the one that is told.
struct Wait {
    pending: Pending,
    result: Mutex<Result<(), Error>>,
}

/// `int32_t descent_gpu_read(uint32_t gpu, double handle, uint32_t *wait)`: begins to read a
/// tensor; `handle` 0 stands for no tensor, but for everything queued so far.
///
/// # Safety
/// `wait` is valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_read(number: u32, handle: f64, wait: *mut u32) -> i32 {
    // SAFETY: the caller vouches for `wait`.
    unsafe {
        store(wait, || {
            let gpu = GPUS.get(number)?;
            let pending = if handle == 0.0 { gpu.everything()? } else { gpu.read(handle as u64)? };
            Ok(add(number, pending))
        })
    }
}

/// `int32_t descent_gpu_report(uint32_t gpu, double bytes, uint32_t *wait)`: begins to read the first
/// `bytes` bytes of what the last step decided.
///
/// # Safety
/// `wait` is valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_report(number: u32, bytes: f64, wait: *mut u32) -> i32 {
    // SAFETY: the caller vouches for `wait`.
    unsafe { store(wait, || Ok(add(number, GPUS.get(number)?.report(bytes as u64)?))) }
}

/// `int32_t descent_gpu_written(uint32_t gpu, const double *handles, uint32_t count, uint32_t *wait)`:
/// begins to read which momentum buffers steps have written, as words of 32 bits.
///
/// # Safety
/// `handles` is valid for reads of `count` words, `wait` for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_written(
    number: u32,
    handles: *const f64,
    count: u32,
    wait: *mut u32,
) -> i32 {
    // SAFETY: the caller vouches for both pointers.
    unsafe {
        store(wait, || {
            let handles = read(handles, count as usize, "handles")?;
            let handles: Vec<_> = handles.iter().map(|&handle| handle as u64).collect();
            Ok(add(number, GPUS.get(number)?.written(&handles)?))
        })
    }
}

fn add(gpu: u32, pending: Pending) -> u32 {
    WAITS.add(gpu, Wait { pending, result: Mutex::new(Ok(())) })
}

/// `int32_t descent_gpu_wait(uint32_t wait, void *out, double capacity)`: waits and writes what was
/// read to `out`, on any thread. Returns 0: `descent_gpu_finish` says how it went.
///
/// # Safety
/// `out` is valid for writes of `capacity` bytes, and nobody else uses them meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_wait(wait: u32, out: *mut u8, capacity: f64) -> i32 {
    guard(|| {
        let wait = WAITS.get(wait)?;
        let waiting = || {
            if wait.pending.bytes() > capacity as u64 {
                return Err(Error::Table(format!("Cannot read into {capacity} bytes")));
            }
            if capacity == 0.0 {
                return wait.pending.wait(&mut []);
            }
            if out.is_null() {
                return Err(null("out"));
            }
            // SAFETY: not null, and the caller vouches for the rest.
            wait.pending.wait(unsafe { std::slice::from_raw_parts_mut(out, capacity as usize) })
        };
        let result = catch_unwind(AssertUnwindSafe(waiting))
            .unwrap_or_else(|_| Err(Error::Gpu("Cannot wait for the GPU: it failed".to_owned())));
        *wait.result.lock().unwrap_or_else(PoisonError::into_inner) = result;
        Ok(())
    })
}

/// `int32_t descent_gpu_finish(uint32_t wait)`: forgets a wait and returns how it ended.
#[unsafe(no_mangle)]
extern "C" fn descent_gpu_finish(wait: u32) -> i32 {
    guard(|| {
        let wait = WAITS.remove(wait).ok_or_else(|| null("wait"))?;
        let result = wait.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.clone()
    })
}

/// Takes out the waits for a device, which nobody is left to finish. A thread that is in one of them
/// keeps it until it is done.
pub fn remove_of(gpu: u32) -> impl Sized {
    WAITS.remove_of(gpu)
}
