//! Calls into an MPI library in which this process takes part.
//!
//! All calls are made under the lock of the process's world, one at a time, which is what
//! `MPI_THREAD_SERIALIZED` asks for. All collectives are nonblocking ones that are asked until they are
//! complete; `wait` has the reason.

use super::abi::{Constants, Handle};
use super::ending;
use super::exchange::Work;
use super::functions::{Functions, refuse, text};
use super::header::Doing;
use super::library::Refusal;
use super::messages::{Messages, Patience};
use super::passing::{MAX_BYTES, address, address_mut, assert_fits, counts};
use super::wait;
#[cfg(unix)]
use libloading::os::unix::Library as File;
#[cfg(windows)]
use libloading::os::windows::Library as File;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::thread;

/// A process that takes part in a job through a library.
pub struct Member<H: Handle> {
    functions: Functions<H>,
    constants: Constants<H>,
    /// A communicator of Descent's own, so that no message of the program's meets one of these.
    comm: H,
    rank: usize,
    size: usize,
    /// The ranks of this machine, in their order.
    neighbors: Vec<usize>,
    /// Whether this has called `MPI_Init_thread`, and so has to finalize.
    started: bool,
    /// Whether the library may be called from several threads, one at a time.
    threads_suffice: bool,
    /// It stays open until the process ends: its threads and exit hooks may outlive the world.
    _file: ManuallyDrop<File>,
}

impl<H: Handle> Member<H> {
    /// Starts a library, unless the program has done so, and joins the job.
    ///
    /// # Safety
    /// The file is an MPI library with these handles and constants.
    pub unsafe fn join(file: File, constants: Constants<H>) -> Result<Box<dyn Messages>, Refusal> {
        // SAFETY: the caller's promise; the file is never closed.
        let functions = unsafe { Functions::<H>::load(&file) }.map_err(Refusal::Unused)?;
        let mut member = Member {
            functions,
            constants,
            comm: constants.comm_world,
            rank: 0,
            size: 1,
            neighbors: Vec::new(),
            started: false,
            threads_suffice: false,
            _file: ManuallyDrop::new(file),
        };
        member.start().map_err(Refusal::Unused)?;
        if let Err(reason) = member.introduce() {
            let _ = member.finalize(); // the first reason is the one to tell
            return Err(Refusal::Started(reason));
        }
        Ok(Box::new(member))
    }

    /// Starts MPI.
    fn start(&mut self) -> Result<(), String> {
        let Member { functions, constants, .. } = self;
        let [mut running, mut provided] = [0; 2];
        // SAFETY: these are the functions of an open library, and all pointers are to local variables.
        unsafe {
            refuse(functions, (functions.initialized)(&mut running))?;
            if running == 0 {
                let (init, wanted) = (functions.init_thread, constants.serialized);
                let [no_count, no_arguments] = [ptr::null_mut::<c_int>(); 2];
                refuse(functions, init(no_count, no_arguments.cast(), wanted, &mut provided))?;
                self.started = true;
            }
        }
        self.threads_suffice = running != 0 || provided >= constants.serialized;
        Ok(())
    }

    /// Gets to know the others.
    fn introduce(&mut self) -> Result<(), String> {
        if !self.threads_suffice {
            return Err("it cannot be called from several threads, one at a time".to_owned());
        }
        let Member { functions, constants, .. } = self;
        let (world, mut comm, mut rank, mut size) = (constants.comm_world, self.comm, 0, 0);
        // SAFETY: MPI runs; all pointers are to local variables, and every rank makes these calls.
        unsafe {
            refuse(functions, (functions.comm_set_errhandler)(world, constants.errors_return))?;
            refuse(functions, (functions.comm_dup)(world, &mut comm))?;
            refuse(functions, (functions.comm_rank)(comm, &mut rank))?;
            refuse(functions, (functions.comm_size)(comm, &mut size))?;
        }
        (self.comm, self.rank, self.size) = (comm, rank as usize, size as usize);
        self.neighbors = self.find_neighbors()?;
        Ok(())
    }

    fn find_neighbors(&self) -> Result<Vec<usize>, String> {
        let &Member { ref functions, constants, comm, .. } = self;
        let (mut machine, mut size, own) = (comm, 0, self.rank as c_int);
        // SAFETY: all pointers are to local variables, and every rank makes this call.
        unsafe {
            let Constants { comm_type_shared, info_null, .. } = constants;
            let split = functions.comm_split_type;
            refuse(functions, split(comm, comm_type_shared, own, info_null, &mut machine))?;
            refuse(functions, (functions.comm_size)(machine, &mut size))?;
        }
        let (mut ranks, byte) = (vec![own; size as usize], constants.byte);
        let count = size_of_val(&own) as c_int;
        let (send, receive) = ((&raw const own).cast(), ranks.as_mut_ptr().cast());
        let patience = Patience { limit: None, doing: Doing::JOINING }; // a watchdog has the limit
        // SAFETY: both live until `run` returns, and there is room for a number of each rank.
        unsafe {
            self.run(&patience, &mut || (), |f, request| {
                (f.iallgather)(send, count, byte, receive, count, byte, machine, request)
            });
        }
        Ok(ranks.into_iter().map(|rank| rank as usize).collect())
    }

