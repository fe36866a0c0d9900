//! How the process ends while a world is open.
//!
//! JavaScript says goodbye to the other ranks where it can. What it cannot know is whether an error ends
//! the program: a listener that is called after its own may still prevent that, and nothing of it runs
//! afterwards. It then leaves here what is to be said ([`descent_world_goodbye`]), and the end of the
//! process says it.

use super::super::pointers::read;
use super::super::process::guard;
use super::calls::{WORLD, is_calling, with_open};
use crate::error::Error;
use crate::world::header::HEADER;
use crate::world::{Goodbye, World, ending};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread that calls MPI gets to end the job before this process ends by itself. It includes the
/// time for last words.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is said if the process ends.
static GOODBYE: Mutex<Option<Goodbye>> = Mutex::new(None);

/// Whether a world of several ranks is open.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// Takes care of the end of the process.
pub fn watch(world: &World) {
    if world.size() > 1 {
        IS_OPEN.store(true, Ordering::SeqCst);
    }
    ending::at_exit(at_exit);
}

/// The world is being closed.
pub fn forget() {
    IS_OPEN.store(false, Ordering::SeqCst);
}

/// Says goodbye to ranks that have not heard it. It does nothing inside of a call: the library of MPI may
/// end the process there.
extern "C" fn at_exit() {
    if ending::is_begun() || is_calling() || !IS_OPEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let goodbye = GOODBYE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(goodbye) = goodbye else {
        eprintln!(
            "Cannot leave the job as this process ends without a goodbye to the other ranks, as it does \
             if a listener of unload that is called first ends it: all ranks are ended"
        );
        abort(1);
    };
    with_open(|world| {
        world.say_goodbye(&goodbye)?;
        world.close()
    });
}

/// `int32_t descent_world_goodbye(const uint8_t *words, uint32_t bytes)`: what is said to the other ranks if
/// the process ends before the world is closed: two headers, and details. Without bytes it is
/// forgotten. Where nothing can be said at the end of a process the status is 2.
///
/// # Safety
/// `words` is valid for `bytes` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_goodbye(words: *const u8, bytes: u32) -> i32 {
    guard(|| {
        if cfg!(not(unix)) {
            return Err(Error::Table("Cannot say anything at the end of a process".to_owned()));
        }
        // SAFETY: the caller vouches for the pointer.
        let words = unsafe { read(words, bytes as usize, "words")? };
        let goodbye = words.split_first_chunk::<HEADER>().and_then(|(&header, rest)| {
            let (&details_header, details) = rest.split_first_chunk::<HEADER>()?;
            Some(Goodbye { header, details_header, details: details.to_vec() })
        });
        *GOODBYE.lock().unwrap_or_else(PoisonError::into_inner) = goodbye;
        Ok(())
    })
}

/// `int32_t descent_world_abort(uint32_t code)`: ends all ranks with an exit code. It does not return, and
/// waits for no call of another thread.
#[unsafe(no_mangle)]
extern "C" fn descent_world_abort(code: u32) -> i32 {
    abort(code as i32)
}

/// Two threads must not call MPI at once: a thread that waits for other ranks ends the job itself. If it
/// cannot, the end of this process with a code that is not 0 tells the launcher.
fn abort(code: i32) -> ! {
    ending::ask(code);
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match WORLD.try_lock() {
            Ok(mut world) => abort_with(world.as_mut(), code),
            Err(TryLockError::Poisoned(world)) => abort_with(world.into_inner().as_mut(), code),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
        }
    }
    ending::leave(code)
}

fn abort_with(world: Option<&mut World>, code: i32) -> ! {
    match world {
        Some(world) => world.abort(code),
        None => ending::leave(code),
    }
}
