//! Splits work over tensors across threads: which thread takes which tensors, and which parts of large
//! ones.

use crate::config::Config;
use crate::error::Error;
use crate::simd::Level;

/// Bytes of gradients that a thread takes at a time, at least and at most: enough to hide what handing
/// them over costs. In between it is a part of a thread's share, so that all end at about the same time.
const GRAIN_BYTES: [usize; 2] = [1 << 16, 1 << 18];

/// Parts that a thread's share of a small model is cut into.
const PARTS: usize = 4;

/// Bytes below which a step stays on the calling thread, because waking another costs more.
pub(crate) const PARALLEL_BYTES: usize = 1 << 19;

/// Elements to whose multiples tensors are cut, so that parts begin at lines of the cache as their
/// whole does, and at blocks of 8-bit momentum.
const LINE: usize = 64;

/// The work on one tensor, or on a part of one.
pub trait Task: Sized + Send {
    /// What all tasks share: the hyperparameters of the groups, for example.
    type Plan: Sync + ?Sized;

    /// Bytes of the tensor's gradient, in the type that is computed in: how much work it is.
    fn bytes(&self) -> usize;
    /// Two halves of about the same size.
    fn halve(self) -> (Self, Self);
    /// Does the work on this thread.
    fn run(self, plan: &Self::Plan, level: Level);
}

/// A source of tasks, all of which have been checked. Each is made when its turn comes, so that a step
/// of many small tensors does not store them first.
pub trait TaskList: Sized + Send {
    /// What its tasks share.
    type Plan: Sync + ?Sized;

    /// The number of tensors.
    fn count(&self) -> usize;
    /// As [`Task::bytes`] of a tensor; 0 if there is nothing to be done to it.
    fn bytes(&self, index: usize) -> usize;
    /// Hands the task for a tensor to a runner, unless there is nothing to be done.
    fn run(&mut self, index: usize, runner: &Runner<'_, Self::Plan>);
    /// The tasks before an index, and the rest.
    fn split(self, index: usize) -> (Self, Self);
}

/// Does every task, in place. Together their gradients have so many bytes.
///
/// # Errors
/// Threads that cannot be started. Nothing has then been done.
#[inline(always)]
pub fn run<L: TaskList>(
    tasks: L,
    bytes: usize,
    plan: &L::Plan,
    config: &Config,
) -> Result<(), Error> {
    let level = config.level();
    if config.threads() == 1 || bytes < PARALLEL_BYTES {
        Runner { plan, level, grain: usize::MAX }.run_all(tasks);
    } else {
        let [least, most] = GRAIN_BYTES;
        let grain = (bytes / (PARTS * config.threads())).clamp(least, most);
        let runner = Runner { plan, level, grain };
        config.pool()?.install(|| runner.run_split(tasks, bytes));
    }
    Ok(())
}

/// Where to halve so many elements.
pub(crate) fn middle_of(length: usize) -> usize {
    (length / 2).next_multiple_of(LINE)
}

/// Puts both halves into what wraps them.
pub(crate) fn both<A, B>((a, b): (A, A), wrap: impl Fn(A) -> B) -> (B, B) {
    (wrap(a), wrap(b))
}

/// Runs tasks, in parts where they are large.
#[derive(Debug)]
pub struct Runner<'a, P: ?Sized> {
    plan: &'a P,
    level: Level,
    /// Bytes of gradients that are not split any further.
    grain: usize,
}

impl<P: Sync + ?Sized> Runner<'_, P> {
    /// Halves the work until the parts are small, and leaves these to whichever thread is free: so
    /// each thread walks through memory in one direction.
    fn run_split<L: TaskList<Plan = P>>(&self, tasks: L, bytes: usize) {
        if bytes <= self.grain || tasks.count() == 1 {
            return self.run_all(tasks);
        }
        let (index, before) = middle(&tasks, bytes);
        let (a, b) = tasks.split(index);
        rayon::join(|| self.run_split(a, before), || self.run_split(b, bytes - before));
    }

    #[inline(always)]
    fn run_all<L: TaskList<Plan = P>>(&self, mut tasks: L) {
        for index in 0..tasks.count() {
            tasks.run(index, self);
        }
    }

    /// Runs one task.
    #[inline(always)]
    pub fn run<T: Task<Plan = P>>(&self, task: T) {
        if task.bytes() > self.grain {
            self.run_halves(task);
        } else {
            task.run(self.plan, self.level);
        }
    }

    #[inline(never)]
    fn run_halves<T: Task<Plan = P>>(&self, task: T) {
        let (a, b) = task.halve();
        rayon::join(|| self.run(a), || self.run(b));
    }
}

/// Where the second half of so many bytes begins, with at least one tensor on either side, and the
/// bytes before it.
fn middle(tasks: &impl TaskList, bytes: usize) -> (usize, usize) {
    let mut before = 0;
    for index in 0..tasks.count() - 1 {
        let next = before + tasks.bytes(index);
        if next > bytes / 2 && index > 0 {
            return (index, before);
        }
        before = next;
    }
    (tasks.count() - 1, before)
}
