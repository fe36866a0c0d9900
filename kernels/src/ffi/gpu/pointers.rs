//! Checked reads and writes through the pointers that callers pass.

use crate::error::Error;
use crate::ffi::guard;

pub fn null(what: &str) -> Error {
    Error::Table(format!("Cannot use {what} as it is null"))
}

/// # Safety
/// `pointer` is null or valid for reads of `length` elements, as long as the result is used.
pub unsafe fn read<'a, T>(pointer: *const T, length: usize, what: &str) -> Result<&'a [T], Error> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: not null, and the caller vouches for the rest.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// # Safety
/// As for [`read`].
pub unsafe fn text<'a>(pointer: *const u8, length: u32, what: &str) -> Result<&'a str, Error> {
    // SAFETY: the caller vouches for the pointer.
    let bytes = unsafe { read(pointer, length as usize, what)? };
    std::str::from_utf8(bytes).map_err(|_| Error::Table(format!("Cannot read {what} as UTF-8")))
}

/// Runs `body` and stores what it returns in `out`.
///
/// # Safety
/// `out` is null or valid for a write.
pub unsafe fn store<T>(out: *mut T, body: impl FnOnce() -> Result<T, Error>) -> i32 {
    guard(|| {
        if out.is_null() {
            return Err(null("out"));
        }
        let value = body()?;
        // SAFETY: not null, and the caller vouches for it.
        unsafe { out.write(value) };
        Ok(())
    })
}

/// Writes as many values as fit and returns how many that are.
///
/// # Safety
/// `out` is valid for writes of `capacity` words.
pub unsafe fn fill(out: *mut f64, capacity: u32, values: &[f64]) -> Result<u32, Error> {
    if out.is_null() {
        return Err(null("out"));
    }
    let count = values.len().min(capacity as usize);
    // SAFETY: `values` holds `count` words, and the caller vouches for `out`.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), out, count) };
    Ok(count as u32)
}
