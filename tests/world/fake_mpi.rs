//! A library with the interface of MPICH whose ranks exchange files in a folder: for tests on machines
//! without MPI, and for what real libraries do not let a test arrange.
//!
//! A launcher sets `PMI_RANK`, `PMI_SIZE` and `FAKE_MPI_FOLDER`. `FAKE_MPI_SIZE` makes the library believe
//! in another size, as one does that was not started by its own launcher. `FAKE_MPI_REFUSE` is the number
//! of a message that it refuses, once it is on its way.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

/// What a rank receives of another one: where in its file, how many bytes, and where they go.
struct Piece {
    from: usize,
    start: usize,
    length: usize,
    to: usize,
}

struct Request {
    pieces: Vec<Piece>,
}

static REQUESTS: Mutex<Option<HashMap<i32, Request>>> = Mutex::new(None);
static NEXT: AtomicI32 = AtomicI32::new(1);

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

fn rank() -> usize {
    number("PMI_RANK").unwrap_or(0)
}

fn size() -> usize {
    number("FAKE_MPI_SIZE").or_else(|| number("PMI_SIZE")).unwrap_or(1)
}

fn file(request: i32, rank: usize) -> PathBuf {
    let folder = std::env::var("FAKE_MPI_FOLDER").expect("FAKE_MPI_FOLDER is set");
    PathBuf::from(folder).join(format!("{request}-{rank}"))
}

unsafe fn bytes<'a>(address: *const u8, length: usize) -> &'a [u8] {
    if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(address, length) } }
}

/// Writes what this rank sends, and remembers what it receives.
fn start(sent: &[u8], pieces: Vec<Piece>, out: *mut c_int) -> c_int {
    let request = NEXT.fetch_add(1, Ordering::SeqCst);
    let mut written = file(request, rank()).into_os_string();
    written.push(".part"); // each rank has its own: `with_extension` would replace the rank
    std::fs::write(&written, sent).unwrap();
    std::fs::rename(&written, file(request, rank())).unwrap();
    let mut requests = REQUESTS.lock().unwrap();
    requests.get_or_insert_with(HashMap::new).insert(request, Request { pieces });
    unsafe { *out = request };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Test(request: *mut c_int, done: *mut c_int, _: *mut c_void) -> c_int {
    let number = unsafe { *request };
    if crate::number("FAKE_MPI_REFUSE") == Some(number as usize) {
        return 1;
    }
    let mut requests = REQUESTS.lock().unwrap();
    let requests = requests.as_mut().unwrap();
    let files: Option<Vec<Vec<u8>>> =
        (0..size()).map(|rank| std::fs::read(file(number, rank)).ok()).collect();
    let Some(files) = files else {
        unsafe { *done = 0 };
        return 0;
    };
    for Piece { from, start, length, to } in requests.remove(&number).unwrap().pieces {
        let bytes = &files[from][start..start + length];
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, length) };
    }
    unsafe { *done = 1 };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Iallgather(
    send: *const u8,
    count: c_int,
    _: c_int,
    receive: *mut u8,
    _: c_int,
    _: c_int,
    _: c_int,
    request: *mut c_int,
) -> c_int {
    let length = count as usize;
    let piece = |from| Piece { from, start: 0, length, to: receive as usize + from * length };
    start(unsafe { bytes(send, length) }, (0..size()).map(piece).collect(), request)
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Iallgatherv(
    send: *const u8,
    count: c_int,
    _: c_int,
    receive: *mut u8,
    counts: *const c_int,
    starts: *const c_int,
    _: c_int,
    _: c_int,
    request: *mut c_int,
) -> c_int {
    let in_place = send.addr() == usize::MAX;
    let (send, count) = match in_place {
        true => unsafe { (receive.add(*starts.add(rank()) as usize).cast_const(), *counts.add(rank())) },
        false => (send, count),
    };
    let piece = |from: usize| unsafe {
        let (length, to) = (*counts.add(from) as usize, *starts.add(from) as usize);
        Piece { from, start: 0, length, to: receive as usize + to }
    };
    start(unsafe { bytes(send, count as usize) }, (0..size()).map(piece).collect(), request)
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Ialltoallv(
    send: *const u8,
    counts: *const c_int,
    starts: *const c_int,
    _: c_int,
    receive: *mut u8,
    to_counts: *const c_int,
    to_starts: *const c_int,
    _: c_int,
    _: c_int,
    request: *mut c_int,
) -> c_int {
    unsafe {
        // The file begins with where each rank's part lies.
        let mut sent = Vec::new();
        let header = size() * 8;
        let mut end = header;
        for rank in 0..size() {
            sent.extend((end as u64).to_le_bytes());
            end += *counts.add(rank) as usize;
        }
        for rank in 0..size() {
            let start = send.wrapping_add(*starts.add(rank) as usize);
            sent.extend(bytes(start, *counts.add(rank) as usize));
        }
        // All ranks send a rank equally many bytes, but for itself, to whom it sends none.
        let before = |from: usize| -> usize {
            let others = (0..rank()).filter(|&rank| rank != from);
            others.map(|rank| *counts.add(rank) as usize).sum()
        };
        let piece = |from: usize| Piece {
            from,
            start: header + before(from),
            length: *to_counts.add(from) as usize,
            to: receive as usize + *to_starts.add(from) as usize,
        };
        start(&sent, (0..size()).map(piece).collect(), request)
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Ibcast(
    buffer: *mut u8,
    count: c_int,
    _: c_int,
    root: c_int,
    _: c_int,
    request: *mut c_int,
) -> c_int {
    let (from, length) = (root as usize, count as usize);
    let sent = if rank() == from { unsafe { bytes(buffer, length) } } else { &[] };
    let piece = Piece { from, start: 0, length, to: buffer as usize };
    start(sent, if rank() == from { vec![] } else { vec![piece] }, request)
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Initialized(flag: *mut c_int) -> c_int {
    unsafe { *flag = 0 };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Init_thread(
    _: *mut c_int,
    _: *mut c_void,
    required: c_int,
    provided: *mut c_int,
) -> c_int {
    unsafe { *provided = number("FAKE_MPI_THREADS").map_or(required, |level| level as c_int) };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Finalize() -> c_int {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Abort(_: c_int, code: c_int) -> c_int {
    // As when a launcher kills the process, nothing of it runs any more.
    unsafe { _exit(code) }
}

unsafe extern "C" {
    fn _exit(code: c_int) -> !;
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Comm_dup(comm: c_int, out: *mut c_int) -> c_int {
    unsafe { *out = comm };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Comm_rank(_: c_int, out: *mut c_int) -> c_int {
    unsafe { *out = if size() == 1 { 0 } else { rank() as c_int } };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Comm_size(_: c_int, out: *mut c_int) -> c_int {
    unsafe { *out = size() as c_int };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Comm_split_type(
    comm: c_int,
    _: c_int,
    _: c_int,
    _: c_int,
    out: *mut c_int,
) -> c_int {
    unsafe { *out = comm };
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Comm_set_errhandler(_: c_int, _: c_int) -> c_int {
    0
}

fn write_text(text: &str, out: *mut c_char, length: *mut c_int) -> c_int {
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), out.cast(), text.len());
        *length = text.len() as c_int;
    }
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Error_string(_: c_int, out: *mut c_char, length: *mut c_int) -> c_int {
    write_text("a fake error", out, length)
}

#[unsafe(no_mangle)]
pub extern "C" fn MPI_Get_library_version(out: *mut c_char, length: *mut c_int) -> c_int {
    write_text("Fake MPI 1.0, of files", out, length)
}
