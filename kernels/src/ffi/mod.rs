//! The boundary: every `extern "C"` function of the library, and all of its `unsafe`.
//!
//! Each function that can fail checks what it is given, stops panics, and returns a status: 0, or the
//! number of an error whose text [`descent_error`] then returns on the same thread. Tables are rows of
//! 64-bit words, integers for tensors and float64 for groups; [`layout`] describes them.
//!
//! What the caller promises, because no check here can see it: a table has as many rows as its count
//! says, an address in it points to `length` elements of the row's type that stay where they are until
//! the call returns, nobody else writes to them until then, and no data or buffer overlaps any other
//! array of the same step. `src/plan/plan.ts` keeps these promises: it holds the arrays and refuses
//! resizable, detached and overlapping ones. In most calls JavaScript's own thread waits for the
//! result; `src/native/pinned.ts` makes the others, and keeps the memory alive until they return.

mod addends;
mod averages;
mod describe;
mod extras;
#[cfg(feature = "gpu")]
mod gpu;
mod gradient_views;
mod gradients;
mod layout;
mod mixed;
mod parts;
mod pointers;
mod process;
mod resident;
mod row_checks;
mod rows;
mod slots;
mod sparse;
mod step;
mod vjp;
#[cfg(feature = "mpi")]
mod world;

use crate::roofline::roofline;
use crate::simd::Level;
use layout::ABI;
use pointers::{read, write, write_text};
use process::{config, guard, with_last_error};

/// `uint32_t descent_abi(void)`: the number of this interface.
#[unsafe(no_mangle)]
extern "C" fn descent_abi() -> u32 {
    ABI
}

/// `int32_t descent_open(void)`: reads the settings from the environment and starts the
/// threads, once for the process, in which the library then stays.
#[unsafe(no_mangle)]
extern "C" fn descent_open() -> i32 {
    guard(|| {
        resident::stay()?;
        let config = config()?;
        if config.threads() > 1 {
            config.pool()?; // fails here, not in the middle of a step
        }
        Ok(())
    })
}

/// `uint32_t descent_info(uint8_t *out, uint32_t capacity)`: version, SIMD level and threads as JSON.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_info(out: *mut u8, capacity: u32) -> u32 {
    let (simd, threads) = match config() {
        Ok(config) => (config.level(), config.threads()),
        Err(_) => (Level::Portable, 0),
    };
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        r#"{{"version":"{version}","simd":"{}","threads":{threads},"gpu":{},"mpi":{}}}"#,
        simd.name(),
        cfg!(feature = "gpu"),
        cfg!(feature = "mpi")
    );
    // SAFETY: the caller vouches for `out`.
    unsafe { write_text(&text, out, capacity) }
}

/// `uint32_t descent_error(uint8_t *out, uint32_t capacity)`: the text of this thread's last error,
/// once; after that, of the last error of any thread, which is where a call that does not block ran.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_error(out: *mut u8, capacity: u32) -> u32 {
    let mut length = 0;
    with_last_error(|text| {
        // SAFETY: the caller vouches for `out`.
        length = unsafe { write_text(text, out, capacity) };
        length <= capacity
    });
    length
}

/// `double descent_address(const void *array)`: where an array lies, as a word for a table.
#[unsafe(no_mangle)]
extern "C" fn descent_address(array: *const u8) -> f64 {
    array.expose_provenance() as f64
}

/// `int32_t descent_panic(void)`: panics, to test that a panic arrives as an error.
#[unsafe(no_mangle)]
extern "C" fn descent_panic() -> i32 {
    guard(|| panic!("asked for by descent_panic"))
}

/// `int32_t descent_roofline(float *data, const float *grad, float *buffer, uint32_t length)`: the
/// loop that benchmarks compare a step with; a null buffer means "without momentum".
///
/// # Safety
/// The arrays are null or valid for `length` elements, do not overlap, and are nobody else's
/// meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_roofline(
    data: *mut f32,
    grad: *const f32,
    buffer: *mut f32,
    length: u32,
) -> i32 {
    guard(|| {
        let length = length as usize;
        let buffered = if buffer.is_null() { 0 } else { length };
        // SAFETY: the caller vouches for all arrays.
        let (data, grad, buffer) = unsafe {
            (
                write(data, length, "data")?,
                read(grad, length, "grad")?,
                write(buffer, buffered, "buffer")?,
            )
        };
        roofline(data, grad, buffer, config()?)
    })
}
