//! The boundary: every `extern "C"` function of the library, and all of its `unsafe`.
//!
//! Each function that can fail checks what it is given, stops panics, and returns a status: 0, or the
//! number of an [`Error`] whose text [`descent_error`] then hands out on the same thread. Tables are rows of
//! 64-bit words: integers for tensors, float64 for groups.
//!
//! What the caller promises, because no check here can see it: a table has as many rows as its count
//! says, an address in it points to `length` elements of the row's type that stay where they are until
//! the call returns, nobody else writes to them meanwhile, and no data or buffer overlaps any other
//! array of the same step. `src/plan.ts` keeps these promises: it holds the arrays and refuses
//! resizable, detached and overlapping ones. In most calls JavaScript's own thread waits for the
//! result; `src/native/pinned.ts` makes the others, and keeps the memory alive until they return.

#[cfg(feature = "gpu")]
mod gpu;
mod gradients;
mod resident;
mod rows;
mod sparse;
mod staged;
mod vjp;

use crate::config::Config;
use crate::cpu;
use crate::error::Error;
use crate::roofline::roofline;
use crate::rule::Hyperparameters;
use crate::simd::Level;
use crate::sweep::Group;
use rows::Rows;
use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Changes with every change of a signature or of a table's layout.
const ABI: u32 = 5;

/// A row that describes a tensor: six words, of which the last one is in two halves, the lower one first
/// as on every platform that Deno runs on.
#[derive(Clone, Copy)]
#[repr(C)]
struct Row {
    data: u64,
    grad: u64,
    buffer: u64,
    master: u64,
    length: u64,
    /// The dtype in 24 bits, and above it the state.
    kind: u32,
    group: u32,
}

const _: () = assert!(size_of::<Row>() == 6 * size_of::<u64>());

impl Row {
    #[inline(always)]
    fn dtype(&self) -> u32 {
        self.kind & 0x00ff_ffff
    }

    #[inline(always)]
    fn state(&self) -> u32 {
        self.kind >> 24
    }
}

/// Words of a row that describes a group: lr, momentum, dampening, weight decay, flags, and the
/// factor that clips the norm of its gradients.
const GROUP_ROW: usize = 6;

/// Rows from this dtype on describe tensors of a device, which `gpu` steps; `src/tables.ts` has it too.
const DEVICE: u32 = 16;

const STATE_SKIP: u32 = 0;
const STATE_FIRST: u32 = 1;

const FLAG_NESTEROV: u32 = 1;
const FLAG_MAXIMIZE: u32 = 2;
const FLAG_SIGN: u32 = 4;

/// The text of the last error of any thread.
static ELSEWHERE: Mutex<String> = Mutex::new(String::new());

static CONFIG: OnceLock<Result<Config, Error>> = OnceLock::new();

thread_local! {
    static LAST_ERROR: RefCell<String> = const { RefCell::new(String::new()) };
    /// The groups of the current step, kept so that a step allocates nothing.
    static GROUPS: RefCell<Vec<Group>> = const { RefCell::new(Vec::new()) };
}

fn config() -> Result<&'static Config, Error> {
    CONFIG.get_or_init(Config::from_environment).as_ref().map_err(Clone::clone)
}

fn guard(body: impl FnOnce() -> Result<(), Error>) -> i32 {
    let result = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().map(|s| s.to_string());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Err(Error::Panic(text.unwrap_or_else(|| "no message".to_owned())))
    });
    match result {
        Ok(()) => 0,
        Err(error) => {
            LAST_ERROR.with_borrow_mut(|last| *last = error.to_string());
            *ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
            error.status()
        }
    }
}

/// Copies as much of `text` as fits and returns its whole length in bytes.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
unsafe fn hand_out(text: &str, out: *mut u8, capacity: u32) -> u32 {
    let count = text.len().min(capacity as usize);
    if !out.is_null() {
        // SAFETY: `text` holds at least `count` bytes, and the caller vouches for `out`.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), out, count) };
    }
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// `uint32_t descent_abi(void)`: the number of this interface.
#[unsafe(no_mangle)]
extern "C" fn descent_abi() -> u32 {
    ABI
}

/// `int32_t descent_open(void)`: reads the settings from the environment and starts the
/// threads, once for the process, in which the library then stays.
#[unsafe(no_mangle)]
extern "C" fn descent_open() -> i32 {
    guard(|| {
        resident::stay()?;
        let config = config()?;
        if config.threads() > 1 {
            config.pool()?; // fails here, not in the middle of a step
        }
        Ok(())
    })
}

/// `uint32_t descent_info(uint8_t *out, uint32_t capacity)`: version, SIMD level and threads as JSON.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_info(out: *mut u8, capacity: u32) -> u32 {
    let (simd, threads) = match config() {
        Ok(config) => (config.level(), config.threads()),
        Err(_) => (Level::Portable, 0),
    };
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        r#"{{"version":"{version}","simd":"{}","threads":{threads},"gpu":{}}}"#,
        simd.name(),
        cfg!(feature = "gpu")
    );
    // SAFETY: the caller vouches for `out`.
    unsafe { hand_out(&text, out, capacity) }
}

