//! The boundary of [`crate::world::shared`] and [`crate::world::in_place`]: memory that the ranks of a
//! machine share, and steps of tensors that lie in it.

use super::super::addends::AddendTable;
use super::super::extras::Extras;
use super::super::layout::Row;
use super::super::parts::Origin;
use super::super::pointers::{pointer, write};
use super::super::process::config;
use super::super::rows::Rows;
use super::exchange::{
    RowTensors, add_totals, data_bytes, exchange, form_of, gradient_bytes, mode, part_of,
};
use super::{with_open, with_world};
use crate::error::Error;
use crate::gradients::order::Order;
use crate::parallel;
use crate::world::World;
use crate::world::exchange::{Part, Tensors};
use crate::world::in_place::Seen;
use crate::world::ordered::{Form, Norm};
use crate::world::partition::Segment;
use crate::world::shared::Shared;

/// `int32_t descent_world_zeros(double bytes, uint64_t *address)`: makes zeroed arrays of so many bytes,
/// one for each rank, that the ranks of a machine share, and writes the address of this rank's. They live
/// as long as the process.
///
/// # Safety
/// `address` is valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_zeros(bytes: f64, address: *mut u64) -> i32 {
    with_open(|world| {
        // SAFETY: the caller vouches for the pointer.
        let out = unsafe { write(address, 1, "the address")? };
        out[0] = world.zeros(bytes as usize)? as u64;
        Ok(())
    })
}

/// `int32_t descent_world_step_in_place(const uint64_t *rows, uint32_t row_count, const double *groups,
/// uint32_t group_count, const double *call, uint32_t shards)`: as `descent_world_step`, of rows whose
/// gradients, and with shards also parameters, all ranks share.
///
/// # Safety
/// As `descent_world_step`.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_step_in_place(
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
        let mut tensors = SharedTensors::new(tensors()?, world, shards != 0)?;
        exchange(world, &tensors.own.lengths(), |exchange, world| {
            exchange.run_in_place(world, &mut tensors, mode(shards))
        })
    })
}

/// `int32_t descent_world_measure_in_place(const uint64_t *rows, uint32_t row_count, double scale,
/// double *sums, uint32_t group_count, uint32_t order)`: as `descent_world_measure`, of rows whose
/// gradients all ranks share. No sums are kept.
///
/// # Safety
/// As `descent_world_measure`.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_measure_in_place(
    rows: *const u64,
    row_count: u32,
    scale: f64,
    sums: *mut f64,
    group_count: u32,
    order: u32,
) -> i32 {
    with_world(|world| {
        // SAFETY: the caller vouches for the table and the sums.
        let (tensors, sums) = unsafe {
            let sums = write(sums.cast::<[f64; 2]>(), group_count as usize, "sums")?;
            (RowTensors::of_table(rows, row_count)?, sums)
        };
        let mut tensors = SharedTensors::new(tensors, world, false)?;
        let norm = Norm { order: Order::of(order)?, scale, level: config()?.level() };
        let mut totals = Vec::new();
        exchange(world, &tensors.own.lengths(), |exchange, world| {
            totals = exchange.measure_in_place(world, &mut tensors, norm)?;
            Ok(())
        })?;
        add_totals(tensors.own.rows, &totals, norm.order, sums);
        Ok(())
    })
}

/// Where the arrays of a row lie; none that it does not have.
#[derive(Clone, Copy, Default)]
struct Place {
    grad: Option<Shared>,
    data: Option<Shared>,
}

/// Rows whose arrays all ranks see.
struct SharedTensors<'a> {
    own: RowTensors<'a>,
    places: Vec<Place>,
    rank: usize,
    size: usize,
}

