//! Work that the device has been given and that somebody waits for: a read, or everything so far.

use super::context::Context;
use crate::error::Error;
use wgpu::{Buffer, BufferUsages, CommandEncoder, MapMode, PollType, SubmissionIndex};

/// Bytes on their way to the host. Any thread may wait for them.
#[derive(Debug)]
pub struct Pending {
    context: Context,
    submission: SubmissionIndex,
    parts: Vec<Part>,
}

/// Memory that both the device and the host can see, and how much of it is wanted.
#[derive(Debug)]
pub struct Part {
    buffer: Buffer,
    bytes: u64,
}

impl Part {
    /// Has `bytes` bytes copied from a block to where the host can read them.
    pub fn copy(
        context: &Context,
        encoder: &mut CommandEncoder,
        block: &Buffer,
        start: u64,
        bytes: u64,
    ) -> Self {
        let size = bytes.next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT);
        let buffer = staging(context, size);
        encoder.copy_buffer_to_buffer(block, start, &buffer, 0, size);
        Part { buffer, bytes }
    }

    /// Has words of 32 bits from here and there of a buffer copied, and zeros where there is no offset.
    pub fn gather(
        context: &Context,
        encoder: &mut CommandEncoder,
        source: &Buffer,
        offsets: &[Option<u64>],
    ) -> Self {
        let word = size_of::<u32>() as u64;
        let bytes = offsets.len() as u64 * word;
        let buffer = staging(context, bytes); // zeros
        for (to, from) in (0..).step_by(word as usize).zip(offsets) {
            if let Some(from) = from {
                encoder.copy_buffer_to_buffer(source, *from, &buffer, to, word);
            }
        }
        Part { buffer, bytes }
    }
}

fn staging(context: &Context, size: u64) -> Buffer {
    context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("descent read"),
        size,
        usage: BufferUsages::COPY_DST | BufferUsages::MAP_READ,
        mapped_at_creation: false,
    })
}

impl Pending {
    /// Waits, once asked to, for a submission and for the parts that it copies.
    pub fn new(context: &Context, submission: SubmissionIndex, parts: Vec<Part>) -> Self {
        for part in &parts {
            // Whether this succeeds shows when the bytes are asked for.
            part.buffer.map_async(MapMode::Read, .., |_| {});
        }
        Pending { context: context.clone(), submission, parts }
    }

    /// Bytes of all parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Blocks until the device is done, then copies the bytes into `out`, which has room for them.
    pub fn wait(&self, out: &mut [u8]) -> Result<(), Error> {
        self.context.check()?;
        let submission_index = Some(self.submission.clone());
        self.context
            .device
            .poll(PollType::Wait { submission_index, timeout: None })
            .map_err(|error| Error::Gpu(format!("Cannot wait for the GPU: {error}")))?;
        self.context.check()?;
        let mut at = 0;
        for part in &self.parts {
            let view = part
                .buffer
                .get_mapped_range(..)
                .map_err(|error| Error::Gpu(format!("Cannot read from the GPU: {error}")))?;
            let bytes = part.bytes as usize;
            out[at..at + bytes].copy_from_slice(&view[..bytes]);
            at += bytes;
        }
        Ok(())
    }
}
