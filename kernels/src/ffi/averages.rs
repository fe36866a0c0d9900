//! The table of averages, and the boundary of [`crate::average`].

use super::layout::{CallRow, Row, dtype, format, state};
use super::pointers::{address, pointer, read, table};
use super::process::{config, guard};
use crate::average::Blend;
use crate::average::task::{Split, Whole};
use crate::dtype::Stored;
use crate::error::Error;
use crate::parallel::{self, Runner, TaskList};
use half::{bf16, f16};

/// Averages of the parameters of rows: a word for each row of the whole table, its address or 0.
#[derive(Clone, Copy, Debug)]
pub struct AverageTable<'a> {
    words: &'a [u64],
    blend: Blend,
}

impl<'a> AverageTable<'a> {
    /// Reads the table that a call row names, if it does, for rows from one on.
    ///
    /// # Safety
    /// As for [`AverageTable::read`].
    pub unsafe fn of_call(
        &CallRow { averages, average_weight, average_divisor, .. }: &CallRow,
        rows: &[Row],
        from: usize,
    ) -> Result<Option<Self>, Error> {
        if averages == 0.0 {
            return Ok(None);
        }
        let blend = Blend::new(average_weight, average_divisor);
        // SAFETY: the caller's promise.
        unsafe { Self::read(pointer(averages as u64), blend, rows, from) }.map(Some)
    }

    /// Reads and checks a table.
    ///
    /// # Safety
    /// The table is valid for reads of a word for each row, and each address in it is 0 or valid for as
    /// many elements of the average's type as its row has, exclusively, for as long as `'a`.
    unsafe fn read(
        table: *const u64,
        blend: Blend,
        rows: &[Row],
        from: usize,
    ) -> Result<Self, Error> {
        // SAFETY: the caller's promise.
        let words = unsafe { read(table, rows.len(), "averages")? };
        for (index, row) in rows.iter().enumerate().skip(from) {
            match words[index] {
                0 => {}
                word if row.dtype() == dtype::F64 => {
                    address::<f64>(index, "average", word)?;
                }
                word => {
                    address::<f32>(index, "average", word)?;
                }
            }
        }
        Ok(AverageTable { words, blend })
    }

    /// The average of a row, by its number in the whole table, and how it is updated; `None` if it has
    /// none.
    ///
    /// # Safety
    /// The average is valid for `length` elements of `T`, and nobody else's for as long as `'b`.
    pub unsafe fn find<'b, T>(&self, number: usize, length: usize) -> Option<(&'b mut [T], Blend)> {
        let word = self.words[number];
        // SAFETY: the caller's promise.
        (word != 0).then(|| (unsafe { slice_mut(word, length) }, self.blend))
    }
}

/// `int32_t descent_average(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const uint64_t *averages, double weight, double divisor)`: updates the averages of those of the rows
/// `from..to` that a step leaves alone as they have no dense gradient.
///
/// # Safety
/// `rows` is valid for reads of `row_count` rows and `averages` of as many words, and the rows' data and
/// master weights for reads of `length` elements. An average is valid for as many, and overlaps nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_average(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    averages: *const u64,
    weight: f64,
    divisor: f64,
) -> i32 {
    guard(|| {
        let blend = Blend::new(weight, divisor);
        // SAFETY: the caller vouches for both tables, and for the addresses in them.
        unsafe {
            let rows = table::<Row>(rows, row_count, from..to, "average")?;
            let averages = AverageTable::read(averages, blend, rows, from as usize)?;
            update_resting(rows, from as usize, averages)
        }
    })
}

/// Updates the averages that a call row names, of rows from one on that the step leaves alone.
///
/// # Safety
/// As `descent_average`.
pub unsafe fn average_resting(
    rows: &[Row],
    from: usize,
    call: Option<&CallRow>,
) -> Result<(), Error> {
    let Some(call) = call else {
        return Ok(());
    };
    // SAFETY: the caller's promise.
    unsafe {
        match AverageTable::of_call(call, rows, from)? {
            Some(averages) => update_resting(rows, from, averages),
            None => Ok(()),
        }
    }
}

/// # Safety
/// As `descent_average`.
unsafe fn update_resting(
    rows: &[Row],
    from: usize,
    averages: AverageTable<'_>,
) -> Result<(), Error> {
    let resting = Resting { rows: &rows[from..], from, averages };
    let mut bytes = 0_usize;
    for index in 0..resting.rows.len() {
        if resting.has(index) {
            check(from + index, &resting.rows[index])?;
            bytes = bytes.wrapping_add(resting.bytes(index));
        }
    }
    parallel::run(resting, bytes, &averages.blend, config()?)
}

