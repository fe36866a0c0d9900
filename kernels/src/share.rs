//! Sharing out a step: which thread steps which tensors, and which parts of large ones.

use crate::config::Config;
use crate::error::Error;
use crate::simd::Level;

/// Bytes of gradients that a thread takes at a time: enough to hide what handing them over costs,
/// few enough to balance two threads within a few percent on a model of a million elements.
const GRAIN_BYTES: usize = 1 << 18;

/// Bytes below which a step stays on the calling thread, because waking another costs more.
pub(crate) const PARALLEL_BYTES: usize = 1 << 19;

/// Elements to whose multiples tensors are cut, so that parts begin at lines of the cache as their
/// whole does.
const LINE: usize = 16;

/// A tensor of a step, or a part of one.
pub trait Work: Sized + Send {
    /// What the work is done by: the hyperparameters of all groups, for example.
    type Plan: Sync + ?Sized;

    /// Bytes of its gradient.
    fn bytes(&self) -> usize;
    /// Whether it can be stepped; `index` is its number, for an error's text.
    ///
    /// # Errors
    /// The first thing that does not fit.
    fn check(&self, index: usize, plan: &Self::Plan) -> Result<(), Error>;
    /// Two halves of about one size.
    fn halve(self) -> (Self, Self);
    /// Steps it on this thread.
    fn sweep(self, plan: &Self::Plan, level: Level);
}

/// Where the tensors of a step come from: views are made when they are looked at, so that a step of
/// many small tensors need not write them down first.
pub trait Tensors: Sized + Send {
    /// What its tensors are.
    type Work<'a>: Work<Plan = Self::Plan>
    where
        Self: 'a;
    /// What they are stepped by.
    type Plan: Sync + ?Sized;

    /// The number of tensors.
    fn count(&self) -> usize;
    /// A tensor, or none if it takes no part in the step.
    fn at(&mut self, index: usize) -> Option<Self::Work<'_>>;
    /// The tensors before an index, and the rest.
    fn split(self, index: usize) -> (Self, Self);
}

/// One step of every tensor, in place. All checks come before the first write.
///
/// # Errors
/// A tensor that cannot be stepped, and threads that cannot be started.
pub fn run<T: Tensors>(mut tensors: T, plan: &T::Plan, config: &Config) -> Result<(), Error> {
    let mut bytes = 0_usize;
    for index in 0..tensors.count() {
        if let Some(tensor) = tensors.at(index) {
            tensor.check(index, plan)?;
            bytes = bytes.saturating_add(tensor.bytes());
        }
    }
    let level = config.level();
    if config.threads() == 1 || bytes < PARALLEL_BYTES {
        Job { plan, level, grain: usize::MAX }.step_all(tensors);
    } else {
        let job = Job { plan, level, grain: GRAIN_BYTES };
        config.pool()?.install(|| job.share(tensors, bytes));
    }
    Ok(())
}

/// Where to halve so many elements.
pub(crate) fn middle_of(length: usize) -> usize {
    (length / 2).next_multiple_of(LINE)
}

/// What all threads of a step know.
struct Job<'a, P: ?Sized> {
    plan: &'a P,
    level: Level,
    /// Bytes of gradients that are not shared out any further.
    grain: usize,
}

impl<P: Sync + ?Sized> Job<'_, P> {
    /// Halves the work until the parts are small, and leaves these to whichever thread is free: each
    /// thread so walks through memory in one direction.
    fn share<T: Tensors<Plan = P>>(&self, mut tensors: T, bytes: usize) {
        if bytes <= self.grain || tensors.count() == 1 {
            return self.step_all(tensors);
        }
        let (index, before) = middle(&mut tensors, bytes);
        let (a, b) = tensors.split(index);
        rayon::join(|| self.share(a, before), || self.share(b, bytes - before));
    }

    fn step_all<T: Tensors<Plan = P>>(&self, mut tensors: T) {
        for index in 0..tensors.count() {
            if let Some(tensor) = tensors.at(index) {
                self.step(tensor);
            }
        }
    }

    #[inline(always)]
    fn step<W: Work<Plan = P>>(&self, work: W) {
        if work.bytes() > self.grain {
            self.share_one(work);
        } else {
            work.sweep(self.plan, self.level);
        }
    }

    #[inline(never)]
    fn share_one<W: Work<Plan = P>>(&self, work: W) {
        let (a, b) = work.halve();
        rayon::join(|| self.step(a), || self.step(b));
    }
}

/// Where the second half of so many bytes begins, with at least one tensor on either side, and the
/// bytes before it.
fn middle(tensors: &mut impl Tensors, bytes: usize) -> (usize, usize) {
    let mut before = 0;
    for index in 0..tensors.count() - 1 {
        let next = before + tensors.at(index).map_or(0, |tensor| tensor.bytes());
        if next > bytes / 2 && index > 0 {
            return (index, before);
        }
        before = next;
    }
    (tensors.count() - 1, before)
}
