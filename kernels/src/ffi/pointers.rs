//! Checked reads and writes through the pointers that callers pass, and the addresses in tables.

use super::layout::GroupRow;
use super::process::guard;
use crate::error::Error;
use std::ops::Range;

/// The error for a null pointer.
#[cold]
pub fn null(what: &str) -> Error {
    Error::Table(format!("Cannot use {what} as it is null"))
}

/// The elements behind a pointer.
///
/// # Safety
/// `pointer` is null or valid for reads of `length` elements, as long as the result is used.
#[inline(always)]
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

/// As [`read`], to write.
///
/// # Safety
/// `pointer` is null or valid for `length` elements and nobody else's, as long as the result is used.
pub unsafe fn write<'a, T>(
    pointer: *mut T,
    length: usize,
    what: &str,
) -> Result<&'a mut [T], Error> {
    if length == 0 {
        return Ok(&mut []);
    }
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: not null, and the caller vouches for the rest.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

/// Text.
///
/// # Safety
/// As for [`read`].
#[cfg(any(feature = "gpu", feature = "mpi"))]
pub unsafe fn text<'a>(pointer: *const u8, length: u32, what: &str) -> Result<&'a str, Error> {
    // SAFETY: the caller vouches for the pointer.
    let bytes = unsafe { read(pointer, length as usize, what)? };
    std::str::from_utf8(bytes).map_err(|_| Error::Table(format!("Cannot read {what} as UTF-8")))
}

/// Copies as much of `text` as fits and returns its whole length in bytes.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
pub unsafe fn write_text(text: &str, out: *mut u8, capacity: u32) -> u32 {
    let count = text.len().min(capacity as usize);
    if !out.is_null() {
        // SAFETY: `text` holds at least `count` bytes, and the caller vouches for `out`.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), out, count) };
    }
    u32::try_from(text.len()).unwrap_or(u32::MAX)
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
#[cfg(feature = "gpu")]
pub unsafe fn fill(out: *mut f64, capacity: u32, values: &[f64]) -> Result<u32, Error> {
    if out.is_null() {
        return Err(null("out"));
    }
    let count = values.len().min(capacity as usize);
    // SAFETY: `values` holds `count` words, and the caller vouches for `out`.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), out, count) };
    Ok(count as u32)
}

/// The rows of a table up to the end of a range, which the table must have.
///
/// # Safety
/// `rows` is null or valid for reads of `count` rows for as long as `'a`; rows are words and nothing
/// else.
#[inline(always)]
pub unsafe fn table<'a, R>(
    rows: *const u64,
    count: u32,
    range: Range<u32>,
    doing: &str,
) -> Result<&'a [R], Error> {
    if rows.is_null() || range.start > range.end {
        return Err(missing(doing));
    }
    if range.end > count {
        return Err(beyond(doing, range.end, count));
    }
    // SAFETY: not null, and no longer than the table; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(rows.cast(), range.end as usize) })
}

/// All rows of the group table.
///
/// # Safety
/// `groups` is null or valid for reads of `count` rows for as long as `'a`.
#[inline(always)]
pub unsafe fn group_table<'a>(
    groups: *const f64,
    count: u32,
    doing: &str,
) -> Result<&'a [GroupRow], Error> {
    if groups.is_null() {
        return Err(missing(doing));
    }
    // SAFETY: not null; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(groups.cast(), count as usize) })
}

#[cold]
fn missing(doing: &str) -> Error {
    Error::Table(format!("Cannot {doing} as a table is missing"))
}

#[cold]
fn beyond(doing: &str, end: u32, count: u32) -> Error {
    Error::Table(format!("Cannot {doing} row {} as the table has {count} rows", end - 1))
}

/// The address that a word of a table holds.
#[inline(always)]
pub fn pointer<T>(word: u64) -> *mut T {
    std::ptr::with_exposed_provenance_mut(word as usize)
}

/// As [`pointer`], neither null nor unaligned.
#[inline(always)]
pub fn address<T>(index: usize, name: &str, word: u64) -> Result<*mut T, Error> {
    let pointer = pointer::<T>(word);
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(address_error(index, name, word));
    }
    Ok(pointer)
}

#[cold]
fn address_error(index: usize, name: &str, word: u64) -> Error {
    Error::Table(format!("Cannot step row {index}: {name} is at address {word}, null or unaligned"))
}
