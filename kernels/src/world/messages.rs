//! What moves bytes between the ranks, whichever library does it.

use super::header::Doing;
use super::moves::Work;
use std::time::Duration;

/// How long to wait for others; `None` for as long as it takes.
pub type Limit = Option<Duration>;

/// How long to wait for others, and what is said if they do not answer.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long.
    pub limit: Limit,
    /// What the ranks do together.
    pub doing: Doing,
}

impl Patience {
    /// What is said by a rank, of so many, once the limit has passed. A collective of MPI does not say who is
    /// missing; of two ranks it is the other one.
    pub fn late(&self, rank: usize, size: usize) -> String {
        let Doing { words, .. } = self.doing;
        let at = self.doing.at();
        let seconds = self.limit.unwrap_or_default().as_secs_f64();
        let (who, which) = match size {
            2 => (format!("rank {} has", 1 - rank), ""),
            _ => (
                format!("some of the other {} ranks have", size - 1),
                " (MPI does not say which ones)",
            ),
        };
        format!(
            "Cannot {words} as {who} not answered rank {rank} for {seconds} s, the timeout of the world, \
             {at}{which}"
        )
    }

    /// What is said if the library refuses a call, in its own words.
    pub fn refused(&self, rank: usize, reason: &str) -> String {
        let (words, at) = (self.doing.words, self.doing.at());
        format!("Cannot {words} as MPI refuses it on rank {rank}, {at}: {reason}")
    }
}

/// Moves bytes between the ranks of a job. Every rank makes the same calls in the same order, with the
/// same sizes: `super::World` sees to that.
///
/// A call that others do not answer in time, or that the library refuses, does not return: it ends the
/// job. The library may still use the memory of the call, so nobody can give it back, and other ranks
/// wait for this one.
pub trait Messages: Send {
    /// The number of this process, from 0 on.
    fn rank(&self) -> usize;
    /// How many processes there are.
    fn size(&self) -> usize;
    /// The library and its version, in its own words.
    fn version(&self) -> String;
    /// The ranks of this machine, in their order.
    fn neighbors(&self) -> &[usize];
    /// The most bytes that one message has.
    fn max_bytes(&self) -> usize;

    /// Sends `send` to all, and receives as many bytes of each in the order of the ranks.
    fn all_gather(&mut self, send: &[u8], receive: &mut [u8], patience: &Patience);
    /// As `all_gather`, with `counts[i]` bytes of rank `i`. It works on something else meanwhile.
    fn all_gather_parts(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        counts: &[usize],
        patience: &Patience,
        work: Work<'_>,
    );
    /// Gives the bytes that each rank has at its place in `all`, `counts[i]` of rank `i`, to all.
    fn all_gather_in_place(&mut self, all: &mut [u8], counts: &[usize], patience: &Patience);
    /// Sends part `i` of `send`, of `send_counts[i]` bytes, to rank `i`, and receives one from each, but for
    /// what it would send to itself: that part of `receive` stays as it is.
    /// It works on something else meanwhile.
    fn all_to_all(
        &mut self,
        send: &[u8],
        send_counts: &[usize],
        receive: &mut [u8],
        receive_counts: &[usize],
        patience: &Patience,
        work: Work<'_>,
    );
    /// Gives the bytes of rank `from` to all.
    fn broadcast(&mut self, bytes: &mut [u8], from: usize, patience: &Patience);

    /// Says goodbye to the library; nothing can be called after it.
    ///
    /// # Errors
    /// The library's own words.
    fn finalize(&mut self) -> Result<(), String>;
    /// Ends all ranks at once, with an exit code.
    fn abort(&mut self, code: i32) -> !;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_names_what_is_done_the_step_and_who_is_missing_if_that_is_known() {
        let doing = Doing { words: "step", step: 40 };
        let patience = Patience { limit: Some(Duration::from_secs(3)), doing };
        assert_eq!(
            patience.late(0, 2),
            "Cannot step as rank 1 has not answered rank 0 for 3 s, the timeout of the world, at step 40"
        );
        assert_eq!(
            patience.late(2, 4),
            "Cannot step as some of the other 3 ranks have not answered rank 2 for 3 s, the timeout of \
             the world, at step 40 (MPI does not say which ones)"
        );
    }
}
