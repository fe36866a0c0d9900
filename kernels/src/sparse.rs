//! Sparse gradients: the rule for a matrix of which only some rows have a gradient.
//!
//! A row may be named more than once. As in torch, what comes out depends on the options:
//!
//! - without momentum and sign, each entry is a step of its own, in the order in which they come;
//! - else the entries of a row are added up first, in that order, and make one step;
//! - with momentum, a row without an entry has a gradient of zeros. At the first step nothing comes
//!   of that, and only the rows named are written; later steps write every row.
//!
//! Weight decay is refused, because torch refuses it: it would write every row.

use crate::config::Config;
use crate::error::Error;
use crate::rule::{Hyperparameters, Real};
use crate::share::PARALLEL_BYTES;
use crate::simd::Level;
use crate::sweep::Kernel;
use pulp::{Simd, WithSimd};

/// Elements from which on a part of a step is shared out further.
const CHUNK: usize = 1 << 14;

/// Elements of a row without a gradient that are stepped in one go.
const QUIET: usize = 512;

/// How many entries ahead memory is asked for: processors foresee no jumps from row to row.
const AHEAD: usize = 2;

/// Entries below which sorting by comparison is faster.
const FEW: usize = 256;

/// Bits of the rows that one pass of the radix sort looks at.
const DIGIT: usize = 8;

/// One matrix of a step, row by row.
#[derive(Debug)]
pub struct SparseSlot<'a, T> {
    /// The parameter: [rows, columns], updated in place.
    pub param: &'a mut [T],
    /// The momentum buffer, of the same shape; all zeros at the first step. Empty without momentum.
    pub buffer: &'a mut [T],
    /// The rows that have a gradient, in any order.
    pub indices: &'a [u32],
    /// Their gradients: [indices, columns].
    pub values: &'a [T],
    /// Elements of a row.
    pub columns: usize,
    /// Whether the buffer has never been written.
    pub first: bool,
    /// The index of its group's hyperparameters.
    pub group: usize,
}

