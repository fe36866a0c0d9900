//! How a process joins the job that a launcher has started.

use super::library::{self, Refusal};
use super::messages::Messages;
use super::{Choice, World, find, watchdog};
use crate::error::Error;
use crate::launcher::{self, Launcher};
use std::path::{Path, PathBuf};

/// The launcher that has started this process, unless this is the only process that it has started.
///
/// # Errors
/// There are others, and they cannot be reached.
pub fn launcher_here() -> Result<Option<Launcher>, Error> {
    if let Some(rank) = launcher::lone_task(launcher::variable) {
        return Err(Error::World(format!(
            "Cannot open the world as srun has started this process as rank {rank} and has not said how to \
             reach the others: start the job with srun --mpi=pmix or --mpi=pmi2, or with mpirun"
        )));
    }
    Ok(launcher::find_here().filter(|launcher| launcher.size != Some(1)))
}

impl World {
    /// Joins the job of a launcher.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no library can be used; [`Error::World`] if the launcher and the library do
    /// not belong together.
    pub fn open(launcher: Launcher, choice: &Choice) -> Result<Self, Error> {
        let named = choice.library.clone().or_else(|| launcher::variable(find::VARIABLE));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = find::neighbor_folders(&path);
        let paths = find::candidates(named.as_deref(), &launcher, &folders, Path::is_file);
        let open = || open_first(&paths, &launcher);
        let message = nobody_there(&launcher, choice);
        let (messages, library) = watchdog::within(choice.timeout, message, open)?;
        check_size(messages.as_ref(), &launcher, &library)?;
        Ok(World::new(messages, library, launcher, choice.timeout))
    }
}

/// What is said if others do not join the job in time: MPI itself waits for them forever.
fn nobody_there(launcher: &Launcher, choice: &Choice) -> String {
    let seconds = choice.timeout.unwrap_or_default().as_secs_f64();
    let own = launcher.rank.map_or_else(|| "this rank".to_owned(), |rank| format!("rank {rank}"));
    format!(
        "Cannot open the world as other ranks of the job have not opened it within {seconds} s of {own}, the \
         timeout of the world, or have ended (MPI does not say which ones): all ranks are ended"
    )
}

/// Opens the first library that can be used.
pub fn open_first(
    paths: &[PathBuf],
    launcher: &Launcher,
) -> Result<(Box<dyn Messages>, PathBuf), Error> {
    let mut reasons = Vec::new();
    for path in paths {
        match library::open(path) {
            Ok(messages) => return Ok((messages, path.clone())),
            Err(Refusal::Unused(reason)) => reasons.push(format!("{}: {reason}", path.display())),
            Err(Refusal::Started(reason)) => {
                reasons.push(format!("{}: {reason}", path.display()));
                break; // MPI can be started once
            }
        }
    }
    let (kind, variable) = (launcher.kind.name(), find::VARIABLE);
    let reasons = reasons.join("; ");
    Err(Error::Unavailable(format!(
        "Cannot open the world as the launcher of {kind} has started this process and no library of \
         {kind} can be used: install it, or name its file in {variable} ({reasons})"
    )))
}

/// A library that does not know its launcher thinks that each process is alone.
fn check_size(messages: &dyn Messages, launcher: &Launcher, library: &Path) -> Result<(), Error> {
    let started = match *launcher {
        Launcher { size: Some(size), .. } if size != messages.size() => {
            format!("{size} processes")
        }
        Launcher { size: None, rank: Some(rank), .. } if rank >= messages.size() => {
            format!("this process as rank {rank}")
        }
        _ => return Ok(()),
    };
    Err(Error::World(format!(
        "Cannot open the world as the launcher of {} has started {started} and the library {}, {}, knows \
         of {}: start the job with the launcher that belongs to the library, or name the library that \
         belongs to the launcher in {}",
        launcher.kind.name(),
        library.display(),
        messages.version().lines().next().unwrap_or_default(),
        messages.size(),
        find::VARIABLE,
    )))
}
