//! The boundary of [`crate::world::signs`]: rows of the tensor table that are stepped by majority vote.

use super::super::extras::Extras;
use super::super::layout::{GroupRow, Row, STATE_BITS, dtype, format};
use super::super::parts::Origin;
use super::super::pointers::pointer;
use super::super::process::config;
use super::super::rows::Rows;
use super::exchange::{RowTensors, data_bytes, form_of, summed_part};
use super::with_world;
use crate::dtype::Element;
use crate::error::Error;
use crate::formats::split::master;
use crate::parallel;
use crate::rule::Hyperparameters;
use crate::simd::Level;
use crate::step::{Call, Plan};
use crate::world::exchange::{Part, Tensors};
use crate::world::ordered::Form;
use crate::world::signs::{Place, Voters};
use crate::world::staging::{Staging, elements, elements_mut, padded};
use half::{bf16, f16};

/// `int32_t descent_world_signs(const uint64_t *rows, uint32_t row_count, const double *groups,
/// uint32_t group_count, const double *call)`: a step of all ranks together, along the signs that the most
/// of them have. Momentum is each rank's own.
///
/// # Safety
/// As `descent_step`, with a call row.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_signs(
    rows: *const u64,
    row_count: u32,
    groups: *const f64,
    group_count: u32,
    call: *const f64,
) -> i32 {
    // SAFETY: the caller's promise.
    let tensors = unsafe { || RowTensors::new(rows, row_count, groups, group_count, call) };
    with_world(|world| {
        let mut voters = RowVoters::new(tensors()?)?;
        let level = config()?.level();
        let mut signs = std::mem::take(&mut world.signs);
        signs.prepare(&voters.tensors.lengths());
        let result = signs.run(world, &mut voters, level);
        world.signs = signs;
        result
    })
}

/// Rows that vote. The owner has exclusive access to their arrays.
struct RowVoters<'a> {
    tensors: RowTensors<'a>,
    /// Updates the momentum, and marks parameters with the sign of what they would be moved along.
    marks: Plan,
    /// Moves parameters along signs.
    moves: Plan,
    /// The groups as that sees them, without momentum.
    moving: Vec<GroupRow>,
    /// Gradients in float32, or signs in another type than that.
    converted: Staging,
    /// Parameters in another type than float32.
    marked: Staging,
    level: Level,
}

impl<'a> RowVoters<'a> {
    fn new(tensors: RowTensors<'a>) -> Result<Self, Error> {
        let (groups, types) = (tensors.groups, tensors.types);
        let (mut marks, mut moves) = (Plan::empty(), Plan::empty());
        let of_groups = |change: fn(Hyperparameters) -> Hyperparameters| {
            groups.iter().map(move |row| (change(row.hyperparameters()), row.coefficient))
        };
        marks.set(of_groups(marking), &tensors.call, types);
        let source = tensors.call.source;
        let along = of_groups(moving).map(|(hyperparameters, _)| (hyperparameters, 1.0));
        moves.set(along, &Call { source, ..Call::NEUTRAL }, types);
        let moving = groups.iter().map(|&row| GroupRow { momentum: 0.0, ..row }).collect();
        let (converted, marked) = (Staging::default(), Staging::default());
        Ok(RowVoters { tensors, marks, moves, moving, converted, marked, level: config()?.level() })
    }

    fn group(&self, row: &Row) -> &GroupRow {
        &self.tensors.groups[row.group as usize]
    }
}

/// A step that takes a parameter to plus or minus infinity, or to NaN where the sign is zero: all else of
/// it is as it was, weight decay and momentum included.
fn marking(h: Hyperparameters) -> Hyperparameters {
    // Decoupled weight decay belongs to the step along the signs.
    let weight_decay = if h.decoupled_weight_decay { 0.0 } else { h.weight_decay };
    let decoupled_weight_decay = false;
    Hyperparameters { lr: f64::NEG_INFINITY, sign: true, weight_decay, decoupled_weight_decay, ..h }
}

/// A step along what is given as gradient.
fn moving(h: Hyperparameters) -> Hyperparameters {
    let weight_decay = if h.decoupled_weight_decay { h.weight_decay } else { 0.0 };
    let (momentum, dampening) = (0.0, 0.0);
    let (nesterov, maximize, sign) = (false, false, false);
    Hyperparameters { momentum, dampening, weight_decay, nesterov, maximize, sign, ..h }
}

