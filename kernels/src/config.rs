//! How the kernels run: the number of threads and the SIMD level. Neither changes a result.

use crate::error::Error;
use crate::launcher;
use crate::simd::Level;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

/// The most threads that `DESCENT_THREADS` may ask for.
const MAX_THREADS: usize = 1024;

/// The settings of a process, and the threads that follow from them.
#[derive(Debug)]
pub struct Config {
    level: Level,
    threads: usize,
    pool: OnceLock<Result<ThreadPool, Error>>,
    others: OnceLock<Result<ThreadPool, Error>>,
}

impl Default for Config {
    /// The widest SIMD level and a thread for every core that this process may use.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        Config::new(Level::best(), cores.min(MAX_THREADS))
    }
}

impl Config {
    /// Runs at `level` on `threads` threads; both have to exist.
    pub fn new(level: Level, threads: usize) -> Self {
        Config { level, threads, pool: OnceLock::new(), others: OnceLock::new() }
    }

    /// By default, processes of one job that may use the same cores share them.
    ///
    /// Reads `DESCENT_THREADS` (1 to 1024) and `DESCENT_SIMD` (a level's name). A value that is
    /// absent or empty means the default; one that is not valid is an error.
    pub fn from_environment() -> Result<Self, Error> {
        let Config { mut level, mut threads, .. } = Config::default();
        if cores_are_shared() {
            threads = (threads / processes_here()).max(1);
        }
        if let Some(text) = launcher::variable("DESCENT_THREADS") {
            threads = parse_threads(&text)?;
        }
        if let Some(text) = launcher::variable("DESCENT_SIMD") {
            level = parse_level(&text)?;
        }
        Ok(Config::new(level, threads))
    }

    /// The SIMD level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The number of threads, the calling one included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The threads, started at the first call. The thread that makes it becomes one of them, so
    /// that it works on its own step instead of sleeping until the others are awake. Other threads
    /// that call get a pool of as many threads, and wait.
    pub fn pool(&self) -> Result<&ThreadPool, Error> {
        let start = || self.start("descent", true).or_else(|_| self.start("descent", false));
        let pool = self.pool.get_or_init(start).as_ref().map_err(Clone::clone)?;
        if pool.current_thread_index().is_some() {
            return Ok(pool);
        }
        self.others()
    }

    /// Starts all threads: none has to be started later, where an error would come too late.
    pub fn start_all(&self) -> Result<(), Error> {
        if self.threads > 1 {
            self.pool()?;
            self.others()?;
        }
        Ok(())
    }

    fn others(&self) -> Result<&ThreadPool, Error> {
        let start = || self.start("descent-async", false);
        self.others.get_or_init(start).as_ref().map_err(Clone::clone)
    }

    fn start(&self, name: &'static str, join: bool) -> Result<ThreadPool, Error> {
        let builder = ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(move |i| format!("{name}-{i}"));
        let builder = if join { builder.use_current_thread() } else { builder };
        let error = |e| Error::Setting(format!("Cannot start {} threads: {e}", self.threads));
        builder.build().map_err(error)
    }
}

/// How many processes of one job run on this machine, as its launcher says.
fn processes_here() -> usize {
    launcher::find_here().and_then(|launcher| launcher.local_size).filter(|&n| n > 0).unwrap_or(1)
}

/// Whether this process may use all cores of the machine, so that others of its job use them too. A
/// launcher that binds processes has given each its own.
fn cores_are_shared() -> bool {
    let usable = std::thread::available_parallelism().map_or(1, |n| n.get());
    online_cores().is_none_or(|online| usable >= online)
}

/// The cores of the machine, where the system says so in a file.
fn online_cores() -> Option<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?)
    };
    text.trim().split(',').map(count).sum()
}

fn parse_threads(text: &str) -> Result<usize, Error> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(n) if digits && (1..=MAX_THREADS).contains(&n) => Ok(n),
        _ => Err(Error::Setting(format!(
            "Cannot read DESCENT_THREADS as it must be a whole number from 1 to {MAX_THREADS}: \
             current value is \"{text}\""
        ))),
    }
}

fn parse_level(text: &str) -> Result<Level, Error> {
    let levels = Level::available();
    levels.iter().find(|level| level.name() == text).copied().ok_or_else(|| {
        let names: Vec<_> = levels.iter().map(|level| level.name()).collect();
        Error::Setting(format!(
            "Cannot read DESCENT_SIMD as this processor has only {}: current value is \"{text}\"",
            names.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_whole_numbers_of_threads_within_the_limit() {
        for (text, n) in [("1", 1), ("2", 2), ("1024", 1024)] {
            assert_eq!(parse_threads(text), Ok(n));
        }
    }

    #[test]
    fn refuses_any_other_number_of_threads_and_names_it() {
        for text in ["0", "-1", "+2", "1025", "two", "1.5", "99999999999999999999"] {
            let message = parse_threads(text).unwrap_err().to_string();
            assert!(message.contains(&format!("\"{text}\"")), "{message}");
        }
    }

    #[test]
    fn all_threads_can_be_started_before_they_are_needed() {
        let config = Config::new(Level::Portable, 2);
        config.start_all().unwrap();
        assert!(config.pool.get().is_some() && config.others.get().is_some());
    }

    #[test]
    fn knows_every_available_level_by_its_name() {
        for level in Level::available() {
            assert_eq!(parse_level(level.name()).unwrap().name(), level.name());
        }
        let message = parse_level("mmx").unwrap_err().to_string();
        assert!(message.contains("portable") && message.contains("\"mmx\""), "{message}");
    }
}
