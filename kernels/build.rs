//! Passes linker options for the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if linux {
        // The library must stay mapped while a thread runs its code, even after the last handle to
        // it is closed. `src/ffi/resident.rs` explains why, and does this on the other platforms.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