/// How a row is computed in: as it is stored, or in float32.
fn is_stored_as_computed(row: &Row) -> bool {
    use dtype::{BF16_PER_OP, F16_PER_OP, F64};
    [F64, F16_PER_OP, BF16_PER_OP].contains(&row.dtype())
}

/// Whether float32 gradients have to be made of those of a row.
fn is_widened(row: &Row) -> bool {
    !is_stored_as_computed(row) && form_of(row) != Form::F32
}

impl Voters for RowVoters<'_> {
    fn has_gradient(&self, tensor: usize) -> bool {
        self.tensors.form(tensor).is_some()
    }

    fn decide(&mut self, places: &[Place], numbers: &mut [f32]) -> Result<(), Error> {
        let all = self.tensors.rows;
        let row_of = |place: &Place| &all[place.segment.tensor];
        let bytes = |place: &Place| padded(8 * place.segment.length);
        let widened = places.iter().filter(|place| is_widened(row_of(place)));
        self.converted.resize(widened.map(bytes).sum());
        let stored = places.iter().filter(|place| is_stored_as_computed(row_of(place)));
        self.marked.resize(stored.map(bytes).sum());
        let (mut gradients_end, mut marked_end) = (0, 0);
        let mut rows = Vec::with_capacity(places.len());
        for place in places {
            let Place { segment, start } = *place;
            let row = row_of(place);
            let (mut part, origin) = summed_part(row, &Part { segment, sums: &[] });
            let decays = self.group(row).weight_decay != 0.0;
            let gradient_bytes = form_of(row).gradient_bytes();
            part.grad = row.grad + (segment.from * gradient_bytes) as u64;
            part.kind = row.state() << STATE_BITS | row.dtype();
            if is_stored_as_computed(row) {
                let range = marked_end..marked_end + data_bytes(row) * segment.length;
                marked_end += bytes(place);
                let marked = &mut self.marked.all_mut()[range];
                copy_or_clear(&part, decays, marked);
                part.data = marked.as_mut_ptr().expose_provenance() as u64;
            } else {
                let numbers = &mut numbers[start..start + segment.length];
                if decays {
                    read_masters(self.level, row, &part, numbers);
                }
                if is_widened(row) {
                    let range = gradients_end..gradients_end + 4 * segment.length;
                    gradients_end += bytes(place);
                    let gradient = &mut self.converted.all_mut()[range];
                    widen(self.level, row, part.grad, elements_mut(gradient));
                    part.grad = gradient.as_ptr().expose_provenance() as u64;
                }
                part.data = numbers.as_mut_ptr().expose_provenance() as u64;
                part.master = 0;
                part.kind = row.state() << STATE_BITS | dtype::F32 | row.kind & format::MOMENTUM8;
            }
            rows.push((part, origin));
        }
        let (rows, origins): (Vec<Row>, Vec<Origin>) = rows.into_iter().unzip();
        let extras = Extras::of_parts(&origins, None);
        // SAFETY: no two rows overlap, momentum is that of these tensors, which nobody else has, and all else
        // is in memory that lives as long as the rows.
        let tasks = unsafe { Rows::new(&rows, 0, self.tensors.groups, false, Some(&extras))? };
        parallel::run(tasks, tasks.bytes, &self.marks, config()?)?;
        let mut marked_end = 0;
        for place in places.iter().filter(|place| is_stored_as_computed(row_of(place))) {
            let (row, length) = (row_of(place), place.segment.length);
            let marked = &self.marked.all()[marked_end..marked_end + data_bytes(row) * length];
            marked_end += bytes(place);
            narrow(self.level, row, marked, &mut numbers[place.start..place.start + length]);
        }
        Ok(())
    }

    fn descend(&mut self, parts: &[Part<'_>]) -> Result<(), Error> {
        let all = self.tensors.rows;
        let bytes = |part: &Part<'_>| padded(8 * part.segment.length);
        let row_of = |part: &Part<'_>| &all[part.segment.tensor];
        let stored = parts.iter().filter(|part| is_stored_as_computed(row_of(part)));
        let mut rest = self.converted.resize(stored.map(bytes).sum());
        let mut rows = Vec::with_capacity(parts.len());
        for part in parts {
            let row = row_of(part);
            if !is_stored_as_computed(row) {
                rows.push(summed_part(row, part));
                continue;
            }
            let (own, next) = rest.split_at_mut(bytes(part));
            let sums = &mut own[..data_bytes(row) * part.segment.length];
            store(self.level, row, elements(part.sums), sums);
            rows.push(summed_part(row, &Part { sums, ..*part }));
            rest = next;
        }
        // Momentum has been updated.
        let (rows, origins): (Vec<Row>, Vec<Origin>) =
            rows.into_iter().map(|(row, origin)| (Row { buffer: 0, ..row }, origin)).unzip();
        let extras = Extras::of_parts(&origins, None);
        // SAFETY: each row is a part of one of these rows, no two of them overlap, and the signs live as long
        // as the parts.
        let tasks = unsafe { Rows::new(&rows, 0, &self.moving, false, Some(&extras))? };
        parallel::run(tasks, tasks.bytes, &self.moves, config()?)
    }
}

