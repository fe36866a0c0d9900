//! What all calls of a process share: its settings, and the text of the last error.

use crate::config::Config;
use crate::error::Error;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The text of the last error of any thread.
static LAST_ERROR_ANY_THREAD: Mutex<String> = Mutex::new(String::new());

static CONFIG: OnceLock<Result<Config, Error>> = OnceLock::new();

thread_local! {
    static LAST_ERROR: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The settings, read from the environment once.
pub fn config() -> Result<&'static Config, Error> {
    CONFIG.get_or_init(Config::from_environment).as_ref().map_err(Clone::clone)
}

/// Runs what a call does, and makes a panic an error.
pub fn caught(body: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().map(|s| s.to_string());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Err(Error::Panic(text.unwrap_or_else(|| "no message".to_owned())))
    })
}

/// Runs what a call does, stops panics, and returns the status.
pub fn guard(body: impl FnOnce() -> Result<(), Error>) -> i32 {
    match caught(body) {
        Ok(()) => 0,
        Err(error) => {
            let text = error.to_string();
            LAST_ERROR_ANY_THREAD.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&text);
            LAST_ERROR.with_borrow_mut(|last| *last = text);
            error.status()
        }
    }
}

/// Calls a function with the text of this thread's last error, or of any thread's if there is none;
/// the text is forgotten if the function returns true.
pub fn with_last_error(body: impl FnOnce(&str) -> bool) {
    LAST_ERROR.with_borrow_mut(|here| {
        if here.is_empty() {
            let any = LAST_ERROR_ANY_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
            here.clone_from(&any);
        }
        if body(here) {
            here.clear();
        }
    });
}
