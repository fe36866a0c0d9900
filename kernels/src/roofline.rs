//! The roofline: the least that a step could cost, as a loop over the same bytes that computes
//! next to nothing. Benchmarks time it next to the step.

use crate::config::Config;
use crate::error::Error;
use crate::simd::Level;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

/// Elements that one task takes: a stretch that the processor's prefetchers like.
const CHUNK: usize = 1 << 16;

/// Adds `grad` to `data` and, if it is not empty, to `buffer`: per element 12 bytes of traffic
/// without a buffer, 20 with one, reads and writes mixed as in a step without and with momentum.
///
/// # Errors
/// Slices of different lengths.
pub fn roofline(
    data: &mut [f32],
    grad: &[f32],
    buffer: &mut [f32],
    config: &Config,
) -> Result<(), Error> {
    let n = data.len();
    if grad.len() != n || !(buffer.is_empty() || buffer.len() == n) {
        return Err(Error::Table("Cannot time slices of different lengths".to_owned()));
    }
    let level = config.level();
    if config.threads() == 1 {
        add(level, data, grad, buffer);
        return Ok(());
    }
    config.pool()?.install(|| {
        let chunks = data.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK));
        if buffer.is_empty() {
            chunks.for_each(|(p, g)| level.run(Add { sum: p, term: g }));
        } else {
            chunks.zip(buffer.par_chunks_mut(CHUNK)).for_each(|((p, g), b)| add(level, p, g, b));
        }
    });
    Ok(())
}

fn add(level: Level, data: &mut [f32], grad: &[f32], buffer: &mut [f32]) {
    if buffer.is_empty() {
        level.run(Add { sum: data, term: grad });
    } else {
        level.run(AddTwice { a: data, b: buffer, term: grad });
    }
}

struct Add<'a> {
    sum: &'a mut [f32],
    term: &'a [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (sum, sum_rest) = S::as_mut_simd_f32s(self.sum);
        let (term, term_rest) = S::as_simd_f32s(self.term);
        for (a, &t) in sum.iter_mut().zip(term) {
            *a = s.add_f32s(*a, t);
        }
        for (a, t) in sum_rest.iter_mut().zip(term_rest) {
            *a += t;
        }
    }
}

struct AddTwice<'a> {
    a: &'a mut [f32],
    b: &'a mut [f32],
    term: &'a [f32],
}

impl WithSimd for AddTwice<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let (a, a_rest) = S::as_mut_simd_f32s(self.a);
        let (b, b_rest) = S::as_mut_simd_f32s(self.b);
        let (term, term_rest) = S::as_simd_f32s(self.term);
        for ((a, b), &t) in a.iter_mut().zip(b).zip(term) {
            (*a, *b) = (s.add_f32s(*a, t), s.add_f32s(*b, t));
        }
        for ((a, b), t) in a_rest.iter_mut().zip(b_rest).zip(term_rest) {
            (*a, *b) = (*a + t, *b + t);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touches_every_element_once_on_any_number_of_threads() {
        for (threads, n) in [(1, 70), (2, 70), (2, 3 * CHUNK + 1)] {
            let config = Config::new(Level::best(), threads);
            let (mut data, grad, mut buffer) = (vec![1.0; n], vec![2.0; n], vec![3.0; n]);
            roofline(&mut data, &grad, &mut buffer, &config).unwrap();
            roofline(&mut data, &grad, &mut [], &config).unwrap();
            assert!(data.iter().all(|&x| x == 5.0) && buffer.iter().all(|&x| x == 5.0));
        }
    }

    #[test]
    fn refuses_slices_of_different_lengths() {
        let config = Config::new(Level::best(), 1);
        assert!(roofline(&mut [1.0], &[], &mut [], &config).is_err());
        assert!(roofline(&mut [1.0], &[1.0], &mut [1.0, 2.0], &config).is_err());
    }
}