/// Copies the elements of a part, or makes zeros of them, where their values do not matter.
fn copy_or_clear(part: &Row, copies: bool, to: &mut [u8]) {
    if copies {
        // SAFETY: the row is a part of one whose address is valid for so many bytes.
        to.copy_from_slice(unsafe { std::slice::from_raw_parts(pointer(part.data), to.len()) });
    } else {
        to.fill(0);
    }
}

/// Reads a part of a row as the float32 that is stepped: its master weights, if it has any.
fn read_masters(level: Level, row: &Row, part: &Row, to: &mut [f32]) {
    let n = to.len();
    // SAFETY: the row is a part of one whose addresses are valid, for elements of these types.
    unsafe {
        let bits = || std::slice::from_raw_parts::<u16>(pointer(part.data), n);
        if row.has(format::SPLIT) {
            let lower = std::slice::from_raw_parts::<i16>(pointer(part.master), n);
            let pairs = bits().iter().zip(lower);
            to.iter_mut().zip(pairs).for_each(|(to, (&p, &c))| *to = master(p, i32::from(c)));
        } else if row.has(format::SPLIT24) {
            let lower = std::slice::from_raw_parts::<i8>(pointer(part.master), n);
            let pairs = bits().iter().zip(lower);
            to.iter_mut().zip(pairs).for_each(|(to, (&p, &c))| *to = master(p, 256 * i32::from(c)));
        } else if row.dtype() == dtype::F32 || row.master != 0 {
            let from = if row.dtype() == dtype::F32 { part.data } else { part.master };
            to.copy_from_slice(std::slice::from_raw_parts(pointer(from), n));
        } else if [dtype::F16, dtype::F16_STOCHASTIC].contains(&row.dtype()) {
            f16::load(level, std::slice::from_raw_parts(pointer(part.data), n), to);
        } else {
            bf16::load(level, std::slice::from_raw_parts(pointer(part.data), n), to);
        }
    }
}

/// Reads gradients of a 16-bit type.
fn widen(level: Level, row: &Row, gradient: u64, to: &mut [f32]) {
    let n = to.len();
    // SAFETY: the row's gradient has elements of this type.
    unsafe {
        if form_of(row) == Form::F16 {
            f16::load(level, std::slice::from_raw_parts(pointer(gradient), n), to);
        } else {
            bf16::load(level, std::slice::from_raw_parts(pointer(gradient), n), to);
        }
    }
}

/// Numbers in float32 with the signs of those of a row that is not computed in it.
fn narrow(level: Level, row: &Row, from: &[u8], to: &mut [f32]) {
    match row.dtype() {
        dtype::F64 => {
            to.iter_mut().zip(elements::<f64>(from)).for_each(|(to, &x)| *to = x as f32);
        }
        dtype::F16_PER_OP => f16::load(level, elements(from), to),
        _ => bf16::load(level, elements(from), to),
    }
}

/// Stores signs in the type of a row that is not computed in float32.
fn store(level: Level, row: &Row, from: &[f32], to: &mut [u8]) {
    match row.dtype() {
        dtype::F64 => {
            elements_mut::<f64>(to).iter_mut().zip(from).for_each(|(to, &x)| *to = f64::from(x));
        }
        dtype::F16_PER_OP => f16::store(level, from, elements_mut(to)),
        _ => bf16::store(level, from, elements_mut(to)),
    }
}
