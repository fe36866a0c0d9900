//! The boundary of [`crate::gradients`]: gradients outside of a step.

use super::addends::AddendTable;
use super::gradient_views::{view, view_mut};
use super::layout::{Row, dtype};
use super::pointers::{group_table, table, write};
use super::process::{config, guard};
use super::row_checks::check;
use crate::error::Error;
use crate::gradients::change::{Changes, Gradient, change_all};
use crate::gradients::norm::{self, Sum, Total};
use crate::gradients::order::Order;

/// `int32_t descent_norm(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// double scale, double *sums, uint32_t group_count, const uint64_t *addends, uint32_t lists,
/// uint32_t order)`: adds to two numbers per group what the norm of its gradients times `scale` is made
/// of, and 1 if one of them is infinite or NaN. [`Order::of`] says which norm. With lists the gradients
/// are sums, of which a call row of `descent_step` names the terms too.
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
    addends: *const u64,
    lists: u32,
    order: u32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for the tables and the sums.
        let (rows, sums, addends) = unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "sum up")?;
            let sums = write(sums.cast::<[f64; 2]>(), group_count as usize, "sums")?;
            (rows, sums, AddendTable::read(addends, lists as usize, rows, from as usize)?)
        };
        // SAFETY: the caller vouches for the addresses.
        unsafe { add_totals(rows, from as usize, &addends, (scale, Order::of(order)?), sums) }
    })
}

/// # Safety
/// As `descent_norm`.
unsafe fn add_totals(
    rows: &[Row],
    from: usize,
    addends: &AddendTable<'_>,
    (scale, order): (f64, Order),
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
        let gradient = unsafe { view(row) };
        let rounded = [dtype::F16_PER_OP, dtype::BF16_PER_OP].contains(&row.dtype());
        gradients.push(Sum { gradient, addends: addends.of(index), rounded });
    }
    let totals = norm::totals(&gradients, scale, order, config()?)?;
    for (group, Total { measure, finite }) in groups.into_iter().zip(totals) {
        sums[group][0] = order.join(sums[group][0], measure);
        if !finite {
            sums[group][1] = 1.0;
        }
    }
    Ok(())
}

/// `int32_t descent_prepare(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const double *groups, uint32_t group_count, double scale, double limit)`: multiplies the gradients of
/// the rows `from..to` by `scale` and by the coefficient of their group, and clamps them to
/// `-limit..=limit`.
///
/// # Safety
/// As `descent_step`, but that gradients are all that is written, and overlap nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_prepare(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    groups: *const f64,
    group_count: u32,
    scale: f64,
    limit: f64,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for both tables.
        let (rows, groups) = unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "prepare")?;
            (rows, group_table(groups, group_count, "prepare")?)
        };
        let mut gradients = Vec::new();
        for (index, row) in rows.iter().enumerate().skip(from as usize) {
            if row.is_idle() {
                continue;
            }
            check(index, row)?;
            // SAFETY: checked, and the caller vouches for the address.
            let values = unsafe { view_mut(row) };
            gradients.push(Gradient { values, group: row.group as usize });
        }
        let coefficients = groups.iter().map(|group| group.coefficient).collect();
        let changes = Changes { scale, coefficients, limit };
        change_all(&mut gradients[..], &changes, config()?)
    })
}

fn group_of(index: usize, row: &Row, count: usize) -> Result<usize, Error> {
    let group = row.group as usize;
    if group < count {
        return Ok(group);
    }
    Err(Error::Table(format!("Cannot sum up row {index}: group {group} does not exist")))
}
