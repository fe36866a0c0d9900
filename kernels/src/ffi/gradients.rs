//! The boundary of [`crate::gradients`]: gradients outside of a step.

use super::layout::{Row, dtype, format};
use super::pointers::{group_table, pointer, table, write};
use super::process::{config, guard};
use super::rows::check;
use crate::error::Error;
use crate::gradients::multiply::{self, multiply};
use crate::gradients::norm::{self, Total};
use crate::gradients::view::dispatch;
use crate::gradients::{GradientView, Read, Write};
use half::{bf16, f16};
use ndarray::{ArrayView1, ArrayViewMut1};

/// `int32_t descent_norm(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// double scale, double *sums, uint32_t group_count)`: adds to two numbers per group: the squares of its
/// gradients times `scale`, and 1 if one of these is infinite or NaN.
///
/// # Safety
/// As `descent_step`, but that nothing is written but `sums`: valid for twice as many elements as there
/// are groups.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_norm(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    scale: f64,
    sums: *mut f64,
    group_count: u32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for the table and the sums.
        let (rows, sums) = unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "sum up")?;
            (rows, write(sums.cast::<[f64; 2]>(), group_count as usize, "sums")?)
        };
        // SAFETY: the caller vouches for the addresses.
        unsafe { add_totals(rows, from as usize, scale, sums) }
    })
}

/// # Safety
/// As `descent_norm`.
unsafe fn add_totals(
    rows: &[Row],
    from: usize,
    scale: f64,
    sums: &mut [[f64; 2]],
) -> Result<(), Error> {
    let (mut gradients, mut groups) = (Vec::new(), Vec::new());
    for (index, row) in rows.iter().enumerate().skip(from) {
        if row.is_idle() {
            continue;
        }
        check(index, row)?;
        groups.push(group_of(index, row, sums.len())?);
        // SAFETY: checked, and the caller vouches for the address.
        gradients.push(unsafe { view(row) });
    }
    let totals = norm::totals(&gradients, scale, config()?)?;
    for (group, Total { squares, finite }) in groups.into_iter().zip(totals) {
        sums[group][0] += squares;
        if !finite {
            sums[group][1] = 1.0;
        }
    }
    Ok(())
}

/// `int32_t descent_scale(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const double *groups, uint32_t group_count)`: multiplies the gradients of the rows `from..to` by the
/// factor of their group.
///
/// # Safety
/// As `descent_step`, but that gradients are all that is written, and overlap nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_scale(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    groups: *const f64,
    group_count: u32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for both tables.
        let (rows, groups) = unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "scale")?;
            (rows, group_table(groups, group_count, "scale")?)
        };
        let mut gradients = Vec::new();
        for (index, row) in rows.iter().enumerate().skip(from as usize) {
            if row.is_idle() {
                continue;
            }
            check(index, row)?;
            // SAFETY: checked, and the caller vouches for the address.
            let values = unsafe { view_mut(row) };
            gradients.push(multiply::Gradient { values, group: row.group as usize });
        }
        let factors: Vec<f64> = groups.iter().map(|group| group.coefficient).collect();
        multiply(&mut gradients, &factors, config()?)
    })
}

fn group_of(index: usize, row: &Row, count: usize) -> Result<usize, Error> {
    let group = row.group as usize;
    if group < count {
        return Ok(group);
    }
    Err(Error::Table(format!("Cannot sum up row {index}: group {group} does not exist")))
}

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
unsafe fn view<'a>(row: &Row) -> Read<'a> {
    let length = row.length as usize;
    dispatch!(gradient(row), wrap, pointer => {
        // SAFETY: the caller's promise.
        wrap(unsafe { ArrayView1::from_shape_ptr(length, pointer) })
    })
}

/// # Safety
/// As for [`view`], and nobody else uses the gradient.
unsafe fn view_mut<'a>(row: &Row) -> Write<'a> {
    let length = row.length as usize;
    dispatch!(gradient(row), wrap, pointer => {
        // SAFETY: the caller's promise.
        wrap(unsafe { ArrayViewMut1::from_shape_ptr(length, pointer) })
    })
}
