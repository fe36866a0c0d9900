//! The boundary of [`crate::world::exchange`]: rows of the tensor table as tensors that all ranks step
//! together.

use super::super::extras::Extras;
use super::super::layout::{CallRow, GroupRow, Row, dtype, format};
use super::super::parts::{Ballots, Origin};
use super::super::pointers::{group_table, pointer, table, write};
use super::super::process::config;
use super::super::row_checks::check;
use super::super::rows::Rows;
use super::super::step::call;
use super::with_world;
use crate::error::Error;
use crate::formats::momentum8;
use crate::gradients::norm::Total;
use crate::gradients::order::Order;
use crate::parallel;
use crate::step::{Call, Plan, Types};
use crate::world::World;
use crate::world::exchange::{Exchange, Mode, Part, Tensors};
use crate::world::ordered::{Form, Norm};
use crate::world::partition::Segment;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// `int32_t descent_world_step(const uint64_t *rows, uint32_t row_count, const double *groups,
/// uint32_t group_count, const double *call, uint32_t shards)`: a step of all ranks together, with the
/// sums of their gradients. With shards each rank steps its part and gives it to the others.
///
/// # Safety
/// As `descent_step`, with a call row.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn descent_world_step(
    rows: *const u64,
    row_count: u32,
    groups: *const f64,
    group_count: u32,
    call: *const f64,
    shards: u32,
) -> i32 {
    // SAFETY: the caller's promise.
    let tensors = unsafe { || RowTensors::new(rows, row_count, groups, group_count, call) };
    with_world(|world| {
        let mut tensors = tensors()?;
        let level = config()?.level();
        exchange(world, &tensors.lengths(), |exchange, world| {
            exchange.run(world, &mut tensors, mode(shards), level)
        })
    })
}

/// `int32_t descent_world_measure(const uint64_t *rows, uint32_t row_count, double scale, double *sums,
/// uint32_t group_count, uint32_t order)`: as `descent_norm`, of the sums over all ranks, which are kept.
///
/// # Safety
/// As `descent_norm`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn descent_world_measure(
    rows: *const u64,
    row_count: u32,
    scale: f64,
    sums: *mut f64,
    group_count: u32,
    order: u32,
) -> i32 {
    with_world(|world| {
        // SAFETY: the caller vouches for the table and the sums.
        let (mut tensors, sums) = unsafe {
            let sums = write(sums.cast::<[f64; 2]>(), group_count as usize, "sums")?;
            (RowTensors::of_table(rows, row_count)?, sums)
        };
        let norm = Norm { order: Order::of(order)?, scale, level: config()?.level() };
        let mut totals = Vec::new();
        exchange(world, &tensors.lengths(), |exchange, world| {
            totals = exchange.measure(world, &mut tensors, norm)?;
            Ok(())
        })?;
        MEASURED.store(mark_of(tensors.rows), Relaxed);
        add_totals(tensors.rows, &totals, norm.order, sums);
        Ok(())
    })
}

/// The mark of the rows whose sums are kept, or 0. The lock of the world orders its uses.
static MEASURED: AtomicU64 = AtomicU64::new(0);

/// A mark of rows: of where their parameters and gradients are, and of their lengths. It is not 0.
fn mark_of(rows: &[Row]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for row in rows {
        (row.data, row.grad, row.length, row.kind).hash(&mut hasher);
    }
    hasher.finish() | 1
}

/// Adds totals of rows to those of their groups.
pub fn add_totals(rows: &[Row], totals: &[Total], order: Order, sums: &mut [[f64; 2]]) {
    for (row, &Total { measure, finite }) in rows.iter().zip(totals) {
        let Some(sum) = sums.get_mut(row.group as usize).filter(|_| !row.is_idle()) else {
            continue;
        };
        sum[0] = order.join(sum[0], measure);
        if !finite {
            sum[1] = 1.0;
        }
    }
}

