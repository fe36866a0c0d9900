//! An open device: its tensors and kernels, and what can be done with them.

use super::arena::{self, Arena, Segment};
use super::asked::{Asked, World};
use super::context::{Choice, Context};
use super::kernel::Kernel;
use super::pending::{Part, Pending};
use super::queue::{Queue, Work};
use super::step::Stepper;
use super::tensor::{Dtype, Tensor};
use super::timer::Timer;
use super::timing;
use crate::error::Error;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use wgpu::{Buffer, BufferUsages, CommandEncoder};

/// Handles look like addresses above any of the host's, far enough apart that overlapping handles
/// are overlapping tensors, and below 2^53, so that they fit a float64 word.
static NEXT_HANDLE: AtomicU64 = AtomicU64::new(1 << 52);

/// Bytes of one write to the queue: what is staged at a time.
const WRITE: usize = 64 << 20;

/// Sizes that follow from the device, unless a test wants small ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tuning {
    /// Bytes of the largest block; 0 for what one binding takes.
    pub max_block: u64,
    /// Elements of a chunk; 0 for the default.
    pub chunk_elements: u64,
}

/// Elements that a workgroup takes at a time: 16 per lane, enough to hide the look at the table,
/// few enough to balance a model of a million elements.
const CHUNK_ELEMENTS: u64 = 4096;

/// Bytes that have crossed the bus.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// From the host to the device.
    pub to_device: u64,
    /// From the device to the host.
    pub to_host: u64,
}

/// An open device with its tensors and kernels.
#[derive(Debug)]
pub struct Gpu {
    pub(super) context: Context,
    pub(super) queue: Queue,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) arena: Arena<Buffer>,
    pub(super) tensors: HashMap<u64, Tensor>,
    pub(super) kernels: HashMap<u32, Kernel>,
    pub(super) next_kernel: u32,
    stepper: Stepper,
    traffic: Traffic,
}

impl Gpu {
    /// Opens a device.
    pub fn open(choice: &Choice, tuning: Tuning) -> Result<Self, Error> {
        let context = Context::open(choice)?;
        let limits = &context.limits;
        let most = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let max_block = if tuning.max_block == 0 { most } else { tuning.max_block.min(most) };
        let chunk = if tuning.chunk_elements == 0 { CHUNK_ELEMENTS } else { tuning.chunk_elements };
        let state = State {
            arena: Arena::new(max_block),
            tensors: HashMap::new(),
            kernels: HashMap::new(),
            next_kernel: 1,
            stepper: Stepper::new(&context, chunk),
            traffic: Traffic::default(),
        };
        context.check()?;
        let queue = Queue::new(&context)?;
        Ok(Gpu { context, queue, state: Mutex::new(state) })
    }

    /// The device.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Bytes of the largest range that one binding can see.
    pub fn max_block(&self) -> u64 {
        self.state().arena.max_block()
    }

    /// Bytes of all blocks.
    pub fn memory(&self) -> u64 {
        self.state().arena.size()
    }

    /// Bytes that have crossed the bus so far.
    pub fn traffic(&self) -> Traffic {
        self.state().traffic
    }

    /// Makes a tensor and returns its handle. What it holds is undefined if it is not zeroed.
    pub fn tensor(&self, length: u64, dtype: Dtype, zeroed: bool) -> Result<u64, Error> {
        self.context.check()?;
        let state = &mut *self.state();
        let bytes = length.saturating_mul(dtype.bytes());
        let segments = state.arena.allocate(bytes, |size| create_block(&self.context, size))?;
        let tensor = Tensor { dtype, length, segments };
        if zeroed {
            self.clear(&state.arena, &tensor.segments)?;
        }
        let span = bytes.max(1).next_multiple_of(arena::ALIGNMENT);
        let handle = NEXT_HANDLE.fetch_add(span, Ordering::Relaxed);
        state.tensors.insert(handle, tensor);
        Ok(handle)
    }

    /// Gives the memory of a tensor back. Work that is queued still sees it.
    pub fn free(&self, handle: u64) {
        let state = &mut *self.state();
        let Some(tensor) = state.tensors.remove(&handle) else { return };
        state.stepper.forget(handle);
        if state.arena.free(&tensor.segments) {
            state.stepper.forget_prepared();
            state.kernels.values_mut().for_each(Kernel::forget_bind_groups);
        }
    }

    /// Writes all elements of a tensor.
    pub fn write(&self, handle: u64, bytes: &[u8]) -> Result<(), Error> {
        self.context.check()?;
        let state = &mut *self.state();
        self.queue.flush()?;
        let tensor = find(&state.tensors, handle)?;
        if bytes.len() as u64 != tensor.bytes() {
            return Err(Error::Table(format!(
                "Cannot write {} bytes to a tensor of {}",
                bytes.len(),
                tensor.bytes()
            )));
        }
        for (segment, part) in tensor.parts() {
            let block = state.arena.memory(segment.block);
            let part = &bytes[part.start as usize..part.end as usize];
            self.write_part(block, segment.range.start, part);
        }
        state.traffic.to_device += bytes.len() as u64;
        self.context.check()
    }

    fn write_part(&self, block: &Buffer, mut at: u64, bytes: &[u8]) {
        let queue = &self.context.queue;
        let (whole, rest) = bytes.split_at(bytes.len() & !3);
        for piece in whole.chunks(WRITE) {
            queue.write_buffer(block, at, piece);
            at += piece.len() as u64;
            if piece.len() == WRITE {
                queue.submit([]);
            }
        }
        if !rest.is_empty() {
            // Writes are whole words; what follows an odd end is padding of the same tensor.
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            queue.write_buffer(block, at, &word);
        }
    }

