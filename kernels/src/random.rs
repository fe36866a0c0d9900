//! Random bits for stochastic rounding, by position: those of an element are the same whichever
//! thread asks for them, and in whatever order.

use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// Where the random bits of a step come from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Source {
    /// The seed.
    pub seed: [u32; 2],
    /// The number of the step.
    pub step: u64,
}

/// The random bits of one tensor in one step, from an element on.
pub struct Bits(ChaCha8Rng);

impl Source {
    /// The bits of a tensor, from an element with an even number on.
    pub fn bits(&self, tensor: u32, element: usize) -> Bits {
        let mut key = [0; 32];
        let words = [self.seed[0], self.seed[1], tensor];
        key.as_chunks_mut().0.iter_mut().zip(words).for_each(|(k, w)| *k = w.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(self.step);
        rng.set_word_pos(element as u128 / 2);
        Bits(rng)
    }
}

impl Bits {
    /// The bits of the next elements, 16 for each; an odd number of them ends the sequence.
    pub fn fill(&mut self, bits: &mut [u16]) {
        for pair in bits.chunks_mut(2) {
            let word = self.0.next_u32();
            pair.iter_mut().zip([word, word >> 16]).for_each(|(b, w)| *b = w as u16);
        }
    }
}
