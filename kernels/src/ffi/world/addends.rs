//! The sums of a rank's own gradients, which it gives to the others in the place of its gradients.

use super::super::layout::Row;
use super::super::pointers::{pointer, read, table};
use super::super::process::{config, guard};
use super::super::row_checks::check;
use super::exchange::{form_of, gradient_bytes};
use crate::error::Error;
use crate::simd::Level;

/// `int32_t descent_world_add(const uint64_t *rows, uint32_t row_count, const uint64_t *addends,
/// uint32_t lists, const uint64_t *sums)`: adds up the gradient of each row and those that `lists` words of
/// `addends` name for it, 0 for none, in this order. The table `sums` has the address of each row's sum,
/// or 0 for a row that needs none. Sums of 16-bit gradients are float32, unless every operation rounds.
///
/// # Safety
/// The tables are valid for so many rows. Each address in `addends` is 0 or valid for reads of a gradient
/// like that of its row, and each in `sums` is 0 or valid for a sum of its row, and nobody else's.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_add(
    rows: *const u64,
    row_count: u32,
    addends: *const u64,
    lists: u32,
    sums: *const u64,
) -> i32 {
    guard(|| {
        let lists = lists as usize;
        // SAFETY: the caller vouches for the tables.
        let (rows, addends, sums) = unsafe {
            let rows = table::<Row>(rows, row_count, 0..row_count, "add up")?;
            (rows, read(addends, lists * rows.len(), "addends")?, read(sums, rows.len(), "sums")?)
        };
        let level = config()?.level();
        for (index, row) in rows.iter().enumerate() {
            if row.is_idle() || sums[index] == 0 {
                continue;
            }
            let terms = &addends[index * lists..][..lists];
            // SAFETY: the caller vouches for the addresses.
            unsafe { add_up(index, row, terms, sums[index], level)? };
        }
        Ok(())
    })
}

/// # Safety
/// As for `descent_world_add`.
unsafe fn add_up(
    index: usize,
    row: &Row,
    terms: &[u64],
    sum: u64,
    level: Level,
) -> Result<(), Error> {
    let mut parts = Vec::with_capacity(1 + terms.len());
    for grad in [row.grad].into_iter().chain(terms.iter().copied().filter(|&grad| grad != 0)) {
        check(index, &Row { grad, ..*row })?;
        // SAFETY: checked, and the caller vouches for the address.
        parts.push(unsafe { std::slice::from_raw_parts(pointer(grad), gradient_bytes(row)) });
    }
    let form = form_of(row);
    let bytes = form.sum_bytes() * row.length as usize;
    // SAFETY: as above; nobody else has the sum.
    let sums = unsafe { std::slice::from_raw_parts_mut(pointer(sum), bytes) };
    form.add_up(level, &parts, sums);
    Ok(())
}