impl<'a> SharedTensors<'a> {
    fn new(own: RowTensors<'a>, world: &World, shards: bool) -> Result<Self, Error> {
        let find = |what: &str, index: usize, address: u64, bytes: usize| {
            let found = world.memories.find(address as usize, bytes);
            found.map(Some).ok_or_else(|| {
                Error::Table(format!("Cannot step tensor {index} as its {what} is not shared"))
            })
        };
        let mut places = Vec::with_capacity(own.rows.len());
        for (index, row) in own.rows.iter().enumerate() {
            let mut place = Place::default();
            if !row.is_idle() && row.length > 0 {
                place.grad = find("gradient", index, row.grad, gradient_bytes(row))?;
                if shards {
                    let bytes = data_bytes(row) * row.length as usize;
                    place.data = find("parameter", index, row.data, bytes)?;
                }
            }
            places.push(place);
        }
        Ok(SharedTensors { own, places, rank: world.rank(), size: world.size() })
    }

    /// Where a rank's gradient begins.
    fn gradient_at(&self, rank: usize, tensor: usize) -> u64 {
        let address = self.own.rows[tensor].grad;
        self.places[tensor].grad.map_or(address, |s| s.of(rank, address as usize) as u64)
    }
}

impl<'a> Tensors<'a> for SharedTensors<'a> {
    fn form(&self, tensor: usize) -> Option<Form> {
        self.own.form(tensor)
    }

    fn gradient(&self, tensor: usize) -> &'a [u8] {
        self.own.gradient(tensor)
    }

    fn data_bytes(&self, tensor: usize) -> usize {
        self.own.data_bytes(tensor)
    }

    fn data(&mut self, tensor: usize) -> &mut [u8] {
        self.own.data(tensor)
    }

    fn step(&mut self, parts: &[Part<'_>]) -> Result<(), Error> {
        self.own.step(parts)
    }
}

impl<'a> Seen<'a> for SharedTensors<'a> {
    fn gradient_of(&self, rank: usize, tensor: usize) -> &'a [u8] {
        let bytes = gradient_bytes(&self.own.rows[tensor]);
        // SAFETY: the place has been found to be mapped, and nobody writes to gradients during a step.
        unsafe { std::slice::from_raw_parts(pointer(self.gradient_at(rank, tensor)), bytes) }
    }

    fn step_with_all(&mut self, segments: &[Segment]) -> Result<(), Error> {
        let mut words = Vec::with_capacity(segments.len() * (self.size - 1));
        let (rows, origins): (Vec<Row>, Vec<Origin>) = segments
            .iter()
            .map(|segment| {
                let row = &self.own.rows[segment.tensor];
                let from = segment.from * form_of(row).gradient_bytes();
                let at = |rank| self.gradient_at(rank, segment.tensor) + from as u64;
                words.extend((1..self.size).map(at));
                part_of(row, segment, at(0), row.kind)
            })
            .unzip();
        // SAFETY: the words are addresses in mapped arrays like that of their row, each row is a part of one
        // of these rows, and no two of them overlap.
        unsafe {
            let addends = AddendTable::read(words.as_ptr(), self.size - 1, &rows, 0)?;
            let extras = Extras::of_parts(&origins, Some(addends));
            let rows = Rows::new(&rows, 0, self.own.groups, false, Some(&extras))?;
            parallel::run(rows, rows.bytes, &self.own.plan, config()?)
        }
    }

    fn give(&mut self, segments: &[Segment]) {
        for segment in segments {
            let row = &self.own.rows[segment.tensor];
            let Some(place) = self.places[segment.tensor].data else { continue };
            let bytes = data_bytes(row);
            let from = row.data as usize + segment.from * bytes;
            for rank in (0..self.size).filter(|&rank| rank != self.rank) {
                let (from, to) = (pointer::<u8>(from as u64), place.of(rank, from) as u64);
                // SAFETY: both are in mapped arrays, of two ranks, and only this rank writes this part.
                unsafe {
                    std::ptr::copy_nonoverlapping(from, pointer(to), segment.length * bytes);
                }
            }
        }
    }
}