    /// Fills tensors with zeros.
    pub fn zero(&self, handles: &[u64]) -> Result<(), Error> {
        self.context.check()?;
        let state = &mut *self.state();
        let mut segments = Vec::new();
        for &handle in handles {
            segments.extend(find(&state.tensors, handle)?.segments.iter().cloned());
        }
        segments.sort_unstable_by_key(|segment| (segment.block, segment.range.start));
        segments.dedup_by(|next, before| {
            let touch = next.block == before.block && next.range.start == before.range.end;
            if touch {
                before.range.end = next.range.end;
            }
            touch
        });
        self.clear(&state.arena, &segments)
    }

    /// Begins to read all elements of a tensor, as they are after everything queued so far.
    pub fn read(&self, handle: u64) -> Result<Pending, Error> {
        self.context.check()?;
        let state = &mut *self.state();
        let tensor = find(&state.tensors, handle)?;
        let mut encoder = new_encoder(&self.context);
        let mut parts = Vec::new();
        for (segment, part) in tensor.parts().filter(|(_, part)| !part.is_empty()) {
            let block = state.arena.memory(segment.block);
            let bytes = part.end - part.start;
            let start = segment.range.start;
            parts.push(Part::copy(&self.context, &mut encoder, block, start, bytes));
        }
        self.context.check()?;
        state.traffic.to_host += tensor.bytes();
        Ok(Pending::new(&self.context, self.queue.submit(encoder)?, parts))
    }

    /// Everything that has been queued so far, to be waited for.
    pub fn everything(&self) -> Result<Pending, Error> {
        self.context.check()?;
        let submission = self.queue.submit(new_encoder(&self.context))?;
        Ok(Pending::new(&self.context, submission, Vec::new()))
    }

    /// Queues one step. After an error nothing has been queued.
    pub fn step(&self, asked: &Asked<'_>) -> Result<(), Error> {
        self.context.check()?;
        if asked.rows.is_empty() && !asked.request.is_measured() {
            return Ok(());
        }
        let state = &mut *self.state();
        let (context, queue) = (&self.context, &self.queue);
        let world = World { context, queue, arena: &state.arena, tensors: &state.tensors };
        state.traffic.to_device += state.stepper.step(world, asked)?;
        Ok(())
    }

    /// Begins to read what the last step decided.
    pub fn report(&self, bytes: u64) -> Result<Pending, Error> {
        self.context.check()?;
        let state = &mut *self.state();
        let mut encoder = new_encoder(&self.context);
        let part = state.stepper.report(&self.context, &mut encoder, bytes)?;
        self.context.check()?;
        state.traffic.to_host += bytes;
        Ok(Pending::new(&self.context, self.queue.submit(encoder)?, vec![part]))
    }

    /// Begins to read which momentum buffers have been written: a word of 32 bits for each.
    pub fn written(&self, handles: &[u64]) -> Result<Pending, Error> {
        self.context.check()?;
        let state = &mut *self.state();
        let mut encoder = new_encoder(&self.context);
        let part = state.stepper.started().read(&self.context, &mut encoder, handles);
        self.context.check()?;
        let pending = Pending::new(&self.context, self.queue.submit(encoder)?, vec![part]);
        state.traffic.to_host += pending.bytes();
        Ok(pending)
    }

    /// Times every step and dispatch from here on.
    pub fn start_timing(&self) -> Result<(), Error> {
        self.queue.time(Some(Timer::new(&self.context)?)).map(|_| ())
    }

    /// The seconds that each step and dispatch took, since timing was started; this ends it.
    pub fn stop_timing(&self) -> Result<Vec<f64>, Error> {
        let timer = self.queue.time(None)?;
        timer.map_or(Ok(Vec::new()), |timer| timing::read(timer, &self.context, &self.queue))
    }

    /// The seconds that each of `count` copies of `bytes` bytes within the device took.
    pub fn time_copies(&self, bytes: u64, count: u32) -> Result<Vec<f64>, Error> {
        self.context.check()?;
        timing::time_copies(&self.context, &self.queue, bytes, count)
    }

    /// Loses the device, to test that this is an error.
    pub fn lose(&self) {
        self.context.device.destroy();
        let _ = self.context.device.poll(wgpu::PollType::wait_indefinitely());
    }

    fn clear(&self, arena: &Arena<Buffer>, segments: &[Segment]) -> Result<(), Error> {
        segments.iter().try_for_each(|Segment { block, range }| {
            self.queue.push(Work::Clear(arena.memory(*block).clone(), range.clone()))
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves every map as it was or as it was to be, so the state can be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_encoder(context: &Context) -> CommandEncoder {
    context.device.create_command_encoder(&Default::default())
}

fn create_block(context: &Context, size: u64) -> Result<Buffer, Error> {
    let buffer = context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("descent block"),
        size,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    context.check().map_err(|error| match error {
        Error::Memory(reason) => {
            Error::Memory(format!("Cannot allocate {size} bytes on the GPU as {reason}"))
        }
        error => error,
    })?;
    Ok(buffer)
}

pub(super) fn find(tensors: &HashMap<u64, Tensor>, handle: u64) -> Result<&Tensor, Error> {
    tensors
        .get(&handle)
        .ok_or_else(|| Error::Table(format!("Cannot use tensor {handle} as it does not exist")))
}
