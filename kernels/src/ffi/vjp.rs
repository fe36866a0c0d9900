//! The boundary of [`crate::vjp`].

use super::layout::{VjpRow, dtype, state};
use super::pointers::{address, group_table, read, store};
use super::process::config;
use crate::error::Error;
use crate::lanes::Real;
use crate::rule::Hyperparameters;
use crate::vjp::{Pullback, Sums, Tensor, pull_back};

/// `int32_t descent_vjp(const uint64_t *rows, uint32_t count, const double *group, double *sums)`:
/// goes back through one step of `count` tensors, and writes the derivatives with respect to lr, momentum,
/// dampening and weight decay to `sums`.
///
/// # Safety
/// `rows` is valid for reads of `count` rows, `group` of one row, `sums` for writes of 4 elements,
/// and the addresses in the rows are null or valid for `length` elements for as long as the call
/// lasts, those of the results exclusively.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_vjp(
    rows: *const u64,
    count: u32,
    group: *const f64,
    sums: *mut Sums,
) -> i32 {
    // SAFETY: the caller vouches for all pointers, and for the addresses in the rows.
    unsafe {
        store(sums, || {
            let rows = read(rows.cast::<VjpRow>(), count as usize, "rows")?;
            let h = group_table(group, 1, "go back")?[0].hyperparameters();
            pull_back(tensors(rows, &h)?, &h, config()?)
        })
    }
}

/// # Safety
/// As for [`pullback`].
unsafe fn tensors<'a>(rows: &[VjpRow], h: &Hyperparameters) -> Result<Vec<Tensor<'a>>, Error> {
    const F32: u64 = dtype::F32 as u64;
    const F64: u64 = dtype::F64 as u64;
    let buffered = h.momentum != 0.0;
    let mut tensors = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if row.length == 0 {
            continue; // arrays without elements may lie nowhere
        }
        // SAFETY: the caller's promise.
        tensors.push(unsafe {
            match row.dtype {
                F32 => Tensor::F32(pullback(index, row, buffered)?),
                F64 => Tensor::F64(pullback(index, row, buffered)?),
                dtype => {
                    let text = format!("Cannot go back through row {index}: dtype {dtype}");
                    return Err(Error::Table(text));
                }
            }
        });
    }
    Ok(tensors)
}

/// # Safety
/// The row's addresses are null or valid for `length` elements of `T`, exclusive for the results,
/// for as long as the pullback is used.
unsafe fn pullback<'a, T: Real>(
    index: usize,
    row: &VjpRow,
    buffered: bool,
) -> Result<Pullback<'a, T>, Error> {
    let length = row.length as usize;
    let later = buffered && row.state != u64::from(state::FIRST);
    let read = |name, word, wanted: bool| {
        if !wanted {
            return Ok(&[][..]);
        }
        let pointer = address::<T>(index, name, word)?;
        // SAFETY: not null and aligned; the rest is the caller's promise.
        Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
    };
    let write = |name, word, wanted: bool| {
        if !wanted {
            return Ok(&mut [][..]);
        }
        let pointer = address::<T>(index, name, word)?;
        // SAFETY: not null and aligned; the rest is the caller's promise.
        Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
    };
    Ok(Pullback {
        param: read("param", row.param, true)?,
        grad: read("grad", row.grad, true)?,
        buffer: read("buffer", row.buffer, later)?,
        param_cotangent: read("cotangent of param", row.param_cotangent, true)?,
        buffer_cotangent: read("cotangent of buffer", row.buffer_cotangent, buffered)?,
        d_param: write("result for param", row.d_param, true)?,
        d_grad: write("result for grad", row.d_grad, true)?,
        d_buffer: write("result for buffer", row.d_buffer, later)?,
    })
}
