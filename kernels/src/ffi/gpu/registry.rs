//! Numbers for what a caller keeps open.

use crate::error::Error;
use crate::gpu::Gpu;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// The devices that are open.
pub static GPUS: Registry<Gpu> = Registry::new();

/// A thing and the number of its owner, with which it goes away.
struct Owned<T> {
    owner: u32,
    thing: Arc<T>,
}

/// Things that live behind a number.
pub struct Registry<T> {
    next: AtomicU32,
    things: LazyLock<Mutex<HashMap<u32, Owned<T>>>>,
}

impl<T> Registry<T> {
    pub const fn new() -> Self {
        Registry { next: AtomicU32::new(1), things: LazyLock::new(Mutex::default) }
    }

    fn things(&self) -> MutexGuard<'_, HashMap<u32, Owned<T>>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, owner: u32, thing: T) -> u32 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.things().insert(number, Owned { owner, thing: Arc::new(thing) });
        number
    }

    pub fn get(&self, number: u32) -> Result<Arc<T>, Error> {
        let missing = || Error::Table(format!("Cannot use number {number} as it is not open"));
        self.things().get(&number).map(|owned| owned.thing.clone()).ok_or_else(missing)
    }

    /// Takes a thing out. The caller drops it when nothing is locked any more.
    pub fn remove(&self, number: u32) -> Option<Arc<T>> {
        self.things().remove(&number).map(|owned| owned.thing)
    }

    /// Removes everything that belongs to an owner, and returns it with its numbers.
    pub fn remove_of(&self, owner: u32) -> Vec<(u32, Arc<T>)> {
        let removed = self.things().extract_if(|_, owned| owned.owner == owner).collect::<Vec<_>>();
        removed.into_iter().map(|(number, owned)| (number, owned.thing)).collect()
    }
}
