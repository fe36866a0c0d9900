//! Numbers for what a caller keeps open.

use crate::error::Error;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// Things that live behind a number.
pub struct Registry<T> {
    next: AtomicU32,
    things: LazyLock<Mutex<HashMap<u32, Arc<T>>>>,
}

impl<T> Registry<T> {
    pub const fn new() -> Self {
        Registry { next: AtomicU32::new(1), things: LazyLock::new(Mutex::default) }
    }

    pub fn things(&self) -> MutexGuard<'_, HashMap<u32, Arc<T>>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, thing: T) -> u32 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.things().insert(number, Arc::new(thing));
        number
    }

    pub fn get(&self, number: u32) -> Result<Arc<T>, Error> {
        let missing = || Error::Table(format!("Cannot use number {number} as it is not open"));
        self.things().get(&number).cloned().ok_or_else(missing)
    }
}