/// `uint32_t descent_error(uint8_t *out, uint32_t capacity)`: the text of this thread's last error,
/// once; after that, of the last error of any thread, which is where a call that does not block ran.
///
/// # Safety
/// `out` is null or valid for writes of `capacity` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_error(out: *mut u8, capacity: u32) -> u32 {
    LAST_ERROR.with_borrow_mut(|here| {
        if here.is_empty() {
            here.clone_from(&ELSEWHERE.lock().unwrap_or_else(PoisonError::into_inner));
        }
        // SAFETY: the caller vouches for `out`.
        let length = unsafe { hand_out(here, out, capacity) };
        if length <= capacity {
            here.clear();
        }
        length
    })
}

/// `double descent_address(const void *array)`: where an array lies, as a word for a table.
#[unsafe(no_mangle)]
extern "C" fn descent_address(array: *const u8) -> f64 {
    array.expose_provenance() as f64
}

/// `int32_t descent_panic(void)`: panics, to test that a panic arrives as an error.
#[unsafe(no_mangle)]
extern "C" fn descent_panic() -> i32 {
    guard(|| panic!("asked for by descent_panic"))
}

/// `int32_t descent_step(const uint64_t *rows, uint32_t row_count, uint32_t from, uint32_t to,
/// const double *groups, uint32_t group_count)`: one step of the rows `from..to`.
///
/// # Safety
/// `rows` is valid for reads of `row_count` rows, `groups` of `group_count` rows, and what the
/// module's documentation says of the addresses in them is true.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_step(
    rows: *const u64,
    row_count: u32,
    from: u32,
    to: u32,
    groups: *const f64,
    group_count: u32,
) -> i32 {
    guard(|| {
        // SAFETY: the caller vouches for both tables.
        let (rows, groups) = unsafe {
            (
                table::<Row>(rows, row_count, from..to, "step")?,
                group_table(groups, group_count, "step")?,
            )
        };
        if rows[from as usize..].iter().any(staged::is_staged) {
            // SAFETY: what the caller vouches for.
            return unsafe { staged::plain(rows, from as usize, groups) };
        }
        // SAFETY: the caller vouches for the addresses of its rows, for as long as this call takes.
        let rows = unsafe { Rows::new(rows, from as usize) }?;
        GROUPS.with_borrow_mut(|scratch| {
            scratch.clear();
            scratch.extend(groups.iter().map(group));
            cpu::step(rows, scratch, config()?)
        })
    })
}

/// `int32_t descent_roofline(float *data, const float *grad, float *buffer, uint32_t length)`: the
/// loop that benchmarks compare a step with; a null buffer means "without momentum".
///
/// # Safety
/// The arrays are null or valid for `length` elements, do not overlap, and are nobody else's
/// meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn descent_roofline(
    data: *mut f32,
    grad: *const f32,
    buffer: *mut f32,
    length: u32,
) -> i32 {
    guard(|| {
        if data.is_null() || grad.is_null() {
            return Err(Error::Table("Cannot time an array that is null".to_owned()));
        }
        let length = length as usize;
        // SAFETY: not null; the rest is the caller's promise.
        let (data, grad, buffer) = unsafe {
            (
                std::slice::from_raw_parts_mut(data, length),
                std::slice::from_raw_parts(grad, length),
                match buffer.is_null() {
                    true => &mut [],
                    false => std::slice::from_raw_parts_mut(buffer, length),
                },
            )
        };
        roofline(data, grad, buffer, config()?)
    })
}

/// The rows of a table up to the end of a range, which the table must have.
///
/// # Safety
/// `rows` is null or valid for reads of `count` rows for as long as `'a`; rows are words and nothing
/// else.
#[inline(always)]
unsafe fn table<'a, R>(
    rows: *const u64,
    count: u32,
    range: Range<u32>,
    doing: &str,
) -> Result<&'a [R], Error> {
    if rows.is_null() || range.start > range.end {
        return Err(missing(doing));
    }
    if range.end > count {
        return Err(beyond(doing, range.end, count));
    }
    // SAFETY: not null, and no longer than the table; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(rows.cast(), range.end as usize) })
}

/// All rows of the group table.
///
/// # Safety
/// `groups` is null or valid for reads of `count` rows for as long as `'a`.
#[inline(always)]
unsafe fn group_table<'a>(
    groups: *const f64,
    count: u32,
    doing: &str,
) -> Result<&'a [[f64; GROUP_ROW]], Error> {
    if groups.is_null() {
        return Err(missing(doing));
    }
    // SAFETY: not null; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(groups.cast(), count as usize) })
}

#[cold]
fn missing(doing: &str) -> Error {
    Error::Table(format!("Cannot {doing} as a table is missing"))
}

#[cold]
fn beyond(doing: &str, end: u32, count: u32) -> Error {
    Error::Table(format!("Cannot {doing} row {} as the table has {count} rows", end - 1))
}

fn group(row: &[f64; GROUP_ROW]) -> Group {
    Group::new(&hyperparameters(row))
}

fn hyperparameters(row: &[f64; GROUP_ROW]) -> Hyperparameters {
    let &[lr, momentum, dampening, weight_decay, flags, _] = row;
    let flags = flags as u32;
    Hyperparameters {
        lr,
        momentum,
        dampening,
        weight_decay,
        nesterov: flags & FLAG_NESTEROV != 0,
        maximize: flags & FLAG_MAXIMIZE != 0,
        sign: flags & FLAG_SIGN != 0,
    }
}