/// `int32_t descent_world_apply(const uint64_t *rows, uint32_t row_count, const double *groups,
/// uint32_t group_count, const double *call, uint32_t shards)`: as `descent_world_step`, with the sums that
/// `descent_world_measure` has kept for these rows.
///
/// # Safety
/// As `descent_world_step`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn descent_world_apply(
    rows: *const u64,
    row_count: u32,
    groups: *const f64,
    group_count: u32,
    call: *const f64,
    shards: u32,
) -> i32 {
    // SAFETY: the caller's promise.
    let tensors = unsafe { || RowTensors::new(rows, row_count, groups, group_count, call) };
    with_world(|world| {
        let mut tensors = tensors()?;
        if MEASURED.load(Relaxed) != mark_of(tensors.rows) {
            return Err(Error::Table("Cannot apply as no sums of these rows are kept".to_owned()));
        }
        exchange(world, &tensors.lengths(), |exchange, world| {
            exchange.apply(world, &mut tensors, mode(shards))
        })
    })
}

pub fn mode(shards: u32) -> Mode {
    if shards != 0 { Mode::Shards } else { Mode::Gradients }
}

/// Runs an exchange, whose memory the world keeps.
pub fn exchange(
    world: &mut World,
    lengths: &[usize],
    run: impl FnOnce(&mut Exchange, &mut World) -> Result<(), Error>,
) -> Result<(), Error> {
    MEASURED.store(0, Relaxed);
    let mut exchange = std::mem::take(&mut world.exchange);
    exchange.prepare(lengths, world.size());
    let result = run(&mut exchange, world);
    world.exchange = exchange;
    result
}

/// Rows of the tensor table. The owner has exclusive access to their arrays.
pub struct RowTensors<'a> {
    pub rows: &'a [Row],
    pub groups: &'a [GroupRow],
    pub call: Call,
    /// The types that they are computed in.
    pub types: Types,
    pub plan: Plan,
}

impl<'a> RowTensors<'a> {
    /// # Safety
    /// As `descent_step`, for as long as `'a`.
    pub unsafe fn new(
        rows: *const u64,
        row_count: u32,
        groups: *const f64,
        group_count: u32,
        row: *const f64,
    ) -> Result<Self, Error> {
        // SAFETY: the caller vouches for all tables.
        let (mut tensors, groups, row) = unsafe {
            let groups = group_table(groups, group_count, "step")?;
            (RowTensors::of_table(rows, row_count)?, groups, row.cast::<CallRow>().as_ref())
        };
        // SAFETY: the caller's promise.
        let types = unsafe { Rows::new(rows_of(&tensors), 0, groups, false, None) }?.types();
        let settings = groups.iter().map(|row| (row.hyperparameters(), row.coefficient));
        tensors.call = row.map_or(Call::NEUTRAL, call);
        tensors.plan.set(settings, &tensors.call, types);
        (tensors.groups, tensors.types) = (groups, types);
        Ok(tensors)
    }

    /// Rows without groups, which can be summed up.
    ///
    /// # Safety
    /// The table is valid, and the addresses in it are too, and nobody else's, for as long as `'a`.
    pub unsafe fn of_table(rows: *const u64, row_count: u32) -> Result<Self, Error> {
        // SAFETY: the caller's promise.
        let rows = unsafe { table::<Row>(rows, row_count, 0..row_count, "step")? };
        for (index, row) in rows.iter().enumerate() {
            if !row.is_idle() {
                check(index, row)?;
            }
        }
        let (call, types) = (Call::NEUTRAL, Types::ALL);
        Ok(RowTensors { rows, groups: &[], call, types, plan: Plan::empty() })
    }

    /// The lengths of all.
    pub fn lengths(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.length as usize).collect()
    }
}

fn rows_of<'a>(tensors: &RowTensors<'a>) -> &'a [Row] {
    tensors.rows
}

