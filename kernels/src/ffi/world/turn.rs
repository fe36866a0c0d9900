//! The order of calls of several threads. A call that is to run on another thread is announced first;
//! until it has returned, every other one waits.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many calls have been announced and have not returned.
static OWED: Mutex<i32> = Mutex::new(0);
static PAID: Condvar = Condvar::new();

thread_local! {
    /// Whether this thread makes the call that has been announced.
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

fn owed() -> MutexGuard<'static, i32> {
    OWED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the calls that have been announced, unless this is one.
pub fn await_turn() {
    if HAS_TURN.get() {
        return;
    }
    let mut owed = owed();
    while *owed > 0 {
        owed = PAID.wait(owed).unwrap_or_else(PoisonError::into_inner);
    }
}

/// The turn of a call that has been announced, until it is dropped.
pub struct Turn;

impl Turn {
    /// Takes the turn on this thread.
    pub fn take() -> Self {
        HAS_TURN.set(true);
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        HAS_TURN.set(false);
        owe(-1);
    }
}

/// Announces calls; a negative number withdraws some, or says that they have returned.
pub fn owe(calls: i32) {
    *owed() += calls;
    PAID.notify_all();
}
