//! The rows of a sparse step: split across threads, and stepped one by one.

use super::sort::row;
use crate::lanes::{self, Real};
use crate::simd::Level;
use crate::step::loops::Kernel;

/// Elements above which a part of a step is split further.
const SPLIT: usize = 1 << 14;

/// Elements that are stepped at a time in rows without entries.
const ZEROS: usize = 512;

/// How many entries ahead memory is asked for: processors foresee no jumps from row to row.
const AHEAD: usize = 2;

/// How many rows in use ahead memory is asked for.
const USED_AHEAD: usize = 4;

/// Bytes of a row in use that are asked for: processors foresee the rest, and only a few requests fit
/// into their queue.
const LEAD_BYTES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    EachEntry,
    NamedRows,
    UsedRows,
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
    /// The rows in use, in rising order, if only these are stepped.
    pub used: &'a [u32],
}

impl<T: Real> Part<'_, T> {
    /// Elements that this part reads and writes.
    pub fn work(&self, shared: &Shared<'_, T>) -> usize {
        match shared.mode {
            Mode::EveryRow => self.param.len(),
            Mode::UsedRows => self.used.len() * shared.columns,
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
            Mode::UsedRows => ends_and_middle(self.used, |&row| row as usize)?,
            _ => ends_and_middle(self.keys, |&key| row(key))?,
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
        let (used, used_rest) =
            self.used.split_at(self.used.partition_point(|&row| (row as usize) < at));
        (
            Part { from: self.from, param, buffer, keys, used },
            Part {
                from: at,
                param: param_rest,
                buffer: buffer_rest,
                keys: keys_rest,
                used: used_rest,
            },
        )
    }

    pub fn run(mut self, shared: &Shared<'_, T>) {
        match shared.mode {
            Mode::EachEntry => self.step_each_entry(shared),
            Mode::NamedRows => self.step_named_rows(shared),
            Mode::UsedRows => self.step_used_rows(shared),
            Mode::EveryRow => self.step_every_row(shared),
        }
    }

    fn step_each_entry(&mut self, shared: &Shared<'_, T>) {
        let keys = self.keys;
        for (i, &key) in keys.iter().enumerate() {
            if let Some(&ahead) = keys.get(i + AHEAD) {
                let at = (row(ahead) - self.from) * shared.columns;
                shared.level.prefetch(&self.param[at..at + shared.columns]);
                shared.level.prefetch(shared.entry(ahead));
            }
            self.step_row(shared, row(key), shared.entry(key));
        }
    }

    fn step_named_rows(&mut self, shared: &Shared<'_, T>) {
        let mut sum = Vec::new(); // stays empty where no row is named twice
        for entries in self.keys.chunk_by(|&a, &b| row(a) == row(b)) {
            self.step_row(shared, row(entries[0]), add_up(shared, entries, &mut sum));
        }
    }

    fn step_every_row(&mut self, shared: &Shared<'_, T>) {
        let (mut sum, zeros) = (Vec::new(), zeros());
        let mut next = self.from;
        for entries in self.keys.chunk_by(|&a, &b| row(a) == row(b)) {
            let named = row(entries[0]);
            self.step_without_entries(shared, &zeros, next, named);
            self.step_row(shared, named, add_up(shared, entries, &mut sum));
            next = named + 1;
        }
        self.step_without_entries(
            shared,
            &zeros,
            next,
            self.from + self.param.len() / shared.columns,
        );
    }

    /// Every entry names a row in use.
    fn step_used_rows(&mut self, shared: &Shared<'_, T>) {
        let (mut sum, zeros) = (Vec::new(), zeros());
        let (mut used, mut keys) = (self.used, self.keys);
        let lead = shared.columns.min(LEAD_BYTES / size_of::<T>());
        while let Some(&first) = used.first() {
            let first = first as usize;
            if let Some(&ahead) = used.get(USED_AHEAD) {
                let at = (ahead as usize - self.from) * shared.columns;
                shared.level.prefetch(&self.param[at..at + lead]);
                shared.level.prefetch(&self.buffer[at..at + lead]);
            }
            if let Some(&ahead) = keys.get(USED_AHEAD) {
                shared.level.prefetch(&shared.entry(ahead)[..lead]);
            }
            let named = keys.first().map_or(usize::MAX, |&key| row(key));
            if named == first {
                let entries = keys.iter().take_while(|&&key| row(key) == first).count();
                let (entries, rest) = keys.split_at(entries);
                self.step_row(shared, first, add_up(shared, entries, &mut sum));
                (used, keys) = (&used[1..], rest);
            } else {
                let run = run_before(used, named);
                self.step_without_entries(shared, &zeros, first, first + run);
                used = &used[run..];
            }
        }
    }

    fn step_row(&mut self, shared: &Shared<'_, T>, row: usize, grad: &[T]) {
        let at = (row - self.from) * shared.columns;
        self.step_elements(shared, at, grad);
    }

    /// Steps the rows `from..to`, which no entry names.
    fn step_without_entries(
        &mut self,
        shared: &Shared<'_, T>,
        zeros: &[T; ZEROS],
        from: usize,
        to: usize,
    ) {
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

/// The gradient of rows without entries.
fn zeros<T: Real>() -> [T; ZEROS] {
    [T::from_f64(0.0); ZEROS]
}

/// The rows of the first, the last and the middle one of some items in rising order.
fn ends_and_middle<I>(items: &[I], row: impl Fn(&I) -> usize) -> Option<(usize, usize, usize)> {
    let middle = items.get(items.len() / 2)?;
    Some((row(&items[0]), row(&items[items.len() - 1]), row(middle)))
}

/// How many rows in use follow each other without a gap before row `end`.
fn run_before(used: &[u32], end: usize) -> usize {
    let follows = |(i, &row): (usize, &u32)| row as usize == used[0] as usize + i;
    let rows = used.iter().enumerate();
    rows.take_while(|&item| follows(item) && (*item.1 as usize) < end).count()
}

/// The gradient of a row: its entry, or the sum of its entries in `sum`.
fn add_up<'a, T: Real>(shared: &'a Shared<'_, T>, entries: &[u64], sum: &'a mut Vec<T>) -> &'a [T] {
    let [first, rest @ ..] = entries else { return &[] };
    if rest.is_empty() {
        return shared.entry(*first);
    }
    sum.clear();
    sum.extend_from_slice(shared.entry(*first));
    rest.iter().for_each(|&key| lanes::add(shared.level, sum, shared.entry(key)));
    sum
}