impl<'a> Tensors<'a> for RowTensors<'a> {
    fn form(&self, tensor: usize) -> Option<Form> {
        let row = &self.rows[tensor];
        if row.is_idle() { None } else { Some(form_of(row)) }
    }

    fn gradient(&self, tensor: usize) -> &'a [u8] {
        let row = &self.rows[tensor];
        let bytes = gradient_bytes(row);
        // SAFETY: `of_table` has its caller's promise, and `check` has found the address not null.
        unsafe { std::slice::from_raw_parts(pointer(row.grad), bytes) }
    }

    fn data_bytes(&self, tensor: usize) -> usize {
        data_bytes(&self.rows[tensor])
    }

    fn data(&mut self, tensor: usize) -> &mut [u8] {
        let row = &self.rows[tensor];
        // SAFETY: as above, and the result borrows these tensors alone.
        unsafe {
            std::slice::from_raw_parts_mut(pointer(row.data), data_bytes(row) * row.length as usize)
        }
    }

    fn step(&mut self, parts: &[Part<'_>]) -> Result<(), Error> {
        let (rows, origins): (Vec<Row>, Vec<Origin>) =
            parts.iter().map(|part| summed_part(&self.rows[part.segment.tensor], part)).unzip();
        let extras = Extras::of_parts(&origins, None);
        // SAFETY: each row is a part of one of these rows, no two of them overlap, and the sums live as long
        // as the parts.
        let rows = unsafe { Rows::new(&rows, 0, self.groups, false, Some(&extras))? };
        parallel::run(rows, rows.bytes, &self.plan, config()?)
    }
}

/// Bytes of an element of a row's parameter.
pub fn data_bytes(row: &Row) -> usize {
    match row.dtype() {
        dtype::F32 => 4,
        dtype::F64 => 8,
        _ => 2,
    }
}

/// Bytes of an element of a row's momentum, if that is not in 8 bits.
pub fn buffer_bytes(row: &Row) -> usize {
    match row.dtype() {
        dtype::F64 => 8,
        dtype::F16_PER_OP | dtype::BF16_PER_OP => 2,
        _ => 4,
    }
}

/// Bytes of an element of a row's master weight or correction.
pub fn master_bytes(row: &Row) -> usize {
    match () {
        () if row.has(format::SPLIT) => 2,
        () if row.has(format::SPLIT24) => 1,
        () => 4,
    }
}

/// Bytes of a row's gradient.
pub fn gradient_bytes(row: &Row) -> usize {
    form_of(row).gradient_bytes() * row.length as usize
}

/// How a row's gradient is stored.
pub fn form_of(row: &Row) -> Form {
    use dtype::{BF16_PER_OP, F16, F16_PER_OP, F16_STOCHASTIC, F32, F64};
    match row.dtype() {
        _ if row.has(format::GRAD_F32) => Form::F32,
        F32 => Form::F32,
        F64 => Form::F64,
        F16_PER_OP => Form::F16PerOp,
        BF16_PER_OP => Form::Bf16PerOp,
        F16 | F16_STOCHASTIC => Form::F16,
        _ => Form::Bf16,
    }
}

/// The row of a part, with its sums as gradient, and where it comes from.
pub fn summed_part(row: &Row, part: &Part<'_>) -> (Row, Origin) {
    use dtype::{BF16_PER_OP, F16_PER_OP, F32, F64};
    let is_summed_as_stored = [F32, F64, F16_PER_OP, BF16_PER_OP].contains(&row.dtype());
    let kind = row.kind | if is_summed_as_stored { 0 } else { format::GRAD_F32 };
    part_of(row, &part.segment, part.sums.as_ptr().expose_provenance() as u64, kind)
}

/// The row of a part, with a gradient of its own, and where it comes from.
pub fn part_of(row: &Row, segment: &Segment, grad: u64, kind: u32) -> (Row, Origin) {
    let (from, n) = (segment.from, row.length as usize);
    let shift = |word: u64, bytes: usize| if word == 0 { 0 } else { word + (from * bytes) as u64 };
    let eight = row.has(format::MOMENTUM8);
    let scales =
        row.buffer + (momentum8::scales_offset(n) + momentum8::scales(segment.from)) as u64;
    let part_row = Row {
        data: shift(row.data, data_bytes(row)),
        grad,
        buffer: shift(row.buffer, if eight { 1 } else { buffer_bytes(row) }),
        master: shift(row.master, master_bytes(row)),
        length: segment.length as u64,
        kind,
        group: row.group,
    };
    let (number, offset) = (segment.tensor as u32, segment.from);
    (part_row, Origin { number, offset, scales, ballots: Ballots::None })
}

/// The rows that cross the boundary have the exchange's blocks at whole blocks of 8-bit momentum.
const _: () = assert!(crate::gradients::norm::BLOCK.is_multiple_of(crate::registers::BLOCK));
