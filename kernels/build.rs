//! What the linker is told of the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if linux {
        // What a thread is running must not be unmapped: `src/ffi/resident.rs` says more, and is
        // what does it on the other platforms.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
