//! The rows of a matrix that are in use: a bit for each, the lowest bit of a word first.

/// Whether the words have a bit for each row, and none for other rows.
pub fn fits(bits: &[u32], rows: usize) -> bool {
    let last = rows % u32::BITS as usize;
    bits.len() == rows.div_ceil(u32::BITS as usize)
        && (last == 0 || bits.last().is_none_or(|word| word >> last == 0))
}

/// Adds rows.
pub fn insert(bits: &mut [u32], rows: &[u32]) {
    for row in rows {
        bits[(row / u32::BITS) as usize] |= 1 << (row % u32::BITS);
    }
}

/// How many rows there are.
pub fn count(bits: &[u32]) -> usize {
    bits.iter().map(|word| word.count_ones() as usize).sum()
}

/// Appends the rows to a list, in rising order.
pub fn list(bits: &[u32], rows: &mut Vec<u32>) {
    for (index, &word) in bits.iter().enumerate() {
        let first = index as u32 * u32::BITS;
        let mut left = word;
        while left != 0 {
            rows.push(first + left.trailing_zeros());
            left &= left - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_and_listed_in_rising_order_whatever_the_order_of_entries() {
        let mut bits = [0; 3];
        insert(&mut bits, &[64, 3, 31, 32, 3, 69]);
        let mut rows = Vec::new();
        list(&bits, &mut rows);
        assert_eq!(rows, [3, 31, 32, 64, 69]);
        assert_eq!(count(&bits), 5);
    }

    #[test]
    fn words_fit_the_rows_that_they_have_a_bit_for() {
        assert!(fits(&[], 0) && fits(&[u32::MAX], 32) && fits(&[u32::MAX, 1], 33));
        assert!(!fits(&[2], 1) && !fits(&[0], 0) && !fits(&[0], 33) && !fits(&[0, 2], 33));
    }
}
