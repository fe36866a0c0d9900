//! The ranks of a job that MPI has started, and what they tell each other.
//!
//! The library of MPI is found and opened at run time ([`find`], [`library`]), and used to move bytes
//! only: sums are this crate's own ([`sum`]), in the order of the ranks, so that their bits depend on
//! neither the library nor the size of a message.

pub mod abi;
pub mod exchange;
pub mod find;
mod gathering;
pub mod in_place;
mod incoming;
pub mod launcher;
mod library;
pub mod messages;
pub mod moves;
pub mod ordered;
pub mod partition;
pub mod probe;
pub mod shared;
pub mod signs;
pub mod staging;
pub mod states;
mod sum;
pub mod tensors;
mod totals;
pub mod vote;
pub mod wait;

use crate::error::Error;
use launcher::Launcher;
use messages::{Limit, Messages, Trouble};
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

pub use sum::Summable;

/// Bytes of a message at most, of those that are cut into pieces.
const PIECE: usize = 1 << 22;

/// Bytes of a short text that ranks tell each other, with what it is and its length.
const TEXT: usize = 256;

/// How long other ranks get to print their own message before a job is ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How a world is opened.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// A library's name or path, before that of the environment.
    pub library: Option<String>,
    /// How long to wait for other ranks, where they are expected.
    pub timeout: Limit,
}

/// The ranks of a job, of which this process is one.
pub struct World {
    messages: Box<dyn Messages>,
    /// The ranks of this machine, in their order.
    neighbors: Vec<usize>,
    library: PathBuf,
    launcher: Launcher,
    timeout: Limit,
    closed: bool,
    /// What steps exchange, with its memory.
    pub exchange: exchange::Exchange,
    /// What steps by majority vote exchange, with its memory.
    pub signs: signs::Signs,
    /// What the ranks of this machine share.
    pub memories: shared::Memories,
}

impl exchange::Moves for World {
    fn rank(&self) -> usize {
        self.messages.rank()
    }

    fn size(&self) -> usize {
        self.messages.size()
    }

    fn all_to_all(
        &mut self,
        send: &[u8],
        sizes: &[usize],
        receive: &mut [u8],
        work: exchange::Work<'_>,
    ) -> Result<(), Error> {
        let limit = self.limit(false)?;
        let mut own = vec![sizes[self.rank()]; sizes.len()];
        own[self.rank()] = 0;
        let result = self.messages.all_to_all(send, sizes, receive, &own, limit, work);
        self.settle("exchange gradients", result)
    }

    fn all_gather(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
        work: exchange::Work<'_>,
    ) -> Result<(), Error> {
        let limit = self.limit(false)?;
        let result = self.messages.all_gather_parts(send, receive, sizes, limit, work);
        self.settle("exchange parameters", result)
    }

    fn gather_in_place(&mut self, all: &mut [u8], sizes: &[usize]) -> Result<(), Error> {
        let limit = self.limit(false)?;
        let result = self.messages.all_gather_in_place(all, sizes, limit);
        self.settle("exchange parameters", result)
    }

    fn barrier(&mut self) -> Result<(), Error> {
        fence(Ordering::SeqCst);
        let mut all = vec![0; self.size()];
        self.all_gather(&[0], &mut all, false)?;
        fence(Ordering::SeqCst);
        Ok(())
    }
}

