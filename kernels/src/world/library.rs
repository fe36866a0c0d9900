//! Calls into an MPI library that is opened at run time: the only `unsafe` towards MPI.
//!
//! All calls are made under the lock of the process's world, one at a time, which is what
//! `MPI_THREAD_SERIALIZED` asks for. All collectives are nonblocking ones that are asked until they are
//! complete; `wait` has the reason.

use super::abi::{self, Constants, Handle};
use super::messages::{Limit, Messages, Trouble};
use super::moves::Work;
use super::wait;
#[cfg(unix)]
use libloading::os::unix::{Library as File, Symbol};
#[cfg(windows)]
use libloading::os::windows::{Library as File, Symbol};
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::ptr;

type Counts = *const c_int;

/// Declares the functions of MPI that are used, and what looks them up in a library.
macro_rules! functions {
    ($($field:ident: $name:literal fn($($arg:ty),*);)*) => {
        struct Functions<H: Handle> {
            $($field: unsafe extern "C" fn($($arg),*) -> c_int,)*
        }

        impl<H: Handle> Functions<H> {
            /// # Safety
            /// The file is an MPI library whose handles are of type `H`, and stays open.
            unsafe fn load(file: &File) -> Result<Self, String> {
                // SAFETY: the types are those of the MPI standard, with the library's handles.
                unsafe {
                    Ok(Functions { $($field: *symbol(file, $name)?,)* })
                }
            }
        }
    };
}

functions! {
    init_thread: "MPI_Init_thread" fn(*mut c_int, *mut c_void, c_int, *mut c_int);
    initialized: "MPI_Initialized" fn(*mut c_int);
    finalize: "MPI_Finalize" fn();
    abort: "MPI_Abort" fn(H, c_int);
    comm_dup: "MPI_Comm_dup" fn(H, *mut H);
    comm_rank: "MPI_Comm_rank" fn(H, *mut c_int);
    comm_size: "MPI_Comm_size" fn(H, *mut c_int);
    comm_split_type: "MPI_Comm_split_type" fn(H, c_int, c_int, H, *mut H);
    comm_set_errhandler: "MPI_Comm_set_errhandler" fn(H, H);
    error_string: "MPI_Error_string" fn(c_int, *mut c_char, *mut c_int);
    library_version: "MPI_Get_library_version" fn(*mut c_char, *mut c_int);
    iallgather: "MPI_Iallgather" fn(*const u8, c_int, H, *mut u8, c_int, H, H, *mut H);
    iallgatherv: "MPI_Iallgatherv" fn(*const u8, c_int, H, *mut u8, Counts, Counts, H, H, *mut H);
    ialltoallv: "MPI_Ialltoallv"
        fn(*const u8, Counts, Counts, H, *mut u8, Counts, Counts, H, H, *mut H);
    ibcast: "MPI_Ibcast" fn(*mut u8, c_int, H, c_int, H, *mut H);
    test: "MPI_Test" fn(*mut H, *mut c_int, *mut c_void);
}

/// # Safety
/// The symbol, if it is there, is of type `T`.
unsafe fn symbol<T>(file: &File, name: &str) -> Result<Symbol<T>, String> {
    // SAFETY: the caller's promise.
    unsafe { file.get(name.as_bytes()) }.map_err(|_| format!("it has no function {name}"))
}

/// The longest text that a library returns: `MPI_MAX_LIBRARY_VERSION_STRING` is the larger limit.
const MAX_TEXT: usize = 8192;

/// The most bytes of one message, as counts are of 32 bits.
pub const MAX_BYTES: usize = 1 << 30;

/// Opens a library and joins the job.
///
/// # Errors
/// A reason in words: there is no such library, it is none of MPI, or it refuses to start.
pub fn open(path: &Path) -> Result<Box<dyn Messages>, String> {
    let file = open_file(path)?;
    // SAFETY: the kinds of libraries are told apart by what only one of them has.
    unsafe {
        if let Ok(constants) = abi::open_mpi(|name| address_of(&file, name)) {
            return Library::start(file, constants);
        }
        if is_standard(&file, path) {
            return Library::start(file, abi::STANDARD);
        }
        Library::start(file, abi::MPICH)
    }
}

