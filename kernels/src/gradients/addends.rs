//! Gradients that are added to another one, element by element, before anything else is done to it.

use super::view::{Kind, Read, dispatch};
use crate::dtype::{Element, TILE};
use crate::lanes::{self, Real};
use crate::simd::Level;

/// Gradients that are added, in their order, to one of the same type and length. Empty ones stand for
/// none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Addends<'a> {
    list: &'a [Read<'a>],
    /// The element that this part begins with.
    from: usize,
}

impl<'a> Addends<'a> {
    /// Whole gradients.
    pub fn new(list: &'a [Read<'a>]) -> Self {
        Addends { list, from: 0 }
    }

    /// Whether there is nothing to be added.
    pub fn is_empty(&self) -> bool {
        self.list.iter().all(|gradient| dispatch!(gradient, view => view.is_empty()))
    }

    /// The parts that begin so many elements later.
    pub(crate) fn after(self, count: usize) -> Self {
        Addends { from: self.from + count, ..self }
    }

    /// Adds their elements from one on to those of a tile. Each sum is rounded to the type that is
    /// computed in, and also to the type that is stored, if `rounded`.
    pub(crate) fn add<H: Element<T> + Kind, T: Real>(
        &self,
        level: Level,
        at: usize,
        tile: &mut [T],
        rounded: bool,
    ) {
        let mut loaded = [T::from_f64(0.0); TILE];
        for gradient in self.list {
            let all = H::elements(gradient).unwrap_or_default();
            if all.is_empty() {
                continue;
            }
            let part = &all[self.from + at..][..tile.len()];
            let term = H::as_direct(part).unwrap_or_else(|| {
                H::load(level, part, &mut loaded[..part.len()]);
                &loaded[..part.len()]
            });
            lanes::add(level, tile, term);
            if rounded {
                round::<H, T>(level, tile);
            }
        }
    }
}

fn round<H: Element<T>, T: Real>(level: Level, tile: &mut [T]) {
    let mut stored = [H::ZERO; TILE];
    let stored = &mut stored[..tile.len()];
    H::store(level, tile, stored);
    H::load(level, stored, tile);
}
