//! The boundary of [`crate::step`].

use super::averages::average_resting;
use super::extras::Extras;
use super::layout::{CallRow, GroupRow, Row};
use super::pointers::{group_table, table};
use super::process::{config, guard};
use super::rows::Rows;
use super::sparse::step_matrices;
use crate::error::Error;
use crate::parallel;
use crate::random::Source;
use crate::step::{Call, Plan};
use std::cell::RefCell;

thread_local! {
    /// The plan of the current step, kept so that a step allocates nothing.
    static PLAN: RefCell<Plan> = const { RefCell::new(Plan::empty()) };
}

/// `int32_t descent_step(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const double *groups, uint32_t group_count, const double *call)`: one step of the rows `from..to`;
/// null for `call` asks for nothing besides the rule.
///
/// # Safety
/// `rows` is valid for reads of `row_count` rows, `groups` of `group_count` rows, `call` is null or
/// valid for reads of a call row, and what the parent module's documentation says of the addresses is
/// true, also of those in the table that `call` names; if gradients are to be zeroed, none of them overlaps
/// any other array.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_step(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    groups: *const f64,
    group_count: u32,
    call: *const f64,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for all tables, and for the addresses in them.
        unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "step")?;
            let groups = group_table(groups, group_count, "step")?;
            step(rows, from as usize, groups, call.cast::<CallRow>().as_ref())
        }
    })
}

/// `int32_t descent_step_all(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const double *groups, uint32_t group_count, const double *call, const uint64_t *matrices,
/// uint32_t matrix_count, uint32_t first, uint32_t end)`: as `descent_step`, and then as
/// `descent_sparse_step` for the matrices `first..end` and `descent_average` for the averages that `call`
/// names. It is one call, so that JavaScript, which does
/// not wait for it, cannot take memory away between two.
///
/// # Safety
/// As `descent_step` and `descent_sparse_step`.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_step_all(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    groups: *const f64,
    group_count: u32,
    call: *const f64,
    matrices: *const u64,
    matrix_count: u32,
    first: u32,
    end: u32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for all tables, and for the addresses in them.
        unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "step")?;
            let groups = group_table(groups, group_count, "step")?;
            let call = call.cast::<CallRow>().as_ref();
            step(rows, from as usize, groups, call)?;
            if first != end {
                // Without matrices there need not be a table of them.
                let matrices = table(matrices, matrix_count, first..end, "step")?;
                step_matrices(matrices, first as usize, groups)?;
            }
            average_resting(rows, from as usize, call)
        }
    })
}

/// # Safety
/// As `descent_step`.
#[inline(always)]
unsafe fn step(
    rows: &[Row],
    from: usize,
    groups: &[GroupRow],
    row: Option<&CallRow>,
) -> Result<(), Error> {
    // All that is made of the arguments is made in here, and so stays in registers.
    PLAN.with_borrow_mut(|plan| {
        let extras = match row {
            None => None,
            // SAFETY: the caller's promise.
            Some(call) => unsafe { Extras::of_call(call, rows, from) }?,
        };
        let clear = row.is_some_and(CallRow::zeroes);
        // SAFETY: the caller's promise.
        let rows = unsafe { Rows::new(rows, from, groups, clear, extras.as_ref()) }?;
        let groups = groups.iter().map(|row| (row.hyperparameters(), row.coefficient));
        plan.set(groups, &row.map_or(Call::NEUTRAL, call), rows.types());
        parallel::run(rows, rows.bytes, plan, config()?)
    })
}

pub fn call(&CallRow { scale, limit, seed_low, seed_high, counter, .. }: &CallRow) -> Call {
    let source = Source { seed: [seed_low as u32, seed_high as u32], step: counter as u64 };
    Call { scale, limit, source }
}
