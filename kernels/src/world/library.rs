//! Finds out what kind of MPI library a file is, and opens it.

use super::abi;
use super::functions::{MAX_TEXT, symbol};
use super::member::Member;
pub use super::member::Refusal;
use super::messages::Messages;
#[cfg(unix)]
use libloading::os::unix::{Library as File, Symbol};
#[cfg(windows)]
use libloading::os::windows::{Library as File, Symbol};
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

/// Opens a library and joins the job.
///
/// # Errors
/// There is no such library, it is not one of MPI, or MPI cannot be started.
pub fn open(path: &Path) -> Result<Box<dyn Messages>, Refusal> {
    let file = open_file(path).map_err(Refusal::Unused)?;
    // SAFETY: the kinds of libraries are told apart by what only one of them has.
    unsafe {
        if let Ok(constants) = abi::open_mpi(|name| address_of(&file, name)) {
            return Member::join(file, constants);
        }
        if is_standard(&file, path) {
            return Member::join(file, abi::STANDARD);
        }
        Member::join(file, abi::MPICH)
    }
}

/// The version of a library in its own words, without starting it. Its symbols stay its own.
///
/// # Errors
/// A reason in words: there is no such library, or it is not one of MPI.
pub fn version(path: &Path) -> Result<String, String> {
    type Version = unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int;
    #[cfg(unix)]
    let flags = libloading::os::unix::RTLD_NOW | libloading::os::unix::RTLD_LOCAL;
    // SAFETY: what a library does when it is loaded is up to the user who has installed it.
    #[cfg(unix)]
    let file = unsafe { File::open(Some(path), flags) }.map_err(|e| e.to_string())?;
    #[cfg(windows)]
    let file = open_file(path)?;
    let mut text = vec![0_u8; MAX_TEXT];
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
