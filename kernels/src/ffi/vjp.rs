//! The boundary of [`crate::vjp`].

use super::rows::address;
use super::{GROUP_ROW, STATE_FIRST, config, guard, hyperparameters, missing};
use crate::error::Error;
use crate::rule::Real;
use crate::vjp::{Pullback, Tensor, pull_back};

/// Words of a row: the addresses of parameter, gradient, buffer, the cotangents of parameter and
/// buffer, and the results for parameter, gradient and buffer; then length, dtype, state.
const VJP_ROW: usize = 11;

/// `int32_t descent_vjp(const uint64_t *rows, uint32_t count, const double *group, double *sums)`:
/// goes back through one step of `count` tensors, and writes the derivatives by lr, momentum,
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
    sums: *mut f64,
) -> i32 {
    guard(|| {
        if rows.is_null() || group.is_null() || sums.is_null() {
            return Err(missing("go back"));
        }
        // SAFETY: not null; the rest is the caller's promise.
        let (rows, group, sums) = unsafe {
            (
                std::slice::from_raw_parts(rows, count as usize * VJP_ROW),
                &*group.cast::<[f64; GROUP_ROW]>(),
                &mut *sums.cast::<[f64; 4]>(),
            )
        };
        let h = hyperparameters(group);
        let buffered = h.momentum != 0.0;
        let mut tensors = Vec::new();
        for (index, row) in rows.as_chunks().0.iter().enumerate() {
            if row[8] == 0 {
                continue; // arrays without elements may lie nowhere
            }
            // SAFETY: the caller vouches for the addresses, until this function returns.
            tensors.push(unsafe {
                match row[9] {
                    0 => Tensor::F32(pullback(index, row, buffered)?),
                    1 => Tensor::F64(pullback(index, row, buffered)?),
                    dtype => {
                        let text = format!("Cannot go back through row {index}: dtype {dtype}");
                        return Err(Error::Table(text));
                    }
                }
            });
        }
        *sums = pull_back(tensors, &h, config()?)?;
        Ok(())
    })
}

/// # Safety
/// The row's addresses are null or valid for `length` elements of `T`, exclusive for the results,
/// for as long as the pullback is used.
unsafe fn pullback<'a, T: Real>(
    index: usize,
    row: &[u64; VJP_ROW],
    buffered: bool,
) -> Result<Pullback<'a, T>, Error> {
    let [param, grad, buffer, dq, dc, dp, dg, db, length, _, state] = *row;
    let length = length as usize;
    let later = buffered && state != u64::from(STATE_FIRST);
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
        param: read("param", param, true)?,
        grad: read("grad", grad, true)?,
        buffer: read("buffer", buffer, later)?,
        param_cotangent: read("cotangent of param", dq, true)?,
        buffer_cotangent: read("cotangent of buffer", dc, buffered)?,
        d_param: write("result for param", dp, true)?,
        d_grad: write("result for grad", dg, true)?,
        d_buffer: write("result for buffer", db, later)?,
    })
}