/// Checks the address of what a row is averaged by.
fn check(index: usize, row: &Row) -> Result<(), Error> {
    use dtype::{F32, F64};
    match row.dtype() {
        F32 => address::<f32>(index, "data", row.data).map(|_| ()),
        F64 => address::<f64>(index, "data", row.data).map(|_| ()),
        _ if row.has(format::SPLIT) => address::<i16>(index, "correction", row.master).map(|_| ()),
        _ if row.has(format::SPLIT24) => address::<i8>(index, "correction", row.master).map(|_| ()),
        _ if row.master != 0 => address::<f32>(index, "master copy", row.master).map(|_| ()),
        _ => address::<u16>(index, "data", row.data).map(|_| ()),
    }
}

/// Rows that a step leaves alone, of which some have averages.
#[derive(Clone, Copy)]
struct Resting<'a> {
    rows: &'a [Row],
    /// The number of the first row in the whole table.
    from: usize,
    averages: AverageTable<'a>,
}

impl Resting<'_> {
    /// Whether there is an average to be updated.
    fn has(&self, index: usize) -> bool {
        let row = &self.rows[index];
        row.state() == state::SKIP && row.length > 0 && self.averages.words[self.from + index] != 0
    }
}

impl TaskList for Resting<'_> {
    type Plan = Blend;

    fn count(&self) -> usize {
        self.rows.len()
    }

    fn bytes(&self, index: usize) -> usize {
        if !self.has(index) {
            return 0;
        }
        let row = &self.rows[index];
        let element = if row.dtype() == dtype::F64 { size_of::<f64>() } else { size_of::<f32>() };
        element.wrapping_mul(row.length as usize)
    }

    fn run(&mut self, index: usize, runner: &Runner<'_, Blend>) {
        if !self.has(index) {
            return;
        }
        let (row, word) = (&self.rows[index], self.averages.words[self.from + index]);
        // SAFETY: `check` has found the addresses neither null nor unaligned, `descent_average`'s caller
        // vouches for them, and no task lives longer than its call.
        unsafe { run_row(row, word, runner) }
    }

    fn split(self, index: usize) -> (Self, Self) {
        let (a, b) = self.rows.split_at(index);
        (Resting { rows: a, ..self }, Resting { rows: b, from: self.from + index, ..self })
    }
}

/// # Safety
/// The row has been checked, and its addresses and that of its average are valid for `length` elements.
unsafe fn run_row(row: &Row, word: u64, runner: &Runner<'_, Blend>) {
    use dtype::{F16, F16_PER_OP, F16_STOCHASTIC, F32, F64};
    let n = row.length as usize;
    // SAFETY: the caller's promise.
    unsafe {
        match row.dtype() {
            F32 => runner.run(whole::<f32>(row.data, word, n)),
            F64 => runner.run(whole::<f64>(row.data, word, n)),
            _ if row.has(format::SPLIT) => {
                let lower: &[i16] = slice(row.master, n);
                runner.run(Split {
                    params: slice(row.data, n),
                    lower,
                    average: slice_mut(word, n),
                });
            }
            _ if row.has(format::SPLIT24) => {
                let lower: &[i8] = slice(row.master, n);
                runner.run(Split {
                    params: slice(row.data, n),
                    lower,
                    average: slice_mut(word, n),
                });
            }
            _ if row.master != 0 => runner.run(whole::<f32>(row.master, word, n)),
            F16 | F16_PER_OP | F16_STOCHASTIC => runner.run(whole::<f16>(row.data, word, n)),
            _ => runner.run(whole::<bf16>(row.data, word, n)),
        }
    }
}

/// # Safety
/// Both addresses are aligned and valid for `n` elements, that of the average exclusively, for as long as
/// `'a`.
unsafe fn whole<'a, H: Stored>(values: u64, average: u64, n: usize) -> Whole<'a, H> {
    // SAFETY: the caller's promise.
    unsafe { Whole { values: slice(values, n), average: slice_mut(average, n) } }
}

/// # Safety
/// The address is aligned and valid for `n` elements that nobody writes, for as long as `'a`.
unsafe fn slice<'a, T>(word: u64, n: usize) -> &'a [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(pointer(word), n) }
}

/// # Safety
/// The address is aligned, valid for `n` elements and nobody else's, for as long as `'a`.
unsafe fn slice_mut<'a, T>(word: u64, n: usize) -> &'a mut [T] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(pointer(word), n) }
}
