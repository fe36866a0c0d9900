//! Keeps the library in memory once it is in use.
//!
//! Deno closes a library when the isolate that opened it ends: a worker, a file of `deno test`, the
//! program under `--watch`. A thread that takes a step for that isolate may still be inside then, and
//! its code must not be unmapped. On Linux `build.rs` passes `-z nodelete` to the linker; other linkers
//! have no such option, and the library asks the system for it.

use crate::error::Error;

/// Makes sure that the library stays loaded until the process ends.
pub fn stay() -> Result<(), Error> {
    if is_pinned() {
        return Ok(());
    }
    Err(Error::Setting("Cannot keep the native library in memory".to_owned()))
}

#[cfg(target_os = "linux")]
fn is_pinned() -> bool {
    true // by its linker
}

/// Opens the library once more and never closes that handle.
#[cfg(target_os = "macos")]
fn is_pinned() -> bool {
    use std::ffi::{c_char, c_int, c_void};

    #[repr(C)]
    struct DlInfo {
        file: *const c_char,
        base: *mut c_void,
        symbol: *const c_char,
        address: *mut c_void,
    }
    unsafe extern "C" {
        fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int;
        fn dlopen(path: *const c_char, mode: c_int) -> *mut c_void;
    }
    const RTLD_LAZY: c_int = 0x1;
    const RTLD_NOLOAD: c_int = 0x10;
    const RTLD_NODELETE: c_int = 0x80;

    let mut info = std::mem::MaybeUninit::<DlInfo>::uninit();
    let here = is_pinned as *const c_void;
    // SAFETY: `dladdr` fills `info` in if it returns another number than 0; the name that is in it
    // then lives as long as the library, and nothing is loaded that is not there already.
    unsafe {
        dladdr(here, info.as_mut_ptr()) != 0
            && !dlopen(info.assume_init().file, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE).is_null()
    }
}

#[cfg(windows)]
fn is_pinned() -> bool {
    use std::ffi::c_void;

    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetModuleHandleExW(flags: u32, address: *const c_void, module: *mut *mut c_void) -> i32;
    }
    const PIN: u32 = 0x1;
    const FROM_ADDRESS: u32 = 0x4;

    let mut module = std::ptr::null_mut();
    // SAFETY: the address is one of this library's, and `module` is valid for a write.
    unsafe {
        GetModuleHandleExW(PIN | FROM_ADDRESS, is_pinned as *const c_void, &raw mut module) != 0
    }
}
