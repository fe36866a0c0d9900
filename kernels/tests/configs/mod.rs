//! The configurations that every result must be the same under.

use descent_kernels::config::Config;
use descent_kernels::simd::Level;

/// Calls a check with every SIMD level on one to three threads, and with the text that says which.
pub fn each_config(mut check: impl FnMut(&Config, &str)) {
    for level in Level::available() {
        for threads in [1, 2, 3] {
            let context = format!("{} on {threads} threads", level.name());
            check(&Config::new(level, threads), &context);
        }
    }
}
