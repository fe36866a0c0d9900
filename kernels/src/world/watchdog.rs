//! Ends the process if something takes too long that nothing else can end.

use super::ending;
use super::messages::Limit;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

/// Runs a function. If that takes longer than the limit, a message is printed and the process ends with
/// code 1, so that its launcher ends the job.
pub fn within<T>(limit: Limit, message: String, body: impl FnOnce() -> T) -> T {
    let Some(limit) = limit else { return body() };
    let (done, watched) = channel::<()>();
    let watch = move || {
        if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{message}");
            thread::sleep(ending::LAST_WORDS);
            ending::leave(1);
        }
    };
    // Without this thread it may take forever, as it would without a limit.
    let _watcher = thread::Builder::new().name("descent-watchdog".to_owned()).spawn(watch);
    let result = body();
    drop(done);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_ends_in_time_is_left_alone() {
        let limit = Some(Duration::from_millis(20));
        assert_eq!(within(limit, "too late".to_owned(), || 7), 7);
        thread::sleep(Duration::from_millis(60));
        assert_eq!(within(Some(Duration::MAX), "too late".to_owned(), || 7), 7);
    }
}