    /// Starts a collective, works on something else, and asks until the collective is complete. If the
    /// library refuses that, the limit passes or a thread asks for the end, it does not return.
    ///
    /// # Safety
    /// The function starts a collective whose memory is valid until this returns or unwinds. Neither the
    /// function nor the work touches memory that the collective writes, nor writes to what it reads.
    unsafe fn run(
        &self,
        patience: &Patience,
        work: Work<'_>,
        start: impl FnOnce(&Functions<H>, &mut H) -> c_int,
    ) {
        let mut request = self.comm; // any value: the function writes it
        self.check(start(&self.functions, &mut request), patience);
        // A panic has to wait for the collective, which uses memory of those who would be unwound.
        let worked = catch_unwind(AssertUnwindSafe(work));
        let answer = wait::until(patience.limit, || {
            if let Some(code) = ending::asked() {
                self.abort_now(code);
            }
            let mut complete = 0;
            let ignore = ptr::without_provenance_mut(self.constants.status_ignore);
            // SAFETY: the request is one that MPI has written.
            let status = unsafe { (self.functions.test)(&mut request, &mut complete, ignore) };
            self.check(status, patience);
            complete != 0
        });
        if answer.is_err() {
            self.give_up(&patience.late(self.rank, self.size));
        }
        if let Err(panic) = worked {
            resume_unwind(panic);
        }
    }

    /// Ends the job if the library has refused a call.
    fn check(&self, status: c_int, patience: &Patience) {
        // SAFETY: these are the functions of an open library.
        if let Err(reason) = unsafe { refuse(&self.functions, status) } {
            self.give_up(&patience.refused(self.rank, &reason));
        }
    }

    fn give_up(&self, message: &str) -> ! {
        eprintln!("{message}: all ranks are ended");
        self.abort_now(1)
    }

    fn abort_now(&self, code: c_int) -> ! {
        thread::sleep(ending::LAST_WORDS);
        ending::begin();
        // SAFETY: MPI has been started and not been finalized. It ends the process.
        unsafe { (self.functions.abort)(self.constants.comm_world, code) };
        ending::leave(code)
    }
}

impl<H: Handle> Messages for Member<H> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn version(&self) -> String {
        // SAFETY: the function may be called at any time.
        text(|out, length| unsafe { (self.functions.library_version)(out, length) })
    }

    fn neighbors(&self) -> &[usize] {
        &self.neighbors
    }

    fn max_bytes(&self) -> usize {
        MAX_BYTES
    }

    fn all_gather(&mut self, send: &[u8], receive: &mut [u8], patience: &Patience) {
        assert_eq!(receive.len(), send.len() * self.size, "there is room for all");
        assert!(send.len() <= MAX_BYTES, "a message has at most {MAX_BYTES} bytes");
        let (count, byte, comm) = (send.len() as c_int, self.constants.byte, self.comm);
        // SAFETY: both slices live until `run` returns, and there is room for all ranks' bytes.
        unsafe {
            self.run(patience, &mut || (), |f, request| {
                let (send, receive) = (address(send), address_mut(receive));
                (f.iallgather)(send, count, byte, receive, count, byte, comm, request)
            });
        }
    }

    fn all_gather_parts(
        &mut self,
        send: &[u8],
        receive: &mut [u8],
        sizes: &[usize],
        patience: &Patience,
        work: Work<'_>,
    ) {
        assert_fits(receive, sizes);
        assert_eq!((sizes.len(), send.len()), (self.size, sizes[self.rank]));
        let (count, byte, comm) = (send.len() as c_int, self.constants.byte, self.comm);
        let (counts, starts) = counts(sizes);
        // SAFETY: slices and lists live until `run` returns, and the parts make up the whole.
        unsafe {
            self.run(patience, work, |f, request| {
                let (send, receive) = (address(send), address_mut(receive));
                let (counts, starts) = (counts.as_ptr(), starts.as_ptr());
                (f.iallgatherv)(send, count, byte, receive, counts, starts, byte, comm, request)
            });
        }
    }

    fn all_to_all(
        &mut self,
        send: &[u8],
        send_sizes: &[usize],
        receive: &mut [u8],
        receive_sizes: &[usize],
        patience: &Patience,
        work: Work<'_>,
    ) {
        assert_fits(send, send_sizes);
        assert_fits(receive, receive_sizes);
        assert_eq!((send_sizes.len(), receive_sizes.len()), (self.size, self.size));
        let (byte, comm) = (self.constants.byte, self.comm);
        let ((mut to, to_starts), (mut from, from_starts)) =
            (counts(send_sizes), counts(receive_sizes));
        [to[self.rank], from[self.rank]] = [0; 2];
        // SAFETY: slices and lists live until `run` returns, and the parts make up the wholes.
        unsafe {
            self.run(patience, work, |f, request| {
                (f.ialltoallv)(
                    address(send),
                    to.as_ptr(),
                    to_starts.as_ptr(),
                    byte,
                    address_mut(receive),
                    from.as_ptr(),
                    from_starts.as_ptr(),
                    byte,
                    comm,
                    request,
                )
            });
        }
    }

    fn broadcast(&mut self, bytes: &mut [u8], from: usize, patience: &Patience) {
        assert!(bytes.len() <= MAX_BYTES, "a message has at most {MAX_BYTES} bytes");
        let (count, byte, comm) = (bytes.len() as c_int, self.constants.byte, self.comm);
        // SAFETY: the slice lives until `run` returns.
        unsafe {
            self.run(patience, &mut || (), |f, request| {
                (f.ibcast)(address_mut(bytes), count, byte, from as c_int, comm, request)
            });
        }
    }

    fn finalize(&mut self) -> Result<(), String> {
        if !self.started {
            return Ok(());
        }
        // SAFETY: these are the functions of an open library, of which none is called after this.
        unsafe { refuse(&self.functions, (self.functions.finalize)()) }
    }

    fn abort(&mut self, code: i32) -> ! {
        self.abort_now(code)
    }
}
