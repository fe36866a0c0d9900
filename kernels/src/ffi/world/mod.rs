//! The boundary of [`crate::world`]. A process is in one job at most, so there is one world, under a
//! lock that each call holds: two threads never call MPI at once. [`turn`] has their order.

mod addends;
mod calls;
mod ending;
mod exchange;
mod in_place;
mod later;
mod signs;
mod states;
mod turn;

use super::layout::dtype::{F32, F64};
use super::pointers::{null, read, text, write, write_text};
use super::process::{config, guard};
use crate::error::Error;
use crate::world::joining::launcher_here;
use crate::world::{Choice, World};
use calls::{WORLD, with_open, with_world};
use std::sync::PoisonError;
use std::time::Duration;

/// The longest timeout, of some thirty years: the sum of that and the present time is a time.
const MAX_TIMEOUT: Duration = Duration::from_secs(1_000_000_000);

/// `int32_t descent_world_open(const uint8_t *library, uint32_t length, double timeout, double *out)`:
/// joins the job of the launcher that has started this process, and writes rank, size, rank on this
/// machine and number there. Without a launcher, and where this is its only process, the size is 0, and
/// nothing is loaded. The timeout is in milliseconds.
///
/// # Safety
/// `library` is valid for `length` bytes, `out` for four words.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_open(
    library: *const u8,
    length: u32,
    timeout: f64,
    out: *mut f64,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for both pointers.
        let (name, out) =
            unsafe { (text(library, length, "library")?, write(out, 4, "the world's numbers")?) };
        let mut world = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
        if world.is_some() {
            return Err(Error::World(
                "Cannot open the world as this process has opened it before: MPI can be started once"
                    .to_owned(),
            ));
        }
        let library = (!name.is_empty()).then(|| name.to_owned());
        let timeout = Duration::try_from_secs_f64(timeout / 1000.0).unwrap_or(MAX_TIMEOUT);
        out.fill(0.0);
        let Some(launcher) = launcher_here()? else { return Ok(()) };
        config()?.start_all()?; // fails here, not when others wait for this rank
        let choice = Choice { library, timeout: Some(timeout.min(MAX_TIMEOUT)) };
        let opened = World::open(launcher, &choice)?;
        ending::watch(&opened);
        let [local, here] = opened.local();
        let numbers = [opened.rank(), opened.size(), local, here];
        *world = Some(opened);
        for (out, number) in out.iter_mut().zip(numbers) {
            *out = number as f64;
        }
        Ok(())
    })
}

/// `uint32_t descent_world_info(uint8_t *out, uint32_t capacity)`: lines of the library's file, the
/// launcher's kind, and the library's version in its own words.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_info(out: *mut u8, capacity: u32) -> u32 {
    let mut info = String::new();
    with_open(|world| {
        let (library, launcher) = (world.library().display(), world.launcher().kind.name());
        info = format!("{library}\n{launcher}\n{}", world.version());
        Ok(())
    });
    // SAFETY: the caller vouches for `out`.
    unsafe { write_text(&info, out, capacity) }
}

/// `uint32_t descent_world_probe(uint8_t *out, uint32_t capacity)`: lines about what a job would find on
/// this machine.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_probe(out: *mut u8, capacity: u32) -> u32 {
    // SAFETY: the caller vouches for `out`.
    unsafe { write_text(&crate::world::probe::lines().join("\n"), out, capacity) }
}

/// `int32_t descent_world_meet(const uint8_t *own, uint32_t bytes, uint8_t *all, uint32_t patient)`: gives
/// each rank's header to all; if it is patient, without a timeout.
///
/// # Safety
/// `own` is valid for `bytes` bytes, `all` for as many of each rank, and nobody else's meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_meet(
    own: *const u8,
    bytes: u32,
    all: *mut u8,
    patient: u32,
) -> i32 {
    with_world(|world| {
        let bytes = bytes as usize;
        // SAFETY: the caller vouches for both pointers.
        let (own, all) =
            unsafe { (read(own, bytes, "own")?, write(all, bytes * world.size(), "all")?) };
        world.meet(own, all, patient != 0)
    })
}

