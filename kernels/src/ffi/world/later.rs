//! Meetings of ranks on another thread, with what they have met for.
//!
//! Between the two nothing else may reach the other ranks, or they would take it for what they are
//! waiting for. The thread that makes such a call announces it first ([`descent_world_owe`]); until the
//! call has returned, every other one waits. So a rank that fails meanwhile says so after the exchange.

use super::super::pointers::{read, write};
use super::exchange::{descent_world_apply, descent_world_measure, descent_world_step};
use super::turn::{Turn, await_turn, owe};
use super::with_world;
use crate::world::header;

/// The status of ranks that are about to do different things; nothing has been done.
const DIFFER: i32 = 8;

/// The number of a meeting for nothing else, which may take as long as it likes.
const NOTHING: u32 = 3;

/// `int32_t descent_world_owe(uint32_t withdraw)`: announces a call of `descent_world_later`, or withdraws
/// one that could not be made.
#[unsafe(no_mangle)]
extern "C" fn descent_world_owe(withdraw: u32) -> i32 {
    owe(if withdraw == 0 { 1 } else { -1 });
    0
}

/// `int32_t descent_world_wait(void)`: waits until all calls that were announced have returned.
#[unsafe(no_mangle)]
extern "C" fn descent_world_wait() -> i32 {
    await_turn();
    0
}

/// `int32_t descent_world_later(const uint8_t *own, uint32_t bytes, uint8_t *all, uint32_t what,
/// const uint64_t *rows, uint32_t row_count, const double *groups, uint32_t group_count,
/// const double *call, double scale, double *sums, uint32_t shards, uint32_t order)`: gives each rank's
/// header to all. If these are equal it continues with `descent_world_step` (`what` is 0),
/// `descent_world_measure` (1) or `descent_world_apply` (2), or with nothing (3), for which it waits
/// without a timeout; otherwise the status is 8. It is announced by `descent_world_owe`.
///
/// # Safety
/// `own` is valid for `bytes` bytes, `all` for as many of each rank and nobody else's meanwhile; the
/// others as those functions say.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_later(
    own: *const u8,
    bytes: u32,
    all: *mut u8,
    what: u32,
    rows: *const u64,
    row_count: u32,
    groups: *const f64,
    group_count: u32,
    call: *const f64,
    scale: f64,
    sums: *mut f64,
    shards: u32,
    order: u32,
) -> i32 {
    let _turn = Turn::take();
    let mut agree = false;
    let status = with_world(|world| {
        let bytes = bytes as usize;
        // SAFETY: the caller vouches for both pointers.
        let (own, all) =
            unsafe { (read(own, bytes, "own")?, write(all, bytes * world.size(), "all")?) };
        world.meet(own, all, what == NOTHING)?;
        agree = header::agree(all);
        Ok(())
    });
    match (status, agree) {
        (0, true) => {}
        (0, false) => return DIFFER,
        _ => return status,
    }
    // SAFETY: the caller's promise.
    unsafe {
        match what {
            0 => descent_world_step(rows, row_count, groups, group_count, call, shards),
            1 => descent_world_measure(rows, row_count, scale, sums, group_count, order),
            2 => descent_world_apply(rows, row_count, groups, group_count, call, shards),
            _ => 0,
        }
    }
}