/// A sparse step of any supported type.
#[derive(Debug)]
pub enum SparseTensor<'a> {
    /// float32
    F32(SparseSlot<'a, f32>),
    /// float64
    F64(SparseSlot<'a, f64>),
}

/// Memory that a step finds the order of rows in. A caller keeps it, so that steps allocate none.
#[derive(Debug, Default)]
pub struct Scratch {
    keys: Vec<u64>,
    spare: Vec<u64>,
}

/// One step of every matrix, in place. All checks come before the first write.
///
///
/// # Errors
/// A group that does not exist or decays, an index out of range, lengths that differ.
pub fn step(
    tensors: &mut [SparseTensor<'_>],
    groups: &[Hyperparameters],
    scratch: &mut Scratch,
    config: &Config,
) -> Result<(), Error> {
    for (number, tensor) in tensors.iter().enumerate() {
        match tensor {
            SparseTensor::F32(slot) => slot.check(number, groups)?,
            SparseTensor::F64(slot) => slot.check(number, groups)?,
        }
    }
    for tensor in tensors {
        match tensor {
            SparseTensor::F32(slot) => slot.step(groups, scratch, config)?,
            SparseTensor::F64(slot) => slot.step(groups, scratch, config)?,
        }
    }
    Ok(())
}

impl<T: Real> SparseSlot<'_, T> {
    fn check(&self, number: usize, groups: &[Hyperparameters]) -> Result<(), Error> {
        let fail = |what: &str| Err(Error::Table(format!("Cannot step matrix {number} as {what}")));
        let Some(h) = groups.get(self.group) else {
            return fail("its group does not exist");
        };
        if h.weight_decay != 0.0 {
            return fail("a sparse gradient needs weight decay 0");
        }
        if self.columns == 0 || !self.param.len().is_multiple_of(self.columns) {
            return fail("its length is no multiple of its columns");
        }
        if self.indices.len().checked_mul(self.columns) != Some(self.values.len()) {
            return fail("its indices and values differ in number");
        }
        if self.buffer.len() != if h.momentum == 0.0 { 0 } else { self.param.len() } {
            return fail("its momentum buffer has another length");
        }
        let rows = self.param.len() / self.columns;
        match self.indices.iter().find(|&&row| row as usize >= rows) {
            Some(row) => fail(&format!("row {row} does not exist")),
            None => Ok(()),
        }
    }

    fn step(
        &mut self,
        groups: &[Hyperparameters],
        scratch: &mut Scratch,
        config: &Config,
    ) -> Result<(), Error> {
        let h = &groups[self.group];
        let keys = scratch.order(self.indices, self.param.len() / self.columns);
        let mode = match (h.momentum != 0.0, self.first, h.sign) {
            (false, _, false) => Mode::EachEntry,
            (true, false, _) => Mode::EveryRow,
            _ => Mode::NamedRows,
        };
        let job = Job {
            mode,
            kernel: Kernel::new(h, self.first),
            level: config.level(),
            values: self.values,
            columns: self.columns,
        };
        let part = Part { from: 0, param: self.param, buffer: self.buffer, keys };
        if config.threads() == 1 || part.work(&job) * size_of::<T>() < PARALLEL_BYTES {
            part.sweep(&job);
        } else {
            config.pool()?.install(|| part.share(&job));
        }
        Ok(())
    }
}

impl Scratch {
    /// The keys of all entries by rising rows; the entries of a row stay in their order.
    fn order(&mut self, indices: &[u32], rows: usize) -> &[u64] {
        let keys = indices.iter().enumerate().map(|(i, &row)| key(row, i));
        self.keys.clear();
        self.keys.extend(keys);
        if indices.len() < FEW {
            self.keys.sort_unstable(); // keys differ, so this is stable for the rows
        } else if !indices.is_sorted() {
            let bits = usize::BITS - rows.leading_zeros();
            (0..bits).step_by(DIGIT).for_each(|bit| self.sort_by_digit(bit));
        }
        &self.keys
    }

    /// One pass of a radix sort, stable: by the digit of the row that begins at this bit.
    fn sort_by_digit(&mut self, bit: u32) {
        let digit = |key: u64| row(key) >> bit & ((1 << DIGIT) - 1);
        let mut next = [0; 1 << DIGIT];
        self.keys.iter().for_each(|&key| next[digit(key)] += 1);
        let mut start = 0;
        next.iter_mut().for_each(|count| start += std::mem::replace(count, start));
        self.spare.resize(self.keys.len(), 0);
        for &key in &self.keys {
            let place = &mut next[digit(key)];
            self.spare[*place] = key;
            *place += 1;
        }
        std::mem::swap(&mut self.keys, &mut self.spare);
    }
}

/// A row and the place of its entry.
fn key(row: u32, entry: usize) -> u64 {
    u64::from(row) << 32 | entry as u64
}

fn row(key: u64) -> usize {
    (key >> 32) as usize
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    EachEntry,
    NamedRows,
    EveryRow,
}

/// What all parts of a step share.
struct Job<'a, T> {
    mode: Mode,
    kernel: Kernel<T>,
    level: Level,
    values: &'a [T],
    columns: usize,
}

impl<T> Job<'_, T> {
    fn entry(&self, key: u64) -> &[T] {
        let from = (key & u64::from(u32::MAX)) as usize * self.columns;
        &self.values[from..from + self.columns]
    }
}

/// Consecutive rows from row `from` on, and the entries that name them, sorted.
struct Part<'a, T> {
    from: usize,
    param: &'a mut [T],
    buffer: &'a mut [T],
    keys: &'a [u64],
}