/// `int32_t descent_world_all_gather(const uint8_t *send, uint32_t bytes, uint8_t *receive,
/// uint32_t patient)`: gives the bytes of each rank to all; if it is patient, without a timeout.
///
/// # Safety
/// `send` is valid for `bytes` bytes, `receive` for as many of each rank, and nobody else's meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_all_gather(
    send: *const u8,
    bytes: u32,
    receive: *mut u8,
    patient: u32,
) -> i32 {
    with_world(|world| {
        let bytes = bytes as usize;
        // SAFETY: the caller vouches for both pointers.
        let (send, receive) = unsafe {
            (read(send, bytes, "send")?, write(receive, bytes * world.size(), "receive")?)
        };
        world.all_gather(send, receive, patient != 0)
    })
}

/// `int32_t descent_world_gather(const uint8_t *send, uint32_t bytes, uint8_t *receive,
/// const uint32_t *sizes)`: gives the bytes of each rank to all, `sizes[i]` of rank `i`.
///
/// # Safety
/// `send` is valid for `bytes` bytes, `sizes` for a number for each rank, and `receive` for the sum of
/// these, and nobody else's meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_gather(
    send: *const u8,
    bytes: u32,
    receive: *mut u8,
    sizes: *const u32,
) -> i32 {
    with_world(|world| {
        // SAFETY: the caller vouches for all pointers.
        let (send, receive, sizes) = unsafe {
            let sizes = read(sizes, world.size(), "sizes")?;
            let sizes: Vec<usize> = sizes.iter().map(|&size| size as usize).collect();
            let all = sizes.iter().sum();
            (read(send, bytes as usize, "send")?, write(receive, all, "receive")?, sizes)
        };
        if sizes[world.rank()] != send.len() {
            return Err(Error::Table("Cannot gather as a rank's own size is another".to_owned()));
        }
        world.all_gather_parts(send, receive, &sizes)
    })
}

/// `int32_t descent_world_broadcast(uint8_t *bytes, double length, uint32_t from)`: gives the bytes of
/// one rank to all.
///
/// # Safety
/// `bytes` is valid for `length` bytes, and nobody else's meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_broadcast(bytes: *mut u8, length: f64, from: u32) -> i32 {
    with_world(|world| {
        if from as usize >= world.size() {
            return Err(Error::Table("Cannot broadcast as there is no such rank".to_owned()));
        }
        // SAFETY: the caller vouches for the pointer.
        let bytes = unsafe { write(bytes, length as usize, "bytes")? };
        world.broadcast(bytes, from as usize)
    })
}

/// `int32_t descent_world_sum(void *values, double length, uint32_t dtype)`: replaces the elements of an
/// array, of float32 or float64, by their sums over the ranks.
///
/// # Safety
/// `values` is valid for `length` elements of the dtype, and nobody else's meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_sum(values: *mut u8, length: f64, dtype: u32) -> i32 {
    with_world(|world| {
        let length = length as usize;
        if !values.is_null() && !values.cast::<f64>().is_aligned() && dtype == F64 {
            return Err(null("values"));
        }
        // SAFETY: the caller vouches for the pointer.
        unsafe {
            match dtype {
                F32 => world.sum(write(values.cast::<f32>(), length, "values")?),
                F64 => world.sum(write(values.cast::<f64>(), length, "values")?),
                _ => Err(Error::Table(format!("Cannot sum values of dtype {dtype}"))),
            }
        }
    })
}

/// `int32_t descent_world_close(void)`: leaves the job.
#[unsafe(no_mangle)]
extern "C" fn descent_world_close() -> i32 {
    with_open(|world| {
        ending::forget();
        world.close()
    })
}
