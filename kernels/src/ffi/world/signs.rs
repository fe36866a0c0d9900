//! The boundary of [`crate::world::signs`]: rows of the tensor table that are stepped by majority vote.

use super::super::extras::Extras;
use super::super::layout::{GroupRow, Row, dtype};
use super::super::parts::{Ballots, Origin};
use super::super::pointers::pointer;
use super::super::process::config;
use super::super::rows::Rows;
use super::exchange::{RowTensors, data_bytes, form_of, part_of};
use super::with_world;
use crate::error::Error;
use crate::parallel;
use crate::rule::Hyperparameters;
use crate::step::{Call, Plan, spread, tally};
use crate::world::exchange::Tensors;
use crate::world::partition::Segment;
use crate::world::signs::{BALLOT, Place, Voters};
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
        let mut voters = RowVoters::new(tensors()?);
        let level = config()?.level();
        let mut signs = std::mem::take(&mut world.signs);
        signs.prepare(&voters.tensors.lengths(), world.size());
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
    stored: Copies,
}

impl<'a> RowVoters<'a> {
    fn new(tensors: RowTensors<'a>) -> Self {
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
        RowVoters { tensors, marks, moves, moving, stored: Copies::default() }
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

/// Whether a row is computed in the type that it is stored in, and that is not float32.
fn is_stored_as_computed(row: &Row) -> bool {
    use dtype::{BF16_PER_OP, F16_PER_OP, F64};
    [F64, F16_PER_OP, BF16_PER_OP].contains(&row.dtype())
}

impl RowVoters<'_> {
    /// The rows of places that cast ballots from an address on, or whose copies are moved instead.
    fn casting(&mut self, places: &[Place], ballots: usize) -> (Vec<Row>, Vec<Origin>) {
        let all = self.tensors.rows;
        let mut stored = self.stored.cut(places, all);
        let part = |place: &Place| {
            let row = &all[place.segment.tensor];
            let (mut part, mut origin) = own_part(row, &place.segment);
            if is_stored_as_computed(row) {
                let copy = stored.next().expect("each of these has one");
                copy_or_clear(&part, self.tensors.groups[row.group as usize].weight_decay, copy);
                part.data = copy.as_mut_ptr().expose_provenance() as u64;
            } else {
                origin.ballots = Ballots::Cast((ballots + place.first * BALLOT) as u64);
            }
            (part, origin)
        };
        places.iter().map(part).unzip()
    }
}

impl Voters for RowVoters<'_> {
    fn has_gradient(&self, tensor: usize) -> bool {
        self.tensors.form(tensor).is_some()
    }

    fn cast(&mut self, places: &[Place], ballots: &mut [u64]) -> Result<(), Error> {
        let all = self.tensors.rows;
        let (rows, origins) = self.casting(places, ballots.as_mut_ptr().expose_provenance());
        run(&rows, &origins, self.tensors.groups, &self.marks)?;
        let mut stored = self.stored.cut(places, all);
        for place in places {
            let row = &all[place.segment.tensor];
            if is_stored_as_computed(row) {
                let copy = stored.next().expect("each of these has one");
                tally_row(row, copy, &mut ballots[place.first..][..place.count()]);
            }
        }
        Ok(())
    }

    fn follow(&mut self, places: &[Place], ballots: &mut [u64]) -> Result<(), Error> {
        let all = self.tensors.rows;
        let mut stored = self.stored.cut(places, all);
        let part = |place: &Place| {
            let row = &all[place.segment.tensor];
            let (mut part, mut origin) = own_part(row, &place.segment);
            part.buffer = 0; // momentum has been updated
            let ballots = &mut ballots[place.first..][..place.count()];
            if is_stored_as_computed(row) {
                let signs = stored.next().expect("each of these has some");
                spread_row(row, ballots, signs);
                part.grad = signs.as_ptr().expose_provenance() as u64;
            } else {
                origin.ballots = Ballots::Follow(ballots.as_mut_ptr().expose_provenance() as u64);
            }
            (part, origin)
        };
        let (rows, origins): (Vec<_>, Vec<_>) = places.iter().map(part).unzip();
        run(&rows, &origins, &self.moving, &self.moves)
    }
}

/// Steps parts of tensors.
fn run(rows: &[Row], origins: &[Origin], groups: &[GroupRow], plan: &Plan) -> Result<(), Error> {
    let extras = Extras::of_parts(origins, None);
    // SAFETY: each row is a part of one of those that the table has, or lies in staging memory, and no two
    // of them overlap, nor do their ballots. All of it lives until this returns.
    let tasks = unsafe { Rows::new(rows, 0, groups, false, Some(&extras))? };
    parallel::run(tasks, tasks.bytes, plan, config()?)
}

/// The row of a part with its own gradient.
fn own_part(row: &Row, segment: &Segment) -> (Row, Origin) {
    let grad = row.grad + (segment.from * form_of(row).gradient_bytes()) as u64;
    part_of(row, segment, grad, row.kind)
}

/// Memory for what is stored as it is computed with, and not in float32: copies of parameters, or signs.
#[derive(Default)]
struct Copies(Staging);

impl Copies {
    /// A slice for each place that needs one.
    fn cut<'a>(
        &'a mut self,
        places: &'a [Place],
        rows: &'a [Row],
    ) -> impl Iterator<Item = &'a mut [u8]> {
        let bytes = |place: &Place| {
            let row = &rows[place.segment.tensor];
            let is_needed = is_stored_as_computed(row);
            is_needed.then(|| data_bytes(row) * place.segment.length)
        };
        let sizes = places.iter().filter_map(bytes);
        let mut rest = self.0.resize(sizes.clone().map(padded).sum());
        sizes.map(move |bytes| {
            let (part, next) = std::mem::take(&mut rest).split_at_mut(padded(bytes));
            rest = next;
            &mut part[..bytes]
        })
    }
}

/// Copies the elements of a part, or makes zeros of them, as their values do not matter without weight
/// decay.
fn copy_or_clear(part: &Row, weight_decay: f64, to: &mut [u8]) {
    if weight_decay == 0.0 {
        to.fill(0);
    } else {
        // SAFETY: the row is a part of one whose address is valid for so many bytes.
        to.copy_from_slice(unsafe { std::slice::from_raw_parts(pointer(part.data), to.len()) });
    }
}

/// Ballots by the signs of elements of a row's type.
fn tally_row(row: &Row, from: &[u8], ballots: &mut [u64]) {
    match row.dtype() {
        dtype::F64 => tally::<f64>(elements(from), ballots, |x| x),
        dtype::F16_PER_OP => tally::<f16>(elements(from), ballots, f16::to_f64),
        _ => tally::<bf16>(elements(from), ballots, bf16::to_f64),
    }
}

/// Signs of a row's type.
fn spread_row(row: &Row, ballots: &[u64], to: &mut [u8]) {
    match row.dtype() {
        dtype::F64 => spread::<f64>(ballots, elements_mut(to), f64::from),
        dtype::F16_PER_OP => spread(ballots, elements_mut(to), f16::from_f32),
        _ => spread(ballots, elements_mut(to), bf16::from_f32),
    }
}
