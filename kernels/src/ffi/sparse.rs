//! The boundary of [`crate::sparse`].

use super::layout::{GroupRow, Row, SparseRow, dtype};
use super::pointers::{address, group_table, table};
use super::process::{config, guard};
use crate::error::Error;
use crate::lanes::Real;
use crate::rule::Hyperparameters;
use crate::sparse::{self, Scratch, SparseSlot, SparseTensor};
use std::cell::RefCell;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// `int32_t descent_sparse_step(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const double *groups, uint32_t group_count)`: one step of the matrices `from..to`.
///
/// # Safety
/// `rows` is valid for reads of `row_count` rows, `groups` of `group_count` rows, and what the parent
/// module's documentation says of the addresses is true, with `count * columns` values and `count`
/// indices.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_sparse_step(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    groups: *const f64,
    group_count: u32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for both tables, and for the addresses in them.
        unsafe {
            let rows = table(rows, row_count, from..to, "step")?;
            step_matrices(rows, from as usize, group_table(groups, group_count, "step")?)
        }
    })
}

/// One step of the matrices from one on.
///
/// # Safety
/// What `descent_sparse_step` says of addresses is true.
pub unsafe fn step_matrices(
    rows: &[SparseRow],
    from: usize,
    groups: &[GroupRow],
) -> Result<(), Error> {
    let groups: Vec<Hyperparameters> = groups.iter().map(GroupRow::hyperparameters).collect();
    let mut tensors = Vec::new();
    for (index, row) in rows.iter().enumerate().skip(from) {
        // SAFETY: the caller vouches for the addresses, until this function returns.
        tensors.push(unsafe {
            match row.matrix.code() {
                dtype::F32 => SparseTensor::F32(slot(index, row, &groups)?),
                dtype::F64 => SparseTensor::F64(slot(index, row, &groups)?),
                dtype => {
                    let text = format!("Cannot step matrix {index}: dtype {dtype}");
                    return Err(Error::Table(text));
                }
            }
        });
    }
    SCRATCH.with_borrow_mut(|scratch| sparse::step(&mut tensors, &groups, scratch, config()?))
}

/// # Safety
/// The row's addresses are null or valid for as many elements as it says, exclusive for data and
/// buffer, for as long as the slot is used.
unsafe fn slot<'a, T: Real>(
    index: usize,
    row: &SparseRow,
    groups: &[Hyperparameters],
) -> Result<SparseSlot<'a, T>, Error> {
    let Row { data, grad: values, buffer, length, group, .. } = row.matrix;
    let group = group as usize;
    let [length, count, columns] = [length, row.count, row.columns].map(|n| n as usize);
    let buffered = groups.get(group).is_some_and(|h| h.momentum != 0.0);
    let data = address::<T>(index, "data", data)?;
    // Arrays without elements may lie nowhere.
    let entries = match count {
        0 => None,
        _ => Some((address(index, "indices", row.indices)?, address(index, "values", values)?)),
    };
    let buffer = if buffered { Some(address::<T>(index, "buffer", buffer)?) } else { None };
    // SAFETY: not null and aligned; the rest is the caller's promise.
    unsafe {
        let (indices, values): (&[u32], &[T]) = entries.map_or((&[], &[]), |(indices, values)| {
            let values = std::slice::from_raw_parts(values, count.saturating_mul(columns));
            (std::slice::from_raw_parts(indices, count), values)
        });
        Ok(SparseSlot {
            param: std::slice::from_raw_parts_mut(data, length),
            buffer: buffer.map_or(&mut [], |b| std::slice::from_raw_parts_mut(b, length)),
            indices,
            values,
            columns,
            first: row.matrix.is_first(),
            group,
        })
    }
}
