//! The boundary of [`crate::norm`] and [`crate::scale`]: gradients outside of a step.

use super::rows::{is_idle, pointer};
use super::staged::{EACH_F16, F16, F32, F64, Rows, STOCHASTIC_F16, check};
use super::{GROUP_ROW, Row, config, group_table, guard, missing, table};
use crate::error::Error;
use crate::norm::{self, Total};
use crate::scale::{self, Values};
use crate::share::Tensors;
use ndarray::{ArrayView1, ArrayViewMut1};

/// `int32_t descent_norm(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// double scale, double *sums, uint32_t group_count)`: adds to two numbers per group: the squares of its gradients
/// times `scale`, and 1 if one of these is infinite or NaN.
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
        if sums.is_null() {
            return Err(missing("sum up"));
        }
        // SAFETY: `sums` is not null, and the caller vouches for the numbers of rows.
        let (rows, sums) = unsafe {
            (
                table::<Row>(rows, row_count, from..to, "sum up")?,
                std::slice::from_raw_parts_mut(sums.cast::<[f64; 2]>(), group_count as usize),
            )
        };
        let (mut gradients, mut groups) = (Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate().skip(from as usize) {
            if is_idle(row) {
                continue;
            }
            check(index, row)?;
            groups.push(group_of(index, row, sums.len())?);
            // SAFETY: checked, and the caller vouches for the address.
            gradients.push(unsafe { gradient(row) });
        }
        let totals = norm::totals(&gradients, scale, config()?)?;
        for (group, Total { squares, finite }) in groups.into_iter().zip(totals) {
            sums[group][0] += squares;
            if !finite {
                sums[group][1] = 1.0;
            }
        }
        Ok(())
    })
}

/// `int32_t descent_scale(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const double *groups, uint32_t group_count)`: multiplies the gradients of the rows `from..to` by the factor of their group.
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
        // SAFETY: the caller vouches for the numbers of rows and for the addresses.
        let (rows, groups) = unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "scale")?;
            let groups = group_table(groups, group_count, "scale")?;
            (Rows::new(rows, from as usize, true)?, groups)
        };
        let factors: Vec<f64> = groups.iter().map(|row| row[GROUP_ROW - 1]).collect();
        scale::scale(Gradients(rows), &factors, config()?)
    })
}

/// The gradients of rows, to be written.
struct Gradients<'a>(Rows<'a>);

impl Tensors for Gradients<'_> {
    type Work<'a>
        = scale::Gradient<'a>
    where
        Self: 'a;
    type Plan = [f64];

    fn count(&self) -> usize {
        self.0.rows.len()
    }

    fn at(&mut self, index: usize) -> Option<scale::Gradient<'_>> {
        let row = &self.0.rows[index];
        let &Row { grad, length, group, .. } = row;
        let length = length as usize;
        if is_idle(row) {
            return None;
        }
        // SAFETY: as in `Rows::at`.
        let values = unsafe {
            match row.dtype() {
                F32 => Values::F32(ArrayViewMut1::from_shape_ptr(length, pointer(grad))),
                F64 => Values::F64(ArrayViewMut1::from_shape_ptr(length, pointer(grad))),
                F16 | EACH_F16 | STOCHASTIC_F16 => {
                    Values::F16(ArrayViewMut1::from_shape_ptr(length, pointer(grad)))
                }
                _ => Values::Bf16(ArrayViewMut1::from_shape_ptr(length, pointer(grad))),
            }
        };
        Some(scale::Gradient { values, group: group as usize })
    }

    fn split(self, index: usize) -> (Self, Self) {
        let (a, b) = self.0.split(index);
        (Gradients(a), Gradients(b))
    }
}

fn group_of(index: usize, row: &Row, count: usize) -> Result<usize, Error> {
    let group = row.group as usize;
    if group < count {
        return Ok(group);
    }
    Err(Error::Table(format!("Cannot sum up row {index}: group {group} does not exist")))
}

/// # Safety
/// The row has been checked, and its gradient is valid for `length` elements, for as long as `'a`.
unsafe fn gradient<'a>(row: &Row) -> norm::Gradient<'a> {
    let &Row { grad, length, .. } = row;
    let length = length as usize;
    // SAFETY: the caller's promise.
    unsafe {
        match row.dtype() {
            F32 => norm::Gradient::F32(ArrayView1::from_shape_ptr(length, pointer(grad))),
            F64 => norm::Gradient::F64(ArrayView1::from_shape_ptr(length, pointer(grad))),
            F16 | EACH_F16 | STOCHASTIC_F16 => {
                norm::Gradient::F16(ArrayView1::from_shape_ptr(length, pointer(grad)))
            }
            _ => norm::Gradient::Bf16(ArrayView1::from_shape_ptr(length, pointer(grad))),
        }
    }
}