/// The version of a library in its own words, without starting it. Its symbols stay its own.
///
/// # Errors
/// As [`open`].
pub fn version(path: &Path) -> Result<String, String> {
    type Version = unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int;
    #[cfg(unix)]
    let flags = libloading::os::unix::RTLD_NOW | libloading::os::unix::RTLD_LOCAL;
    // SAFETY: what a library does when it is loaded is up to the user who has installed it.
    #[cfg(unix)]
    let file = unsafe { File::open(Some(path), flags) }.map_err(|e| e.to_string())?;
    #[cfg(windows)]
    let file = open_file(path)?;
    let mut text = vec![0_u8; 8192]; // as long as the standards let it be
    let mut length = 0;
    // SAFETY: the function is of this type by the standard, and may be called before any other.
    let status = unsafe {
        symbol::<Version>(&file, "MPI_Get_library_version")?(text.as_mut_ptr().cast(), &mut length)
    };
    std::mem::forget(file); // its exit hooks may outlive this
    if status != 0 {
        return Err(format!("MPI_Get_library_version returns {status}"));
    }
    text.truncate(length.max(0) as usize);
    Ok(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned())
}

/// Open MPI's manual asks for global symbols, which its components look for.
#[cfg(unix)]
fn open_file(path: &Path) -> Result<File, String> {
    use libloading::os::unix::{RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: what an MPI library does when it is loaded is up to the user who named it.
    unsafe { File::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|e| e.to_string())
}

#[cfg(windows)]
fn open_file(path: &Path) -> Result<File, String> {
    // SAFETY: as above.
    unsafe { File::new(path) }.map_err(|e| e.to_string())
}

/// The address of a variable of a library.
fn address_of(file: &File, name: &str) -> Result<usize, String> {
    // SAFETY: the symbol is not used but for its address.
    let symbol: Symbol<*mut c_void> = unsafe { symbol(file, name)? };
    Ok(symbol.into_raw().expose_provenance())
}

/// Whether a library has the interface of the MPI 5 standard.
///
/// # Safety
/// It is an MPI library.
unsafe fn is_standard(file: &File, path: &Path) -> bool {
    if path.file_name().is_some_and(|name| name.to_string_lossy().contains("mpi_abi")) {
        return true;
    }
    type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
    let [mut major, mut minor] = [-1; 2];
    // SAFETY: the function is of this type by the standard, and may be called before any other.
    unsafe {
        symbol::<Version>(file, "MPI_Abi_get_version")
            .is_ok_and(|version| version(&mut major, &mut minor) == 0 && major >= 1)
    }
}

/// An MPI library in which this process takes part.
struct Library<H: Handle> {
    functions: Functions<H>,
    constants: Constants<H>,
    /// A communicator of Descent's own, so that no message of the program's meets one of these.
    comm: H,
    rank: usize,
    size: usize,
    /// Whether this has called `MPI_Init_thread`, and so has to finalize.
    started: bool,
    /// It stays open until the process ends: its threads and exit hooks may outlive the world.
    _file: std::mem::ManuallyDrop<File>,
}

impl<H: Handle> Library<H> {
    /// # Safety
    /// The file is an MPI library with these handles and constants.
    unsafe fn start(file: File, constants: Constants<H>) -> Result<Box<dyn Messages>, String> {
        // SAFETY: the caller's promise; all pointers are to local variables.
        unsafe {
            let functions = Functions::<H>::load(&file)?;
            let [mut running, mut provided, mut rank, mut size] = [0; 4];
            refuse(&functions, (functions.initialized)(&mut running))?;
            if running == 0 {
                let no_arguments = ptr::null_mut();
                let status = (functions.init_thread)(
                    ptr::null_mut(),
                    no_arguments,
                    constants.serialized,
                    &mut provided,
                );
                refuse(&functions, status)?;
                if provided < constants.serialized {
                    return Err("it cannot be called from several threads, one at a time".into());
                }
            }
            let world = constants.comm_world;
            refuse(&functions, (functions.comm_set_errhandler)(world, constants.errors_return))?;
            let mut comm = world;
            refuse(&functions, (functions.comm_dup)(world, &mut comm))?;
            refuse(&functions, (functions.comm_rank)(comm, &mut rank))?;
            refuse(&functions, (functions.comm_size)(comm, &mut size))?;
            Ok(Box::new(Library {
                ..Library {
                    functions,
                    constants,
                    comm,
                    rank: rank as usize,
                    size: size as usize,
                    started: running == 0,
                    _file: std::mem::ManuallyDrop::new(file),
                }
            }))
        }
    }

    /// Starts a collective, works on something else, and asks until the collective is complete.
    ///
    /// # Safety
    /// The function starts a collective whose memory is valid until this returns anything but `Late`;
    /// after `Late` the process has to end.
    unsafe fn run(
        &self,
        limit: Limit,
        work: Work<'_>,
        start: impl FnOnce(&Functions<H>, &mut H) -> c_int,
    ) -> Result<(), Trouble> {
        let mut request = self.comm; // any value: the function writes it
        self.check(start(&self.functions, &mut request))?;
        // A panic has to wait for the collective, which uses memory of those who would be unwound.
        let worked = catch_unwind(AssertUnwindSafe(work));
        wait::until::<Trouble>(limit, || {
            let mut complete = 0;
            let ignore = ptr::without_provenance_mut(self.constants.status_ignore);
            // SAFETY: the request is one that MPI has written.
            let status = unsafe { (self.functions.test)(&mut request, &mut complete, ignore) };
            self.check(status)?;
            Ok(complete != 0)
        })?;
        worked.map_err(|panic| resume_unwind(panic))
    }

    fn check(&self, status: c_int) -> Result<(), Trouble> {
        // SAFETY: these are the functions of an open library.
        unsafe { refuse(&self.functions, status) }.map_err(Trouble::Refused)
    }
}

/// The library's own words for a status that is not success.
///
/// # Safety
/// The functions are those of an open library.
unsafe fn refuse<H: Handle>(functions: &Functions<H>, status: c_int) -> Result<(), String> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    Err(unsafe { text(|out, length| (functions.error_string)(status, out, length)) })
}

