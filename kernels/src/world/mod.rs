//! The ranks of a job that MPI has started, and what they tell each other.
//!
//! The library of MPI is found and opened at run time ([`find`], [`library`]), and used to move bytes
//! only: sums are this crate's own ([`sum`]), in the order of the ranks, so that their bits depend on
//! neither the library nor the size of a message.

pub mod abi;
pub mod ending;
pub mod exchange;
pub mod find;
mod functions;
mod gathering;
pub mod header;
pub mod in_place;
mod incoming;
pub mod joining;
mod library;
mod member;
pub mod messages;
pub mod moves;
pub mod ordered;
pub mod partition;
mod passing;
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
mod watchdog;
mod zeros;

use crate::error::Error;
use crate::launcher::Launcher;
use header::{Doing, HEADER};
use messages::{Limit, Messages, Patience};
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, fence};
use std::thread;

pub use sum::Summable;

/// Bytes of a message at most, of those that are cut into pieces.
const PIECE: usize = 1 << 22;

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
    library: PathBuf,
    launcher: Launcher,
    timeout: Limit,
    closed: bool,
    /// What the ranks do together.
    doing: Doing,
    /// Whether headers have differed, so that details follow.
    owes_details: bool,
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
        let patience = self.patience(false)?;
        let mut own = vec![sizes[self.rank()]; sizes.len()];
        own[self.rank()] = 0;
        self.messages.all_to_all(send, sizes, receive, &own, &patience, work);
        Ok(())
    }

    fn all_gather(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
        work: exchange::Work<'_>,
    ) -> Result<(), Error> {
        let patience = self.patience(false)?;
        if receive.is_empty() {
            work(); // there is nothing on any rank
        } else {
            self.messages.all_gather_parts(send, receive, sizes, &patience, work);
        }
        Ok(())
    }

    fn gather_in_place(&mut self, all: &mut [u8], sizes: &[usize]) -> Result<(), Error> {
        let patience = self.patience(false)?;
        if !all.is_empty() {
            self.messages.all_gather_in_place(all, sizes, &patience);
        }
        Ok(())
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
    /// A world that has just been joined.
    fn new(
        messages: Box<dyn Messages>,
        library: PathBuf,
        launcher: Launcher,
        timeout: Limit,
    ) -> Self {
        World {
            messages,
            library,
            launcher,
            timeout,
            closed: false,
            doing: Doing::JOINING,
            owes_details: false,
            exchange: exchange::Exchange::default(),
            signs: signs::Signs::default(),
            memories: shared::Memories::default(),
        }
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
        let neighbors = self.messages.neighbors();
        let own = neighbors.iter().position(|&rank| rank == self.rank());
        [own.unwrap_or_default(), neighbors.len()]
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

    /// Gives each rank's header to all, in the order of the ranks.
    pub fn meet(&mut self, own: &[u8], all: &mut [u8], patient: bool) -> Result<(), Error> {
        if !self.owes_details {
            self.doing = Doing::of(own);
        }
        self.all_gather(own, all, patient)?;
        self.owes_details = !self.owes_details && !header::agree(all);
        Ok(())
    }

    /// Gives the bytes of each rank to all, in the order of the ranks; all give equally many.
    pub fn all_gather(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        patient: bool,
    ) -> Result<(), Error> {
        let patience = self.patience(patient)?;
        self.messages.all_gather(send, receive, &patience);
        Ok(())
    }

    /// Gives the bytes of each rank to all, of which each may give another number.
    pub fn all_gather_parts(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
    ) -> Result<(), Error> {
        if receive.is_empty() {
            return Ok(()); // on all ranks
        }
        if receive.len() <= self.messages.max_bytes() {
            let patience = self.patience(false)?;
            self.messages.all_gather_parts(send, receive, sizes, &patience, &mut || ());
            return Ok(());
        }
        let mut rest = receive; // more than one message can have
        for (from, &bytes) in sizes.iter().enumerate() {
            let (part, next) = rest.split_at_mut(bytes);
            if from == self.rank() {
                part.copy_from_slice(send);
            }
            self.broadcast(part, from)?;
            rest = next;
        }
        Ok(())
    }

    /// As `all_gather_parts`, for rank 0 alone: the others receive nothing.
    pub fn gather_on_first(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
    ) -> Result<(), Error> {
        let patience = self.patience(false)?;
        let mut outgoing = vec![0; sizes.len()];
        outgoing[0] = send.len();
        let none = vec![0; sizes.len()];
        let incoming = if self.rank() == 0 { sizes } else { &none };
        self.messages.all_to_all(send, &outgoing, receive, incoming, &patience, &mut || ());
        Ok(())
    }

    /// Gives the bytes of one rank to all.
    pub fn broadcast(&mut self, bytes: &mut [u8], from: usize) -> Result<(), Error> {
        let patience = self.patience(false)?;
        for piece in bytes.chunks_mut(PIECE) {
            self.messages.broadcast(piece, from, &patience);
        }
        Ok(())
    }

    /// Replaces an array by the sums of its elements over the ranks, in the order of the ranks.
    pub fn sum<T: Summable>(&mut self, values: &mut [T]) -> Result<(), Error> {
        let patience = self.patience(false)?;
        let size = self.size();
        let mut staging = Vec::new();
        for piece in values.chunks_mut(PIECE / size_of::<T>()) {
            sum::sum_piece(self.messages.as_mut(), piece, &mut staging, &patience);
        }
        debug_assert!(staging.len() <= PIECE * size);
        Ok(())
    }

    /// Says why this rank ends, to ranks that are about to do something else.
    pub fn say_goodbye(&mut self, words: &Goodbye) -> Result<(), Error> {
        let mut all = vec![0; HEADER * self.size()];
        if !self.owes_details {
            self.meet(&words.header, &mut all, false)?;
            if !self.owes_details {
                return Ok(()); // all end alike
            }
        }
        self.meet(&words.details_header, &mut all, false)?;
        let sizes = header::sizes_in(&all);
        let mut details = vec![0; sizes.iter().sum()];
        self.all_gather_parts(&words.details, &mut details, &sizes)
    }

    /// Leaves the job: every rank has to. Nothing but another `close` can follow.
    pub fn close(&mut self) -> Result<(), Error> {
        if self.closed {
            return Ok(());
        }
        self.closed = true;
        let refused =
            |reason| Error::World(format!("Cannot leave the job as MPI refuses it: {reason}"));
        self.messages.finalize().map_err(refused)
    }

    /// Whether the job has been left.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Ends all ranks after an error of this one alone: the others wait for it.
    pub fn fail(&mut self, error: &Error) -> ! {
        let at = self.doing.at();
        eprintln!("{error} (on rank {}, {at}): all ranks are ended", self.rank());
        self.abort(1)
    }

    /// Ends all ranks at once, with an exit code.
    pub fn abort(&mut self, code: i32) -> ! {
        if !self.closed {
            self.messages.abort(code);
        }
        thread::sleep(ending::LAST_WORDS);
        ending::leave(code)
    }

    fn patience(&self, patient: bool) -> Result<Patience, Error> {
        if self.closed {
            return Err(Error::World("Cannot use the world as it has been closed".to_owned()));
        }
        let limit = if patient { None } else { self.timeout };
        Ok(Patience { limit, doing: self.doing })
    }
}

/// What a rank says when it ends: headers, and details that follow if others do something else.
#[derive(Clone, Debug)]
pub struct Goodbye {
    /// That it ends.
    pub header: [u8; HEADER],
    /// How many bytes of details follow.
    pub details_header: [u8; HEADER],
    /// Why it ends.
    pub details: Vec<u8>,
}

#[cfg(test)]
mod tests;
