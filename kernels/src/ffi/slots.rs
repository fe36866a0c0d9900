//! Rows of the tensor table that are stepped as they are stored, as tasks of a step.

use super::layout::Row;
use super::pointers::pointer;
use crate::step::{Gradient, Slot};
use ndarray::{ArrayView1, ArrayViewMut1};
use std::marker::PhantomData;

/// A tensor that is stepped as it is, whatever the row says of a master copy.
///
/// # Safety
/// The row's addresses are null or aligned and valid for `length` elements of `H`, the buffer's of `B`,
/// exclusive for all that is written, for as long as `'a`.
#[inline(always)]
pub unsafe fn slot<'a, H, B, T>(row: &Row, clear: bool) -> Slot<'a, H, B, T> {
    let &Row { data, grad, buffer, length, group, .. } = row;
    let length = length as usize;
    // SAFETY: the caller's promise.
    unsafe {
        Slot {
            param: ArrayViewMut1::from_shape_ptr(length, pointer(data)),
            grad: match clear {
                true => Gradient::Cleared(ArrayViewMut1::from_shape_ptr(length, pointer(grad))),
                false => Gradient::Kept(ArrayView1::from_shape_ptr(length, pointer(grad))),
            },
            buffer: view(buffer, length),
            first: row.is_first(),
            group: group as usize,
            computed: PhantomData,
        }
    }
}

/// # Safety
/// The address is null or aligned, valid for `length` elements and nobody else's, for as long as `'a`.
#[inline(always)]
unsafe fn view<'a, T>(word: u64, length: usize) -> Option<ArrayViewMut1<'a, T>> {
    // SAFETY: the caller's promise.
    (word != 0).then(|| unsafe { ArrayViewMut1::from_shape_ptr(length, pointer(word)) })
}
