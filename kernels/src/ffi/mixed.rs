//! Rows of the tensor table whose arrays are stored in several ways, as tasks of a step.

use super::layout::{Row, dtype, format};
use super::pointers::pointer;
use crate::formats::momentum8;
use crate::step::{Mixed, MixedGradient, Momentum, Param};

/// A tensor that is computed with in float32 and whose arrays are stored in other ways.
///
/// # Safety
/// The row has been checked, and its addresses are null or valid for as many elements as its length
/// and its format say, exclusive for all that is written, for as long as `'a`.
pub unsafe fn mixed<'a>(row: &Row, number: u32, clear: bool) -> Mixed<'a> {
    let scales = row.buffer.wrapping_add(momentum8::scales_offset(row.length as usize) as u64);
    // SAFETY: the caller's promise. Scales lie in the same memory as values.
    unsafe { mixed_with(row, number, clear, scales) }
}

/// As [`mixed`], with the address of the scales of 8-bit momentum, which are not read if it has none.
///
/// # Safety
/// As for [`mixed`].
pub unsafe fn mixed_with<'a>(row: &Row, number: u32, clear: bool, scales: u64) -> Mixed<'a> {
    use dtype::{BF16_STOCHASTIC, F16_STOCHASTIC};
    // SAFETY: the caller's promise.
    let mut mixed = unsafe { Mixed::new(param(row), gradient(row, clear), momentum(row, scales)) };
    mixed.first = row.is_first();
    mixed.stochastic = [F16_STOCHASTIC, BF16_STOCHASTIC].contains(&row.dtype());
    (mixed.group, mixed.number) = (row.group as usize, number);
    mixed
}

/// # Safety
/// As for [`mixed`].
unsafe fn param<'a>(row: &Row) -> Param<'a> {
    use dtype::{F16, F16_STOCHASTIC, F32};
    let &Row { data, master, .. } = row;
    let n = row.length as usize;
    // SAFETY: the caller's promise.
    unsafe {
        match row.dtype() {
            F32 => Param::F32(slice_mut(data, n)),
            F16 | F16_STOCHASTIC if master == 0 => Param::F16(slice_mut(data, n)),
            F16 | F16_STOCHASTIC => Param::F16Master(slice_mut(data, n), slice_mut(master, n)),
            _ if row.has(format::SPLIT) => Param::Split(slice_mut(data, n), slice_mut(master, n)),
            _ if row.has(format::SPLIT24) => {
                Param::Split24(slice_mut(data, n), slice_mut(master, n))
            }
            _ if master == 0 => Param::Bf16(slice_mut(data, n)),
            _ => Param::Bf16Master(slice_mut(data, n), slice_mut(master, n)),
        }
    }
}

/// # Safety
/// As for [`mixed`].
unsafe fn gradient<'a>(row: &Row, clear: bool) -> MixedGradient<'a> {
    use dtype::{F16, F16_STOCHASTIC, F32};
    let (grad, n) = (row.grad, row.length as usize);
    let is_wide = row.dtype() == F32 || row.has(format::GRAD_F32);
    let is_f16 = [F16, F16_STOCHASTIC].contains(&row.dtype());
    // SAFETY: the caller's promise.
    unsafe {
        match (clear, is_wide, is_f16) {
            (false, true, _) => MixedGradient::F32(slice(grad, n)),
            (false, false, true) => MixedGradient::F16(slice(grad, n)),
            (false, false, false) => MixedGradient::Bf16(slice(grad, n)),
            (true, true, _) => MixedGradient::ClearedF32(slice_mut(grad, n)),
            (true, false, true) => MixedGradient::ClearedF16(slice_mut(grad, n)),
            (true, false, false) => MixedGradient::ClearedBf16(slice_mut(grad, n)),
        }
    }
}

/// # Safety
/// As for [`mixed`].
unsafe fn momentum<'a>(row: &Row, scales: u64) -> Momentum<'a> {
    let (buffer, n) = (row.buffer, row.length as usize);
    // SAFETY: the caller's promise.
    unsafe {
        match buffer {
            0 => Momentum::None,
            _ if row.has(format::MOMENTUM8) => {
                Momentum::Eight(slice_mut(buffer, n), slice_mut(scales, momentum8::scales(n)))
            }
            _ => Momentum::F32(slice_mut(buffer, n)),
        }
    }
}

/// # Safety
/// The address is aligned and valid for `length` elements that nobody writes, for as long as `'a`.
unsafe fn slice<'a, T>(word: u64, length: usize) -> &'a [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(pointer(word), length) }
}

/// # Safety
/// The address is aligned, valid for `length` elements and nobody else's, for as long as `'a`.
unsafe fn slice_mut<'a, T>(word: u64, length: usize) -> &'a mut [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(pointer(word), length) }
}
