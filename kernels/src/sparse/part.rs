//! The rows of a sparse step: split across threads, and stepped one by one.

use super::sort::row;
use crate::lanes::Real;
use crate::rule::Arithmetic;
use crate::simd::Level;
use crate::step::loops::Kernel;
use pulp::{Simd, WithSimd};

/// Elements above which a part of a step is split further.
const SPLIT: usize = 1 << 14;

/// Elements that are stepped at a time in rows without entries.
const ZEROS: usize = 512;

/// How many entries ahead memory is asked for: processors foresee no jumps from row to row.
const AHEAD: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    EachEntry,
    NamedRows,
    EveryRow,
}

/// What all parts of a step share.
pub struct Shared<'a, T> {
    pub mode: Mode,
    pub kernel: Kernel<T>,
    pub first: bool,
    pub level: Level,
    pub values: &'a [T],
    pub columns: usize,
}

impl<T> Shared<'_, T> {
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
    pub fn work(&self, shared: &Shared<'_, T>) -> usize {
        match shared.mode {
            Mode::EveryRow => self.param.len(),
            _ => self.keys.len() * shared.columns,
        }
    }

    /// Halves the work until the parts are small, and leaves these to whichever thread is free.
    pub fn run_split(self, shared: &Shared<'_, T>) {
        match self.middle(shared) {
            Some(at) if self.work(shared) > SPLIT => {
                let (a, b) = self.split(at, shared.columns);
                rayon::join(|| a.run_split(shared), || b.run_split(shared));
            }
            _ => self.run(shared),
        }
    }

    /// The row that begins the second half, if there are two.
    fn middle(&self, shared: &Shared<'_, T>) -> Option<usize> {
        let (first, last, middle) = match shared.mode {
            Mode::EveryRow => {
                let rows = self.param.len() / shared.columns;
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

    pub fn run(mut self, shared: &Shared<'_, T>) {
        let keys = self.keys;
        if shared.mode == Mode::EachEntry {
            for (i, &key) in keys.iter().enumerate() {
                if let Some(&ahead) = keys.get(i + AHEAD) {
                    let at = (row(ahead) - self.from) * shared.columns;
                    shared.level.prefetch(&self.param[at..at + shared.columns]);
                    shared.level.prefetch(shared.entry(ahead));
                }
                self.step_row(shared, row(key), shared.entry(key));
            }
            return;
        }
        let mut sum = Vec::new(); // stays empty where no row is named twice
        let mut next = self.from;
        for entries in keys.chunk_by(|&a, &b| row(a) == row(b)) {
            let named = row(entries[0]);
            if shared.mode == Mode::EveryRow {
                self.step_without_entries(shared, next, named);
                next = named + 1;
            }
            self.step_row(shared, named, add_up(shared, entries, &mut sum));
        }
        if shared.mode == Mode::EveryRow {
            self.step_without_entries(shared, next, self.from + self.param.len() / shared.columns);
        }
    }

    fn step_row(&mut self, shared: &Shared<'_, T>, row: usize, grad: &[T]) {
        let at = (row - self.from) * shared.columns;
        self.step_elements(shared, at, grad);
    }

    /// Steps the rows `from..to`, which no entry names.
    fn step_without_entries(&mut self, shared: &Shared<'_, T>, from: usize, to: usize) {
        let zeros = [T::from_f64(0.0); ZEROS];
        let (mut at, end) =
            ((from - self.from) * shared.columns, (to - self.from) * shared.columns);
        while at < end {
            let count = ZEROS.min(end - at);
            self.step_elements(shared, at, &zeros[..count]);
            at += count;
        }
    }

    fn step_elements(&mut self, shared: &Shared<'_, T>, at: usize, grad: &[T]) {
        let param = &mut self.param[at..at + grad.len()];
        let buffer = match self.buffer.is_empty() {
            true => &mut [],
            false => &mut self.buffer[at..at + grad.len()],
        };
        shared.kernel.run(shared.level, shared.first, param, grad, buffer);
    }
}

/// The gradient of a row: its entry, or the sum of its entries in `sum`.
fn add_up<'a, T: Real>(shared: &'a Shared<'_, T>, entries: &[u64], sum: &'a mut Vec<T>) -> &'a [T] {
    let [first, rest @ ..] = entries else { return &[] };
    if rest.is_empty() {
        return shared.entry(*first);
    }
    sum.clear();
    sum.extend_from_slice(shared.entry(*first));
    rest.iter().for_each(|&key| shared.level.run(Add { sum, term: shared.entry(key) }));
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
        let (a, one) = (T::arithmetic(s), T::splat(s, T::from_f64(1.0)));
        let (sum, sum_rest) = T::split_mut::<S>(self.sum);
        let (term, term_rest) = T::split::<S>(self.term);
        for (sum, &term) in sum.iter_mut().zip(term) {
            *sum = a.fma(one, term, *sum);
        }
        if !sum_rest.is_empty() {
            let total = a.fma(one, T::load(s, term_rest), T::load(s, sum_rest));
            T::store(s, sum_rest, total);
        }
    }
}
