//! Views of ndarray carry arrays into a kernel; here its loops get the elements to run over.

use ndarray::{ArrayView1, ArrayViewMut1};

const CHECKED: &str = "a view is checked to be contiguous before its elements are used";

/// The elements of a view that has been checked to be contiguous.
#[inline(always)]
pub fn elements<'a, T>(view: &ArrayView1<'a, T>) -> &'a [T] {
    view.to_slice().expect(CHECKED)
}

/// As [`elements`], to write.
#[inline(always)]
pub fn elements_mut<T>(view: ArrayViewMut1<'_, T>) -> &mut [T] {
    view.into_slice().expect(CHECKED)
}
