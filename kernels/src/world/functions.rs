//! The functions of MPI that are used, looked up in a library that is opened at run time.

use super::abi::Handle;
#[cfg(unix)]
use libloading::os::unix::{Library as File, Symbol};
#[cfg(windows)]
use libloading::os::windows::{Library as File, Symbol};
use std::ffi::{c_char, c_int, c_void};

/// The longest text that a library returns: `MPI_MAX_LIBRARY_VERSION_STRING` is the larger limit.
pub const MAX_TEXT: usize = 8192;

/// Sizes of parts, or where they begin.
pub type Counts = *const c_int;

/// Declares the functions of MPI that are used, and what looks them up in a library.
macro_rules! functions {
    ($($field:ident: $name:literal fn($($arg:ty),*);)*) => {
        /// Those functions, by their names.
        pub struct Functions<H: Handle> {
            $(#[doc = $name] pub $field: unsafe extern "C" fn($($arg),*) -> c_int,)*
        }

        impl<H: Handle> Functions<H> {
            /// Looks them up.
            ///
            /// # Safety
            /// The file is an MPI library whose handles are of type `H`, and stays open.
            pub unsafe fn load(file: &File) -> Result<Self, String> {
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

/// What a library has under a name.
///
/// # Safety
/// The symbol, if it is there, is of type `T`.
pub unsafe fn symbol<T>(file: &File, name: &str) -> Result<Symbol<T>, String> {
    // SAFETY: the caller's promise.
    unsafe { file.get(name.as_bytes()) }.map_err(|_| format!("it has no function {name}"))
}

/// The library's own words for a status that is not success.
///
/// # Safety
/// The functions are those of an open library.
pub unsafe fn refuse<H: Handle>(functions: &Functions<H>, status: c_int) -> Result<(), String> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    Err(unsafe { text(|out, length| (functions.error_string)(status, out, length)) })
}

/// A text that a function writes, with its length.
pub fn text(write: impl FnOnce(*mut c_char, *mut c_int) -> c_int) -> String {
    let (mut bytes, mut length) = (vec![0_u8; MAX_TEXT], 0);
    write(bytes.as_mut_ptr().cast(), &mut length);
    bytes.truncate(length.max(0) as usize);
    String::from_utf8_lossy(&bytes).trim_end_matches(['\0', '\n']).to_owned()
}
