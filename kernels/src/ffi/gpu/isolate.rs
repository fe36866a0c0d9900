//! The isolates of JavaScript that open devices. What an isolate leaves open is closed with it.
//!
//! When a worker is terminated, or closed by an error, none of its JavaScript runs any more, and Deno
//! tells a library nothing when it closes it. In each of these cases it does run the clean-up hooks
//! of Node-API. So the library is also a module of Node-API, which `src/native/isolate.ts` loads: that
//! sets a hook, and the module's value is the number by which the isolate then opens devices.
//! It uses two functions of Node-API, which its first versions have already.

use super::registry::GPUS;
use super::waits;
#[cfg(unix)]
use libloading::os::unix::Library;
#[cfg(windows)]
use libloading::os::windows::Library;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

/// `napi_env` and `napi_value`.
type Opaque = *mut c_void;
/// `napi_status napi_create_uint32(napi_env env, uint32_t value, napi_value *result)`
type CreateUint32 = unsafe extern "C" fn(Opaque, u32, *mut Opaque) -> c_int;
/// `napi_status napi_add_env_cleanup_hook(napi_env env, void (*fun)(void *arg), void *arg)`
type AddHook = unsafe extern "C" fn(Opaque, extern "C" fn(*mut c_void), *mut c_void) -> c_int;

/// 0 stands for no isolate.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// `napi_value napi_register_module_v1(napi_env env, napi_value exports)`: the isolate's number, or
/// `exports` as they are if there is no Node-API.
///
/// # Safety
/// Node-API calls it, with an environment and a value of its own.
#[unsafe(no_mangle)]
unsafe extern "C" fn napi_register_module_v1(env: Opaque, exports: Opaque) -> Opaque {
    // SAFETY: the caller vouches for the environment.
    let number = || unsafe { register(env) };
    catch_unwind(number).ok().flatten().unwrap_or(exports)
}

/// # Safety
/// `env` is an environment of Node-API.
unsafe fn register(env: Opaque) -> Option<Opaque> {
    let isolate = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut value = std::ptr::null_mut();
    // SAFETY: the program that loads modules of Node-API has its functions, with these types; the hook
    // can be called at any time, as the library is never unloaded.
    unsafe {
        let program = this_program()?;
        let add_hook = program.get::<AddHook>(b"napi_add_env_cleanup_hook\0").ok()?;
        let create = program.get::<CreateUint32>(b"napi_create_uint32\0").ok()?;
        let made = create(env, isolate, &raw mut value) == 0;
        (made && add_hook(env, close_all, isolate as usize as *mut c_void) == 0).then_some(value)
    }
}

#[cfg(unix)]
fn this_program() -> Option<Library> {
    Some(Library::this())
}

#[cfg(windows)]
fn this_program() -> Option<Library> {
    Library::this().ok()
}

/// Closes what an isolate has left open.
extern "C" fn close_all(isolate: *mut c_void) {
    let close = || {
        for (gpu, closed) in GPUS.remove_of(isolate as usize as u32) {
            drop(waits::remove_of(gpu));
            drop(closed);
        }
    };
    let _ = catch_unwind(AssertUnwindSafe(close)); // nobody is left who could be told
}
