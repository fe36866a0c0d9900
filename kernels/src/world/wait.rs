//! How to wait for other ranks: by asking, and by giving the processor away in between.
//!
//! MPI's own waiting spins: with more ranks than cores, each of them then burns the time that another
//! needs in order to answer.

use std::thread;
use std::time::{Duration, Instant};

/// Questions before the processor is given away, as most answers come within microseconds.
const POLLS: u32 = 200;

/// How long the processor is given away to whoever wants it, before this thread sleeps.
const YIELDING: Duration = Duration::from_millis(10);

/// How long it sleeps at a time, at least and at most. In between it is a thousandth of the time that it
/// has waited: an answer is late by no more than that, and a rank that waits for long takes hardly any
/// time of a core.
const NAP: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(1)];

/// What is asked of time again only after so many questions.
const CLOCK: u32 = 64;

/// Why waiting has ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late;

/// Asks until the answer is yes.
///
/// # Errors
/// `limit` has passed. Without a limit it may wait forever.
pub fn until(limit: Option<Duration>, mut ask: impl FnMut() -> bool) -> Result<(), Late> {
    for _ in 0..POLLS {
        if ask() {
            return Ok(());
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    let mut waited = Duration::ZERO;
    let mut questions = 0_u32;
    loop {
        if ask() {
            return Ok(());
        }
        if waited < YIELDING {
            thread::yield_now();
        } else {
            thread::sleep(nap(waited, limit));
        }
        questions = questions.wrapping_add(1);
        if waited >= YIELDING || questions.is_multiple_of(CLOCK) {
            waited = start.elapsed();
        }
        if limit.is_some_and(|limit| waited > limit) {
            return Err(Late);
        }
    }
}

/// How long to sleep after so much waiting.
fn nap(waited: Duration, limit: Option<Duration>) -> Duration {
    let [least, most] = NAP;
    let rest = limit.map_or(most, |limit| limit.saturating_sub(waited));
    (waited / 1000).clamp(least, most).min(rest.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_until_the_answer_is_yes() {
        for needed in [1, 150, 5000] {
            let mut asked = 0;
            let result = until(None, || {
                asked += 1;
                asked == needed
            });
            assert_eq!((result, asked), (Ok(()), needed));
        }
    }

    #[test]
    fn it_ends_at_the_limit() {
        let start = Instant::now();
        let result = until(Some(Duration::from_millis(30)), || false);
        assert_eq!(result, Err(Late));
        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn naps_grow_with_what_has_been_waited_and_end_at_the_limit() {
        let [least, most] = NAP;
        let second = Duration::from_secs(1);
        assert_eq!(nap(second / 100, None), least);
        assert_eq!(nap(second / 2, None), most / 2);
        assert_eq!(nap(second * 60, None), most);
        assert_eq!(nap(second, Some(second + most / 4)), most / 4);
        assert_eq!(nap(second, Some(second)), least);
    }
}
