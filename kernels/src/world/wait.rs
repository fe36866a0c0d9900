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

/// How long it sleeps at a time.
const NAP: Duration = Duration::from_micros(50);

/// What is asked of time again only after so many questions.
const CLOCK: u32 = 64;

/// Why waiting has ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late;

/// Asks until the answer is yes.
///
/// # Errors
/// That of a question; and `Late`, made into one, if `limit` has passed. Without a limit it may wait
/// forever.
pub fn until<E: From<Late>>(
    limit: Option<Duration>,
    mut ask: impl FnMut() -> Result<bool, E>,
) -> Result<(), E> {
    for _ in 0..POLLS {
        if ask()? {
            return Ok(());
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    let mut waited = Duration::ZERO;
    let mut questions = 0_u32;
    loop {
        if ask()? {
            return Ok(());
        }
        if waited < YIELDING {
            thread::yield_now();
        } else {
            thread::sleep(NAP);
        }
        questions = questions.wrapping_add(1);
        if waited >= YIELDING || questions.is_multiple_of(CLOCK) {
            waited = start.elapsed();
        }
        if limit.is_some_and(|limit| waited > limit) {
            return Err(Late.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_until_the_answer_is_yes() {
        for needed in [1, 150, 5000] {
            let mut asked = 0;
            let result = until::<Late>(None, || {
                asked += 1;
                Ok(asked == needed)
            });
            assert_eq!((result, asked), (Ok(()), needed));
        }
    }

    #[test]
    fn it_ends_at_the_limit() {
        let start = Instant::now();
        let result = until::<Late>(Some(Duration::from_millis(30)), || Ok(false));
        assert_eq!(result, Err(Late));
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}
