//! The boundary of [`crate::world::states`]: what belongs to the rows of the tensor table besides gradients.

use super::super::layout::{DEVICE, Row, format};
use super::super::pointers::{pointer, table, write};
use super::exchange::{buffer_bytes, data_bytes, exchange, master_bytes};
use super::with_world;
use crate::error::Error;
use crate::formats::momentum8;
use crate::world::partition::Segment;
use crate::world::states::{States, collect, of_others, read_range};

/// `int32_t descent_world_share(const uint64_t *rows, uint32_t row_count, uint32_t has_state)`: gives rank 0's
/// parameters to all, and with state also momentum, master weights and corrections.
///
/// # Safety
/// `rows` is valid for reads of `row_count` rows, whose addresses are null or valid for what their
/// formats say, and nobody else's; all ranks have equal rows, but for the addresses.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_share(rows: *const u64, row_count: u32, has_state: u32) -> i32 {
    with_world(|world| {
        // SAFETY: the caller vouches for the table.
        let rows = unsafe { table::<Row>(rows, row_count, 0..row_count, "share")? };
        if let Some(index) = rows.iter().position(|row| row.dtype() >= DEVICE) {
            return Err(Error::Table(format!("Cannot share row {index}: it is on a device")));
        }
        for row in rows {
            let length = row.length as usize;
            let [buffer, master] = if has_state != 0 { state_bytes(row) } else { [0; 2] };
            let arrays =
                [(row.data, data_bytes(row) * length), (row.buffer, buffer), (row.master, master)];
            for (address, bytes) in arrays {
                if address != 0 {
                    // SAFETY: the caller vouches for the addresses.
                    world.broadcast(unsafe { write(pointer(address), bytes, "an array")? }, 0)?;
                }
            }
        }
        Ok(())
    })
}

/// `int32_t descent_world_collect(const uint64_t *rows, uint32_t row_count, uint32_t first_only)`: gives the
/// momentum, master weights and corrections that each rank has stepped to all ranks, or to rank 0 alone.
///
/// # Safety
/// As `descent_world_share`.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_collect(
    rows: *const u64,
    row_count: u32,
    first_only: u32,
) -> i32 {
    with_world(|world| {
        // SAFETY: the caller vouches for the table.
        let rows = unsafe { table::<Row>(rows, row_count, 0..row_count, "collect")? };
        exchange(world, &lengths(rows), |exchange, world| {
            let (buckets, rooms) = exchange.rooms();
            collect(world, buckets, &mut RowStates { rows, only: None }, first_only != 0, rooms)
        })
    })
}

/// `int32_t descent_world_read(const uint64_t *rows, uint32_t row_count, uint32_t row, uint32_t array,
/// double from, double to, uint8_t *out, uint32_t bytes)`: gives rank 0 the bytes of some elements of a
/// row's momentum (`array` is 0), of its scales (1), or of its master weights or corrections (2), of which
/// each rank has stepped a part. The other ranks take nothing.
///
/// # Safety
/// As `descent_world_share`; on rank 0 `out` is valid for `bytes` bytes, as many as the elements have.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_read(
    rows: *const u64,
    row_count: u32,
    row: u32,
    array: u32,
    from: f64,
    to: f64,
    out: *mut u8,
    bytes: u32,
) -> i32 {
    with_world(|world| {
        // SAFETY: the caller vouches for both pointers.
        let (rows, out) = unsafe {
            let rows = table::<Row>(rows, row_count, 0..row_count, "read")?;
            (rows, write(out, if world.rank() == 0 { bytes as usize } else { 0 }, "out")?)
        };
        let tensor = row as usize;
        let end = rows.get(tensor).map_or(0, |row| row.length as usize).min(to as usize);
        let from = from as usize;
        let range = Segment { tensor, from, length: end.saturating_sub(from) };
        let states = RowStates { rows, only: Some(array as usize) };
        if range.length == 0 || world.rank() == 0 && out.len() != states.bytes(&range) {
            return Err(Error::Table("Cannot read the state as the lengths differ".to_owned()));
        }
        exchange(world, &lengths(rows), |exchange, world| {
            let (buckets, rooms) = exchange.rooms();
            read_range(world, buckets, &states, range, out, rooms)
        })
    })
}