impl<T: Real> Part<'_, T> {
    /// Elements that this part reads and writes.
    fn work(&self, job: &Job<'_, T>) -> usize {
        match job.mode {
            Mode::EveryRow => self.param.len(),
            _ => self.keys.len() * job.columns,
        }
    }

    /// Halves the work until the parts are small, and leaves these to whichever thread is free.
    fn share(self, job: &Job<'_, T>) {
        match self.middle(job) {
            Some(at) if self.work(job) > CHUNK => {
                let (a, b) = self.split(at, job.columns);
                rayon::join(|| a.share(job), || b.share(job));
            }
            _ => self.sweep(job),
        }
    }

    /// The row that begins the second half, if there are two.
    fn middle(&self, job: &Job<'_, T>) -> Option<usize> {
        let (first, last, middle) = match job.mode {
            Mode::EveryRow => {
                let rows = self.param.len() / job.columns;
                (self.from, self.from + rows.checked_sub(1)?, self.from + rows / 2)
            }
            _ => {
                let middle = row(*self.keys.get(self.keys.len() / 2)?);
                (row(self.keys[0]), row(self.keys[self.keys.len() - 1]), middle)
            }
        };
        (first < last).then_some(middle.max(first + 1))
    }

    fn split<'b>(self, at: usize, columns: usize) -> (Part<'b, T>, Part<'b, T>)
    where
        Self: 'b,
    {
        let elements = (at - self.from) * columns;
        let (param, param_rest) = self.param.split_at_mut(elements);
        let (buffer, buffer_rest) = self.buffer.split_at_mut(elements.min(self.buffer.len()));
        let (keys, keys_rest) = self.keys.split_at(self.keys.partition_point(|&k| row(k) < at));
        (
            Part { from: self.from, param, buffer, keys },
            Part { from: at, param: param_rest, buffer: buffer_rest, keys: keys_rest },
        )
    }

    fn sweep(mut self, job: &Job<'_, T>) {
        let keys = self.keys;
        if job.mode == Mode::EachEntry {
            for (i, &key) in keys.iter().enumerate() {
                if let Some(&ahead) = keys.get(i + AHEAD) {
                    let at = (row(ahead) - self.from) * job.columns;
                    job.level.prefetch(&self.param[at..at + job.columns]);
                    job.level.prefetch(job.entry(ahead));
                }
                self.step_row(job, row(key), job.entry(key));
            }
            return;
        }
        let mut sum = Vec::new(); // stays empty where no row is named twice
        let mut quiet = self.from;
        for entries in keys.chunk_by(|&a, &b| row(a) == row(b)) {
            let named = row(entries[0]);
            if job.mode == Mode::EveryRow {
                self.step_quiet(job, quiet, named);
                quiet = named + 1;
            }
            self.step_row(job, named, add_up(job, entries, &mut sum));
        }
        if job.mode == Mode::EveryRow {
            self.step_quiet(job, quiet, self.from + self.param.len() / job.columns);
        }
    }

    fn step_row(&mut self, job: &Job<'_, T>, row: usize, grad: &[T]) {
        let at = (row - self.from) * job.columns;
        self.step_elements(job, at, grad);
    }

    /// Steps the rows `from..to`, which no entry names.
    fn step_quiet(&mut self, job: &Job<'_, T>, from: usize, to: usize) {
        let zeros = [T::from_f64(0.0); QUIET];
        let (mut at, end) = ((from - self.from) * job.columns, (to - self.from) * job.columns);
        while at < end {
            let count = QUIET.min(end - at);
            self.step_elements(job, at, &zeros[..count]);
            at += count;
        }
    }

    fn step_elements(&mut self, job: &Job<'_, T>, at: usize, grad: &[T]) {
        let param = &mut self.param[at..at + grad.len()];
        let buffer = match self.buffer.is_empty() {
            true => &mut [],
            false => &mut self.buffer[at..at + grad.len()],
        };
        job.kernel.run(job.level, param, grad, buffer);
    }
}

/// The gradient of a row: its entry, or the sum of its entries in `sum`.
fn add_up<'a, T: Real>(job: &'a Job<'_, T>, entries: &[u64], sum: &'a mut Vec<T>) -> &'a [T] {
    let [first, rest @ ..] = entries else { return &[] };
    if rest.is_empty() {
        return job.entry(*first);
    }
    sum.clear();
    sum.extend_from_slice(job.entry(*first));
    rest.iter().for_each(|&key| job.level.run(Add { sum, term: job.entry(key) }));
    sum
}

struct Add<'a, T> {
    sum: &'a mut [T],
    term: &'a [T],
}

impl<T: Real> WithSimd for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let one = T::splat(s, T::from_f64(1.0));
        let (sum, sum_rest) = T::split_mut::<S>(self.sum);
        let (term, term_rest) = T::split::<S>(self.term);
        for (a, &t) in sum.iter_mut().zip(term) {
            *a = T::fma(s, one, t, *a);
        }
        if !sum_rest.is_empty() {
            let total = T::fma(s, one, T::load(s, term_rest), T::load(s, sum_rest));
            T::store(s, sum_rest, total);
        }
    }
}
