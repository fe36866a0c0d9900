//! How a process ends, and with it all ranks of its job.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

/// How long other ranks get to print their own message before a job is ended.
pub const LAST_WORDS: Duration = Duration::from_millis(200);

/// No thread has asked for the end.
const NOT_ASKED: i32 = i32::MIN;

/// The exit code with which a thread wants the job to end while another one waits for other ranks.
static ASKED: AtomicI32 = AtomicI32::new(NOT_ASKED);

/// Whether the job is being ended.
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// Asks the thread that calls MPI to end the job. No other may call it meanwhile.
pub fn ask(code: i32) {
    ASKED.store(code, Ordering::SeqCst);
}

/// The exit code with which the job is to end, if a thread has asked for that.
pub fn asked() -> Option<i32> {
    let code = ASKED.load(Ordering::Relaxed);
    (code != NOT_ASKED).then_some(code)
}

/// The job is ended from here on: what runs at the end of the process has nothing to do any more.
pub fn begin() {
    IS_ENDING.store(true, Ordering::SeqCst);
}

/// Whether the job is being ended.
pub fn is_begun() -> bool {
    IS_ENDING.load(Ordering::SeqCst)
}

/// Ends this process, and runs nothing of what others have left for its end: that might wait for ranks
/// that never answer.
pub fn leave(code: i32) -> ! {
    begin();
    #[cfg(unix)]
    // SAFETY: it ends the process.
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}

/// Calls a function when the process ends, before what the library of MPI does then. Elsewhere than on
/// Unix nothing can be called at that time.
pub fn at_exit(function: extern "C" fn()) {
    #[cfg(unix)]
    // SAFETY: this library stays in memory as long as the process lives.
    unsafe {
        libc::atexit(function);
    }
    #[cfg(not(unix))]
    let _ = function;
}