/// `int32_t descent_world_give_back(const uint64_t *rows, uint32_t row_count)`: gives the system the memory
/// of the momentum that other ranks step, which has any content from then on. What shares a page with
/// something else stays.
///
/// # Safety
/// As `descent_world_share`.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_world_give_back(rows: *const u64, row_count: u32) -> i32 {
    with_world(|world| {
        // SAFETY: the caller vouches for the table.
        let rows = unsafe { table::<Row>(rows, row_count, 0..row_count, "give back")? };
        let states = RowStates { rows, only: None };
        exchange(world, &lengths(rows), |exchange, world| {
            for segment in of_others(exchange.buckets(), world.rank(), world.size()) {
                let [momentum, scales, _] = states.arrays(segment);
                for (address, bytes) in [momentum, scales] {
                    // SAFETY: the caller vouches for the addresses, and has exclusive access.
                    unsafe { give_back(address as usize, bytes) };
                }
            }
            Ok(())
        })
    })
}

fn lengths(rows: &[Row]) -> Vec<usize> {
    rows.iter().map(|row| row.length as usize).collect()
}

/// Gives whole pages of private memory back; they are zero when they are next used.
///
/// # Safety
/// The bytes are valid, and nobody else's.
#[cfg(target_os = "linux")]
unsafe fn give_back(address: usize, bytes: usize) {
    // SAFETY: a number of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let (start, end) = (address.next_multiple_of(page), (address + bytes) / page * page);
    if start < end {
        let start = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: these pages belong to the bytes alone. A refusal leaves them as they are.
        unsafe { libc::madvise(start, end - start.addr(), libc::MADV_DONTNEED) };
    }
}

/// Other systems keep the memory.
///
/// # Safety
/// None.
#[cfg(not(target_os = "linux"))]
unsafe fn give_back(_address: usize, _bytes: usize) {}

/// What belongs to rows besides parameters and gradients. The owner has exclusive access to it.
struct RowStates<'a> {
    rows: &'a [Row],
    /// The one array that counts, by its number in `arrays`; `None` for all.
    only: Option<usize>,
}

impl RowStates<'_> {
    /// Where a segment's momentum, its scales, and its master weights or corrections are, and how many
    /// bytes they have.
    fn arrays(&self, segment: &Segment) -> [(u64, usize); 3] {
        let mut arrays = self.all_arrays(segment);
        for (number, array) in arrays.iter_mut().enumerate() {
            if self.only.is_some_and(|only| only != number) {
                *array = (0, 0);
            }
        }
        arrays
    }

    fn all_arrays(&self, segment: &Segment) -> [(u64, usize); 3] {
        let row = &self.rows[segment.tensor];
        let (from, length, n) = (segment.from, segment.length, row.length as usize);
        let at = |word: u64, bytes: usize| match word {
            0 => (0, 0),
            _ => (word + (from * bytes) as u64, length * bytes),
        };
        let master = at(row.master, master_bytes(row));
        if row.buffer == 0 || !row.has(format::MOMENTUM8) {
            return [at(row.buffer, buffer_bytes(row)), (0, 0), master];
        }
        let first = momentum8::scales_offset(n) + momentum8::scales(from);
        let scales = (row.buffer + first as u64, momentum8::scales(length));
        [at(row.buffer, 1), scales, master]
    }
}

impl States for RowStates<'_> {
    fn bytes(&self, segment: &Segment) -> usize {
        self.arrays(segment).iter().map(|(_, bytes)| bytes).sum()
    }

    fn read(&self, segment: &Segment, mut out: &mut [u8]) {
        for (address, bytes) in self.arrays(segment) {
            let (own, rest) = out.split_at_mut(bytes);
            if bytes > 0 {
                // SAFETY: the caller of `descent_world_collect` vouches for the addresses.
                own.copy_from_slice(unsafe { std::slice::from_raw_parts(pointer(address), bytes) });
            }
            out = rest;
        }
    }

    fn write(&mut self, segment: &Segment, mut from: &[u8]) {
        for (address, bytes) in self.arrays(segment) {
            let (own, rest) = from.split_at(bytes);
            if bytes > 0 {
                // SAFETY: as above; the owner has exclusive access.
                unsafe { std::slice::from_raw_parts_mut(pointer(address), bytes) }
                    .copy_from_slice(own);
            }
            from = rest;
        }
    }
}

/// Bytes of a row's momentum, and of what belongs to a parameter in a 16-bit type.
fn state_bytes(row: &Row) -> [usize; 2] {
    let n = row.length as usize;
    let buffer = if row.has(format::MOMENTUM8) {
        momentum8::scales_offset(n) + momentum8::scales(n)
    } else {
        buffer_bytes(row) * n
    };
    [buffer, master_bytes(row) * n]
}
