//! The rows of the tensor table of a plain step, and the checks of addresses that all tables share.

use super::{DEVICE, Row, STATE_FIRST, STATE_SKIP};
use crate::cpu::{Slot, Tensor};
use crate::error::Error;
use crate::rule::Real;
use crate::share::Tensors;
use crate::sweep::Group;
use ndarray::{ArrayView1, ArrayViewMut1};

/// Rows of the tensor table, checked. Whoever has it has the arrays of its rows to itself.
#[derive(Clone, Copy)]
pub struct Rows<'a>(&'a [Row]);

impl<'a> Rows<'a> {
    /// Checks all rows from one on.
    ///
    /// # Safety
    /// The rows' addresses are null or valid for `length` elements of their type, exclusive for data
    /// and buffer, for as long as `'a`.
    pub unsafe fn new(rows: &'a [Row], from: usize) -> Result<Self, Error> {
        for (index, row) in rows.iter().enumerate().skip(from) {
            check_row(index, row)?;
        }
        Ok(Rows(&rows[from..]))
    }
}

impl Tensors for Rows<'_> {
    type Work<'a>
        = Tensor<'a>
    where
        Self: 'a;
    type Plan = [Group];

    fn count(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn at(&mut self, index: usize) -> Option<Tensor<'_>> {
        let row = &self.0[index];
        // SAFETY: `check_row` has found the addresses neither null nor unaligned, `Rows::new`'s caller
        // vouches for them, and the view lives no longer than the exclusive borrow of these rows.
        unsafe {
            match row.dtype() {
                _ if is_idle(row) => None,
                0 => Some(Tensor::F32(slot(row))),
                _ => Some(Tensor::F64(slot(row))),
            }
        }
    }

    fn split(self, index: usize) -> (Self, Self) {
        let (a, b) = self.0.split_at(index);
        (Rows(a), Rows(b))
    }
}

/// Whether a row has no part in a step of the CPU.
#[inline(always)]
pub fn is_idle(row: &Row) -> bool {
    row.state() == STATE_SKIP || row.length == 0 || row.dtype() >= DEVICE
}

#[inline(always)]
fn check_row(index: usize, row: &Row) -> Result<(), Error> {
    match row.dtype() {
        _ if is_idle(row) => Ok(()),
        0 => check_addresses::<f32>(index, row),
        1 => check_addresses::<f64>(index, row),
        dtype => Err(Error::Table(format!("Cannot step row {index}: dtype {dtype}"))),
    }
}

#[inline(always)]
pub fn check_addresses<T>(index: usize, row: &Row) -> Result<(), Error> {
    address::<T>(index, "data", row.data)?;
    address::<T>(index, "grad", row.grad)?;
    if row.buffer != 0 {
        address::<T>(index, "buffer", row.buffer)?;
    }
    Ok(())
}

/// The address that a word of a table holds.
#[inline(always)]
pub fn pointer<T>(word: u64) -> *mut T {
    std::ptr::with_exposed_provenance_mut(word as usize)
}

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

/// # Safety
/// The row's addresses are aligned and valid for `length` elements of `T`, exclusive for data and
/// buffer, for as long as `'a`; that of the buffer may be null.
#[inline(always)]
unsafe fn slot<'a, T: Real>(row: &Row) -> Slot<'a, T> {
    let length = row.length as usize;
    // SAFETY: the caller's promise.
    unsafe {
        Slot {
            param: ArrayViewMut1::from_shape_ptr(length, pointer(row.data)),
            grad: ArrayView1::from_shape_ptr(length, pointer(row.grad)),
            buffer: match row.buffer {
                0 => None,
                buffer => Some(ArrayViewMut1::from_shape_ptr(length, pointer(buffer))),
            },
            first: row.state() == STATE_FIRST,
            group: row.group as usize,
        }
    }
}
