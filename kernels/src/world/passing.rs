//! Bytes and their sizes, as they are passed to MPI.

use std::ffi::c_int;

/// The most bytes of one message, as counts are of 32 bits.
pub const MAX_BYTES: usize = 1 << 30;

/// Sizes and where the parts begin, as MPI takes them.
pub fn counts(sizes: &[usize]) -> (Vec<c_int>, Vec<c_int>) {
    let counts: Vec<c_int> = sizes.iter().map(|&size| size as c_int).collect();
    let ends = counts.iter().scan(0, |end, count| {
        *end += count;
        Some(*end)
    });
    let starts = ends.zip(&counts).map(|(end, count)| end - count).collect();
    (counts, starts)
}

/// Where bytes are. That of no bytes is not any address that Rust likes, as a few low ones have a meaning
/// in MPI: 1 is `MPI_IN_PLACE` in some libraries.
pub fn address(bytes: &[u8]) -> *const u8 {
    static NOTHING: u8 = 0;
    if bytes.is_empty() { &raw const NOTHING } else { bytes.as_ptr() }
}

/// As `address`, to write; nothing is written where there are no bytes.
pub fn address_mut(bytes: &mut [u8]) -> *mut u8 {
    if bytes.is_empty() { address(bytes).cast_mut() } else { bytes.as_mut_ptr() }
}

/// Makes sure that bytes are those of parts, and no more than a message has.
pub fn assert_fits(bytes: &[u8], sizes: &[usize]) {
    assert!(bytes.len() <= MAX_BYTES, "a message has at most {MAX_BYTES} bytes");
    assert_eq!(bytes.len(), sizes.iter().sum::<usize>(), "parts make up a whole");
}
