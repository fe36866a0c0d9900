//! Calls of the world, under the lock that each holds.

use super::super::process::{caught, guard};
use super::turn;
use crate::error::Error;
use crate::world::World;
use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

/// The world of this process.
pub static WORLD: Mutex<Option<World>> = Mutex::new(None);

thread_local! {
    /// Whether this thread makes a call, and has the lock of the world.
    static IS_CALLING: Cell<bool> = const { Cell::new(false) };
}

/// A call of this thread, until it is dropped.
struct Call;

impl Call {
    /// Begins it.
    fn begin() -> Self {
        IS_CALLING.set(true);
        Call
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        IS_CALLING.set(false);
    }
}

/// Whether this thread makes a call.
pub fn is_calling() -> bool {
    IS_CALLING.get()
}

/// Runs what all ranks have met for. The others wait for this one, so that an error which it alone has
/// ends the job: it does not return.
pub fn with_world(body: impl FnOnce(&mut World) -> Result<(), Error>) -> i32 {
    with_open(|world| {
        if world.is_closed() {
            return Err(Error::World("Cannot use the world as it has been closed".to_owned()));
        }
        caught(|| body(world)).map_err(|error| world.fail(&error))
    })
}

/// Runs what a call does with the world, and returns errors: those of no rank, or of all ranks alike.
pub fn with_open(body: impl FnOnce(&mut World) -> Result<(), Error>) -> i32 {
    guard(|| {
        turn::await_turn();
        let _call = Call::begin();
        let mut world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
        match world.as_mut() {
            Some(world) => body(world),
            None => Err(Error::World("Cannot use the world as none is open".to_owned())),
        }
    })
}
