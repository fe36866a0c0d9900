//! What moves bytes between the ranks, whichever library does it.

use super::moves::Work;
use std::time::Duration;

/// Why ranks cannot be reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// The limit has passed. Memory of the call may still be in use.
    Late,
    /// The library's own words.
    Refused(String),
}

impl From<super::wait::Late> for Trouble {
    fn from(_: super::wait::Late) -> Self {
        Trouble::Late
    }
}

/// Moves bytes between the ranks of a job. Every rank makes the same calls in the same order, with the
/// same sizes: `super::World` sees to that. A limit says how long to wait for the others.
pub trait Messages: Send {
    /// The number of this process, from 0 on.
    fn rank(&self) -> usize;
    /// How many processes there are.
    fn size(&self) -> usize;
    /// The library and its version, in its own words.
    fn version(&self) -> String;
    /// The ranks of this machine, in their order.
    fn neighbors(&mut self) -> Result<Vec<usize>, Trouble>;

    /// Sends `send` to all, and receives as many bytes of each in the order of the ranks.
    fn all_gather(&mut self, send: &[u8], receive: &mut [u8], limit: Limit) -> Result<(), Trouble>;
    /// As `all_gather`, with `counts[i]` bytes of rank `i`. It works on something else meanwhile.
    fn all_gather_parts(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        counts: &[usize],
        limit: Limit,
        work: Work<'_>,
    ) -> Result<(), Trouble>;
    /// Gives the bytes that each rank has at its place in `all`, `counts[i]` of rank `i`, to all.
    fn all_gather_in_place(
        &mut self,
        all: &mut [u8],
        counts: &[usize],
        limit: Limit,
    ) -> Result<(), Trouble>;
    /// Sends part `i` of `send`, of `send_counts[i]` bytes, to rank `i`, and receives one from each, but for
    /// what it would send to itself: that part of `receive` stays as it is.
    /// It works on something else meanwhile.
    fn all_to_all(
        &mut self,
        send: &[u8],
        send_counts: &[usize],
        receive: &mut [u8],
        receive_counts: &[usize],
        limit: Limit,
        work: Work<'_>,
    ) -> Result<(), Trouble>;
    /// Gives the bytes of rank `from` to all.
    fn broadcast(&mut self, bytes: &mut [u8], from: usize, limit: Limit) -> Result<(), Trouble>;

    /// Says goodbye to the library; nothing can be called after it.
    fn finalize(&mut self) -> Result<(), Trouble>;
    /// Ends all ranks at once, with an exit code.
    fn abort(&mut self, code: i32);
}

/// How long to wait for others; `None` for as long as it takes.
pub type Limit = Option<Duration>;
