//! The rows of a sparse step: shared out among threads, and stepped one by one.

use super::order::row;
use crate::rule::Real;
use crate::simd::Level;
use crate::sweep::Kernel;
use pulp::{Simd, WithSimd};

/// Elements from which on a part of a step is shared out further.
const CHUNK: usize = 1 << 14;

/// Elements of a row without a gradient that are stepped in one go.
const QUIET: usize = 512;

/// How many entries ahead memory is asked for: processors foresee no jumps from row to row.
const AHEAD: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    EachEntry,
    NamedRows,
    EveryRow,
}

/// What all parts of a step share.
pub struct Job<'a, T> {
    pub mode: Mode,
    pub kernel: Kernel<T>,
    pub level: Level,
    pub values: &'a [T],
    pub columns: usize,
}

impl<T> Job<'_, T> {
    fn entry(&self, key: u64) -> &[T] {
        let from = (key & u64::from(u32::MAX)) as usize * self.columns;
        &self.values[from..from + self.columns]
    }
}

/// Consecutive rows from row `from` on, and the entries that name them, sorted.
pub struct Part<'a, T> {
    pub from: usize,
    pub param: &'a mut [T],
    pub buffer: &'a mut [T],
    pub keys: &'a [u64],
}

impl<T: Real> Part<'_, T> {
    /// Elements that this part reads and writes.
    pub fn work(&self, job: &Job<'_, T>) -> usize {
        match job.mode {
            Mode::EveryRow => self.param.len(),
            _ => self.keys.len() * job.columns,
        }
    }

    /// Halves the work until the parts are small, and leaves these to whichever thread is free.
    pub fn share(self, job: &Job<'_, T>) {
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

    pub fn sweep(mut self, job: &Job<'_, T>) {
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
