//! The boundary of what benchmarks and tests ask of a device: times of its work, and its loss.

use super::registry::GPUS;
use crate::ffi::pointers::{fill, store};
use crate::ffi::process::guard;

/// `int32_t descent_gpu_start_timing(uint32_t gpu)`: times every step and dispatch from here on.
#[unsafe(no_mangle)]
extern "C" fn descent_gpu_start_timing(gpu: u32) -> i32 {
    guard(|| GPUS.get(gpu)?.start_timing())
}

/// `int32_t descent_gpu_stop_timing(uint32_t gpu, double *out, uint32_t capacity, uint32_t *count)`:
/// ends timing and writes the seconds of the first `capacity` steps and dispatches.
///
/// # Safety
/// `out` is valid for writes of `capacity` words, `count` for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_stop_timing(
    gpu: u32,
    out: *mut f64,
    capacity: u32,
    count: *mut u32,
) -> i32 {
    // SAFETY: the caller vouches for both pointers.
    unsafe { store(count, || fill(out, capacity, &GPUS.get(gpu)?.stop_timing()?)) }
}

/// `int32_t descent_gpu_time_copies(uint32_t gpu, double bytes, double *out, uint32_t capacity,
/// uint32_t *count)`: copies bytes within the device `capacity` times and writes the seconds.
///
/// # Safety
/// As for [`descent_gpu_stop_timing`].
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_gpu_time_copies(
    gpu: u32,
    bytes: f64,
    out: *mut f64,
    capacity: u32,
    count: *mut u32,
) -> i32 {
    // SAFETY: the caller vouches for both pointers.
    unsafe {
        store(count, || fill(out, capacity, &GPUS.get(gpu)?.time_copies(bytes as u64, capacity)?))
    }
}

/// `int32_t descent_gpu_lose(uint32_t gpu)`: loses the device, to test that this is an error.
#[unsafe(no_mangle)]
extern "C" fn descent_gpu_lose(gpu: u32) -> i32 {
    guard(|| {
        GPUS.get(gpu)?.lose();
        Ok(())
    })
}
