//! The gradients of rows as views of their type.

use super::layout::{Row, dtype, format};
use super::pointers::pointer;
use crate::gradients::view::dispatch;
use crate::gradients::{GradientView, Read, Write};
use half::{bf16, f16};
use ndarray::{ArrayView1, ArrayViewMut1};

/// Where the gradient of a row that has been checked is, as a pointer of its type.
fn gradient(row: &Row) -> GradientView<*mut f32, *mut f64, *mut f16, *mut bf16> {
    use dtype::{F16, F16_PER_OP, F16_STOCHASTIC, F32, F64};
    match row.dtype() {
        _ if row.has(format::GRAD_F32) => GradientView::F32(pointer(row.grad)),
        F32 => GradientView::F32(pointer(row.grad)),
        F64 => GradientView::F64(pointer(row.grad)),
        F16 | F16_PER_OP | F16_STOCHASTIC => GradientView::F16(pointer(row.grad)),
        _ => GradientView::Bf16(pointer(row.grad)),
    }
}

/// # Safety
/// The row has been checked, and its gradient is valid for `length` elements, for as long as `'a`.
pub unsafe fn view<'a>(row: &Row) -> Read<'a> {
    let length = row.length as usize;
    dispatch!(gradient(row), wrap, pointer => {
        // SAFETY: the caller's promise.
        wrap(unsafe { ArrayView1::from_shape_ptr(length, pointer) })
    })
}

/// # Safety
/// As for [`view`], and nobody else uses the gradient.
pub unsafe fn view_mut<'a>(row: &Row) -> Write<'a> {
    let length = row.length as usize;
    dispatch!(gradient(row), wrap, pointer => {
        // SAFETY: the caller's promise.
        wrap(unsafe { ArrayViewMut1::from_shape_ptr(length, pointer) })
    })
}
