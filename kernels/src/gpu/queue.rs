//! The queue: the work of a device, in order, and the thread that submits it.
//!
//! Handing work to a driver costs tens of microseconds, a multiple of what a caller wants to spend
//! on a step. So callers leave their work here and return; one thread per device encodes all work that
//! has gathered and submits it. A caller that needs its work in order with queue writes calls
//! [`Queue::flush`], which submits immediately.

use super::context::Context;
use super::timer::Timer;
use crate::error::Error;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use wgpu::{BindGroup, Buffer, CommandEncoder, ComputePass, ComputePipeline, SubmissionIndex};

/// How much work may gather before the caller has to hand it over itself.
const MAX_WAITING: usize = 256;

/// A dispatch of a shader.
#[derive(Debug)]
pub struct Dispatch {
    /// The compiled shader.
    pub pipeline: ComputePipeline,
    /// What it works on.
    pub bind_group: BindGroup,
    /// Whether one of its bindings has an offset that is chosen when it runs.
    pub versioned: bool,
    /// Workgroups in each dimension.
    pub workgroups: [u32; 3],
}

/// A piece of work.
#[derive(Debug)]
pub enum Work {
    /// Dispatches, and the offset that those have which choose one.
    Run(Arc<[Dispatch]>, u32),
    /// Bytes to be filled with zeros.
    Clear(Buffer, Range<u64>),
}

/// The work of one device.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    context: Context,
    waiting: Mutex<Waiting>,
    filled: Condvar,
    /// Held from taking work to having submitted it, which keeps the order; with a timer, each run
    /// is timed.
    order: Mutex<Option<Timer>>,
}

#[derive(Debug, Default)]
struct Waiting {
    work: Vec<Work>,
    asleep: bool,
    closed: bool,
}

impl Queue {
    /// An empty queue and its thread.
    pub fn new(context: &Context) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            context: context.clone(),
            waiting: Mutex::default(),
            filled: Condvar::new(),
            order: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("descent-gpu".to_owned());
        let thread = thread
            .spawn(move || own.serve())
            .map_err(|error| Error::Gpu(format!("Cannot start a thread for the GPU: {error}")))?;
        Ok(Queue { shared, thread: Some(thread) })
    }

    /// Leaves work to be done after all that is there.
    pub fn push(&self, work: Work) -> Result<(), Error> {
        let (count, wake) = {
            let waiting = &mut *lock(&self.shared.waiting);
            waiting.work.push(work);
            (waiting.work.len(), std::mem::take(&mut waiting.asleep))
        };
        if count >= MAX_WAITING {
            return self.flush();
        }
        if wake {
            self.shared.filled.notify_one();
        }
        Ok(())
    }

    /// Hands everything over. What is written to wgpu's queue afterwards comes after it.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared.hand_over(None);
        self.shared.context.check()
    }

    /// Has each run timed from here on, or no more; returns the timer until now.
    pub fn time(&self, timer: Option<Timer>) -> Result<Option<Timer>, Error> {
        self.flush()?;
        Ok(std::mem::replace(&mut *lock(&self.shared.order), timer))
    }

    /// Hands everything over, and `commands` after it.
    pub fn submit(&self, commands: CommandEncoder) -> Result<SubmissionIndex, Error> {
        let submission = self.shared.hand_over(Some(commands));
        self.shared.context.check()?;
        submission.ok_or_else(|| Error::Gpu("Cannot use the GPU as it took no work".to_owned()))
    }
}

impl Drop for Queue {
    /// Forgets what is waiting and ends the thread.
    fn drop(&mut self) {
        {
            let waiting = &mut *lock(&self.shared.waiting);
            waiting.closed = true;
            waiting.work.clear();
        }
        self.shared.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self) {
        while self.wait() {
            let handed = catch_unwind(AssertUnwindSafe(|| self.hand_over(None)));
            if handed.is_err() {
                self.context.report(Error::Gpu("Cannot use the GPU as it failed".to_owned()));
            }
        }
    }

    /// Sleeps until there is work; false if there will be none.
    fn wait(&self) -> bool {
        let mut waiting = lock(&self.waiting);
        while waiting.work.is_empty() && !waiting.closed {
            waiting.asleep = true;
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.asleep = false;
        !waiting.closed
    }

    fn hand_over(&self, more: Option<CommandEncoder>) -> Option<SubmissionIndex> {
        let timer = &mut *lock(&self.order);
        let work = std::mem::take(&mut lock(&self.waiting).work);
        if work.is_empty() && more.is_none() {
            return None;
        }
        let commands = encode(&self.context, &work, timer.as_mut()).into_iter().chain(more);
        Some(self.context.queue.submit(commands.map(CommandEncoder::finish)))
    }
}

fn encode(
    context: &Context,
    work: &[Work],
    mut timer: Option<&mut Timer>,
) -> Option<CommandEncoder> {
    if work.is_empty() {
        return None;
    }
    let mut encoder = context.device.create_command_encoder(&Default::default());
    let apart = timer.is_some();
    let together = |a: &Work, b: &Work| matches!((a, b), (Work::Run(..), Work::Run(..)));
    for run in work.chunk_by(|a, b| !apart && together(a, b)) {
        if let [Work::Clear(buffer, range)] = run {
            encoder.clear_buffer(buffer, range.start, Some(range.end - range.start));
            continue;
        }
        let timestamp_writes = timer.as_mut().and_then(|timer| timer.pass());
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        for work in run {
            if let Work::Run(dispatches, offset) = work {
                dispatches.iter().for_each(|dispatch| dispatch.record(&mut pass, *offset));
            }
        }
    }
    Some(encoder)
}

impl Dispatch {
    fn record(&self, pass: &mut ComputePass<'_>, offset: u32) {
        let [x, y, z] = self.workgroups;
        let offset = [offset];
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, if self.versioned { &offset } else { &[] });
        pass.dispatch_workgroups(x, y, z);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in between leaves the list as it was, or taken.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
