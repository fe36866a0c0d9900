//! The order in which a sparse step takes its entries, and the rows that it writes: by rising rows.

use super::used;

/// Entries below which sorting by comparison is faster.
const FEW: usize = 256;

/// Bits of the rows that one pass of the radix sort looks at.
const DIGIT: usize = 8;

/// Memory that a step finds the order of rows in. A caller keeps it, so that steps allocate none.
#[derive(Debug, Default)]
pub struct Scratch {
    keys: Vec<u64>,
    spare: Vec<u64>,
    used: Vec<u32>,
}

impl Scratch {
    /// Adds the rows of entries to those in use, and lists these.
    ///
    /// Returns whether there is a list: there is none where every row is in use.
    pub(crate) fn list_used(&mut self, bits: &mut [u32], indices: &[u32], rows: usize) -> bool {
        used::insert(bits, indices);
        self.used.clear();
        let count = used::count(bits);
        if count == rows {
            return false;
        }
        self.used.reserve(count);
        used::list(bits, &mut self.used);
        true
    }

    /// The keys of all entries by rising rows, of which the entries of a row stay in their order; and
    /// what was listed last.
    pub(crate) fn sort(&mut self, indices: &[u32], rows: usize) -> (&[u64], &[u32]) {
        let keys = indices.iter().enumerate().map(|(i, &row)| key(row, i));
        self.keys.clear();
        self.keys.extend(keys);
        if indices.len() < FEW {
            self.keys.sort_unstable(); // keys differ, so this is stable for the rows
        } else if !indices.is_sorted() {
            let bits = usize::BITS - rows.leading_zeros();
            (0..bits).step_by(DIGIT).for_each(|bit| self.sort_by_digit(bit));
        }
        (&self.keys, &self.used)
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

/// The row of a key.
pub fn row(key: u64) -> usize {
    (key >> 32) as usize
}