impl World {
    /// Joins the job; `None` if no launcher has started this process.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no library can be used; [`Error::World`] if the launcher and the library do
    /// not belong together.
    pub fn open(choice: &Choice) -> Result<Option<Self>, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let Some(launcher) = launcher::find(variable) else { return Ok(None) };
        let named = choice.library.clone().or_else(|| variable(find::VARIABLE));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = find::neighbor_folders(&path);
        let paths = find::candidates(named.as_deref(), &launcher, &folders, Path::is_file);
        let (messages, library) = open_first(&paths, &launcher)?;
        check_size(messages.as_ref(), &launcher, &library)?;
        let mut world = World {
            messages,
            neighbors: Vec::new(),
            library,
            launcher,
            timeout: choice.timeout,
            closed: false,
            exchange: exchange::Exchange::default(),
            signs: signs::Signs::default(),
            memories: shared::Memories::default(),
        };
        world.neighbors =
            world.messages.neighbors().map_err(|trouble| refused("open the world", trouble))?;
        Ok(Some(world))
    }

    /// The number of this process, from 0 on.
    pub fn rank(&self) -> usize {
        self.messages.rank()
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.messages.size()
    }

    /// The number of this process on its machine, and how many are there.
    pub fn local(&self) -> [usize; 2] {
        let own = self.neighbors.iter().position(|&rank| rank == self.rank());
        [own.unwrap_or_default(), self.neighbors.len()]
    }

    /// The library's file, or the name by which the system's loader found it.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The library and its version, in its own words.
    pub fn version(&self) -> String {
        self.messages.version()
    }

    /// Whose launcher has started the job.
    pub fn launcher(&self) -> &Launcher {
        &self.launcher
    }

    /// Gives the bytes of each rank to all, in the order of the ranks; all give equally many.
    pub fn all_gather(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        patient: bool,
    ) -> Result<(), Error> {
        let limit = self.limit(patient)?;
        let result = self.messages.all_gather(send, receive, limit);
        self.settle("exchange headers", result)
    }

    /// Gives the bytes of each rank to all, of which each may give another number.
    pub fn all_gather_parts(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
    ) -> Result<(), Error> {
        let limit = self.limit(false)?;
        let result = self.messages.all_gather_parts(send, receive, sizes, limit, &mut || ());
        self.settle("gather", result)
    }

    /// As `all_gather_parts`, for rank 0 alone: the others receive nothing.
    pub fn gather_on_first(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
    ) -> Result<(), Error> {
        let limit = self.limit(false)?;
        let mut outgoing = vec![0; sizes.len()];
        outgoing[0] = send.len();
        let none = vec![0; sizes.len()];
        let incoming = if self.rank() == 0 { sizes } else { &none };
        let result =
            self.messages.all_to_all(send, &outgoing, receive, incoming, limit, &mut || ());
        self.settle("gather", result)
    }

    /// Gives the bytes of one rank to all.
    pub fn broadcast(&mut self, bytes: &mut [u8], from: usize) -> Result<(), Error> {
        let limit = self.limit(false)?;
        for piece in bytes.chunks_mut(PIECE) {
            let result = self.messages.broadcast(piece, from, limit);
            self.settle("broadcast", result)?;
        }
        Ok(())
    }

    /// Replaces an array by the sums of its elements over the ranks, in the order of the ranks.
    pub fn sum<T: Summable>(&mut self, values: &mut [T]) -> Result<(), Error> {
        let limit = self.limit(false)?;
        let size = self.size();
        let mut staging = Vec::new();
        for piece in values.chunks_mut(PIECE / size_of::<T>()) {
            let result = sum::sum_piece(self.messages.as_mut(), piece, &mut staging, limit);
            self.settle("sum", result)?;
        }
        debug_assert!(staging.len() <= PIECE * size);
        Ok(())
    }

    /// Makes zeroed arrays of so many bytes, one for each rank, that the ranks of a machine share, and
    /// returns the address of this rank's. It is valid as long as the process lives.
    ///
    /// # Errors
    /// The same on all ranks: a machine has too little shared memory.
    pub fn zeros(&mut self, bytes: usize) -> Result<usize, Error> {
        let [own, count] = self.local();
        let first = self.neighbors[0];
        let size = shared::Shared::size(bytes, count);
        let name = match size.clone() {
            Ok(size) if own == 0 => shared::create(size),
            size => size.map(|_| String::new()),
        };
        let names = self.tell_all(name.clone())?;
        let size = size.expect("all ranks have one");
        let mapped = shared::map(&names[first], size);
        let result = self.tell_all(mapped.clone().map(|_| String::new()));
        if own == 0 {
            shared::remove(&names[first]);
        }
        result?;
        let shared = shared::Shared::new(mapped.expect("all ranks have one"), size, count, own);
        self.memories.add(shared);
        Ok(shared.own())
    }

    /// Gives a short text of each rank to all, unless one of them has a reason not to go on.
    ///
    /// # Errors
    /// The first reason, on all ranks.
    fn tell_all(&mut self, text: Result<String, String>) -> Result<Vec<String>, Error> {
        let mut own = [0_u8; TEXT];
        own[0] = u8::from(text.is_err());
        let bytes = text.unwrap_or_else(|reason| reason).into_bytes();
        let length = bytes.len().min(TEXT - 2);
        own[1] = length as u8;
        own[2..][..length].copy_from_slice(&bytes[..length]);
        let mut all = vec![0; TEXT * self.size()];
        self.all_gather(&own, &mut all, false)?;
        let text_of = |message: &[u8]| {
            String::from_utf8_lossy(&message[2..][..usize::from(message[1])]).into_owned()
        };
        let mut messages = all.chunks(TEXT);
        if let Some(rank) = messages.clone().position(|message| message[0] != 0) {
            let reason = text_of(messages.nth(rank).unwrap_or_default());
            return Err(Error::World(format!(
                "Cannot make shared arrays as on the machine of rank {rank} {reason}"
            )));
        }
        Ok(messages.map(text_of).collect())
    }

    /// Leaves the job: every rank has to. Nothing but another `close` can follow.
    pub fn close(&mut self) -> Result<(), Error> {
        if self.closed {
            return Ok(());
        }
        self.closed = true;
        self.messages.finalize().map_err(|trouble| refused("leave the job", trouble))
    }

    /// Ends all ranks at once, with an exit code.
    pub fn abort(&mut self, code: i32) -> ! {
        std::thread::sleep(LAST_WORDS);
        if !self.closed {
            self.messages.abort(code);
        }
        std::process::exit(code)
    }

    fn limit(&self, patient: bool) -> Result<Limit, Error> {
        if self.closed {
            return Err(Error::World("Cannot use the world as it has been closed".to_owned()));
        }
        Ok(if patient { None } else { self.timeout })
    }

    /// Ranks that do not answer in time end the job: what they were to receive may still arrive, so that
    /// the memory for it cannot be given back.
    fn settle(&mut self, doing: &str, result: Result<(), Trouble>) -> Result<(), Error> {
        match result {
            Ok(()) => Ok(()),
            Err(Trouble::Late) => {
                let seconds = self.timeout.unwrap_or_default().as_secs_f64();
                let (rank, size) = (self.rank(), self.size());
                eprintln!(
                    "Cannot {doing} as some of {size} ranks have not answered rank {rank} for \
                     {seconds} s, the timeout of the world: all ranks are ended"
                );
                self.abort(1)
            }
            Err(trouble) => Err(refused(doing, trouble)),
        }
    }
}

/// Opens the first library that can be used.
fn open_first(
    paths: &[PathBuf],
    launcher: &Launcher,
) -> Result<(Box<dyn Messages>, PathBuf), Error> {
    let mut reasons = Vec::new();
    for path in paths {
        match library::open(path) {
            Ok(messages) => return Ok((messages, path.clone())),
            Err(reason) => reasons.push(format!("{}: {reason}", path.display())),
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
    match launcher.size {
        Some(size) if size != messages.size() => Err(Error::World(format!(
            "Cannot open the world as the launcher of {} has started {size} processes and the library \
             {}, {}, knows of {}: start the job with the launcher that belongs to the library, or name \
             the library that belongs to the launcher in {}",
            launcher.kind.name(),
            library.display(),
            messages.version().lines().next().unwrap_or_default(),
            messages.size(),
            find::VARIABLE,
        ))),
        _ => Ok(()),
    }
}

fn refused(doing: &str, trouble: Trouble) -> Error {
    let text = match trouble {
        Trouble::Refused(text) => text,
        Trouble::Late => "the other ranks have not answered".to_owned(),
    };
    Error::World(format!("Cannot {doing} as MPI refuses it: {text}"))
}

#[cfg(test)]
mod tests;