/// A text that a function writes, with its length.
fn text(write: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> String {
    let (mut bytes, mut length) = (vec![0_u8; MAX_TEXT], 0);
    write(bytes.as_mut_ptr().cast(), &mut length);
    bytes.truncate(length.max(0) as usize);
    String::from_utf8_lossy(&bytes).trim_end_matches(['\0', '\n']).to_owned()
}

/// Sizes and where the parts begin, as MPI takes them.
fn counts(sizes: &[usize]) -> (Vec<c_int>, Vec<c_int>) {
    let counts: Vec<c_int> = sizes.iter().map(|&size| size as c_int).collect();
    let ends = counts.iter().scan(0, |end, count| {
        *end += count;
        Some(*end)
    });
    let starts = ends.zip(&counts).map(|(end, count)| end - count).collect();
    (counts, starts)
}

/// Where bytes are. That of no bytes is not any address that Rust likes, as a few low ones have a meaning
/// in MPI: 1 is `MPI_IN_PLACE` in some libraries.
fn address(bytes: &[u8]) -> *const u8 {
    static NOTHING: u8 = 0;
    if bytes.is_empty() { &raw const NOTHING } else { bytes.as_ptr() }
}

/// As `address`, to write; nothing is written where there are no bytes.
fn address_mut(bytes: &mut [u8]) -> *mut u8 {
    if bytes.is_empty() { address(bytes).cast_mut() } else { bytes.as_mut_ptr() }
}

fn assert_fits(bytes: &[u8], sizes: &[usize]) {
    assert!(bytes.len() <= MAX_BYTES, "a message has at most {MAX_BYTES} bytes");
    assert_eq!(bytes.len(), sizes.iter().sum::<usize>(), "parts make up a whole");
}

impl<H: Handle> Messages for Library<H> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn version(&self) -> String {
        // SAFETY: the function may be called at any time.
        text(|out, length| unsafe { (self.functions.library_version)(out, length) })
    }

    fn neighbors(&mut self) -> Result<Vec<usize>, Trouble> {
        let &mut Library { ref functions, constants, comm, .. } = self;
        let (mut machine, mut size, own) = (comm, 0, self.rank as c_int);
        // SAFETY: all pointers are to local variables, and every rank makes this call.
        unsafe {
            let Constants { comm_type_shared, info_null, .. } = constants;
            let split = functions.comm_split_type;
            self.check(split(comm, comm_type_shared, own, info_null, &mut machine))?;
            self.check((functions.comm_size)(machine, &mut size))?;
        }
        let (mut ranks, byte) = (vec![own; size as usize], self.constants.byte);
        let count = size_of_val(&own) as c_int;
        let (send, receive) = ((&raw const own).cast(), ranks.as_mut_ptr().cast());
        // SAFETY: both live until `run` returns, and there is room for a number of each rank.
        unsafe {
            self.run(None, &mut || (), |f, request| {
                (f.iallgather)(send, count, byte, receive, count, byte, machine, request)
            })?;
        }
        Ok(ranks.into_iter().map(|rank| rank as usize).collect())
    }

    fn all_gather(&mut self, send: &[u8], receive: &mut [u8], limit: Limit) -> Result<(), Trouble> {
        assert_eq!(receive.len(), send.len() * self.size, "there is room for all");
        assert!(send.len() <= MAX_BYTES, "a message has at most {MAX_BYTES} bytes");
        let (count, byte, comm) = (send.len() as c_int, self.constants.byte, self.comm);
        // SAFETY: both slices live until `run` returns, and there is room for all ranks' bytes.
        unsafe {
            self.run(limit, &mut || (), |f, request| {
                let (send, receive) = (address(send), address_mut(receive));
                (f.iallgather)(send, count, byte, receive, count, byte, comm, request)
            })
        }
    }

    fn all_gather_parts(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
        limit: Limit,
        work: Work<'_>,
    ) -> Result<(), Trouble> {
        assert_fits(receive, sizes);
        assert_eq!((sizes.len(), send.len()), (self.size, sizes[self.rank]));
        let (count, byte, comm) = (send.len() as c_int, self.constants.byte, self.comm);
        let (counts, starts) = counts(sizes);
        // SAFETY: slices and lists live until `run` returns, and the parts make up the whole.
        unsafe {
            self.run(limit, work, |f, request| {
                let (send, receive) = (address(send), address_mut(receive));
                let (counts, starts) = (counts.as_ptr(), starts.as_ptr());
                (f.iallgatherv)(send, count, byte, receive, counts, starts, byte, comm, request)
            })
        }
    }

    fn all_gather_in_place(
        &mut self,
        all: &mut [u8],
        sizes: &[usize],
        limit: Limit,
    ) -> Result<(), Trouble> {
        assert_fits(all, sizes);
        assert_eq!(sizes.len(), self.size);
        let (byte, comm) = (self.constants.byte, self.comm);
        let in_place = ptr::without_provenance(self.constants.in_place);
        let (counts, starts) = counts(sizes);
        // SAFETY: the slice and the lists live until `run` returns, and the parts make up the whole.
        unsafe {
            self.run(limit, &mut || (), |f, request| {
                let (all, counts, starts) = (address_mut(all), counts.as_ptr(), starts.as_ptr());
                (f.iallgatherv)(in_place, 0, byte, all, counts, starts, byte, comm, request)
            })
        }
    }

    fn all_to_all(
        &mut self,
        send: &[u8],
        send_sizes: &[usize],
        receive: &mut [u8],
        receive_sizes: &[usize],
        limit: Limit,
        work: Work<'_>,
    ) -> Result<(), Trouble> {
        assert_fits(send, send_sizes);
        assert_fits(receive, receive_sizes);
        assert_eq!((send_sizes.len(), receive_sizes.len()), (self.size, self.size));
        let (byte, comm) = (self.constants.byte, self.comm);
        let ((mut to, to_starts), (mut from, from_starts)) =
            (counts(send_sizes), counts(receive_sizes));
        [to[self.rank], from[self.rank]] = [0; 2];
        // SAFETY: slices and lists live until `run` returns, and the parts make up the wholes.
        unsafe {
            self.run(limit, work, |f, request| {
                (f.ialltoallv)(
                    address(send),
                    to.as_ptr(),
                    to_starts.as_ptr(),
                    byte,
                    address_mut(receive),
                    from.as_ptr(),
                    from_starts.as_ptr(),
                    byte,
                    comm,
                    request,
                )
            })
        }
    }

    fn broadcast(&mut self, bytes: &mut [u8], from: usize, limit: Limit) -> Result<(), Trouble> {
        assert!(bytes.len() <= MAX_BYTES, "a message has at most {MAX_BYTES} bytes");
        let (count, byte, comm) = (bytes.len() as c_int, self.constants.byte, self.comm);
        // SAFETY: the slice lives until `run` returns.
        unsafe {
            self.run(limit, &mut || (), |f, request| {
                (f.ibcast)(address_mut(bytes), count, byte, from as c_int, comm, request)
            })
        }
    }

    fn finalize(&mut self) -> Result<(), Trouble> {
        if !self.started {
            return Ok(());
        }
        // SAFETY: the world makes no call after this one.
        self.check(unsafe { (self.functions.finalize)() })
    }

    fn abort(&mut self, code: i32) {
        // SAFETY: MPI has been started and not been finalized. It ends the process.
        unsafe { (self.functions.abort)(self.constants.comm_world, code) };
    }
}
