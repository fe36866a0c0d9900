//! How long the device takes, by its own clock: what the benchmark measures.

use super::context::Context;
use super::pending::{Part, Pending};
use super::queue::Queue;
use crate::error::Error;
use wgpu::{Buffer, BufferUsages, CommandEncoder, ComputePassTimestampWrites, Features, QuerySet};

/// How many intervals one timer can hold.
const INTERVALS: u32 = 256;

/// Intervals between pairs of timestamps.
#[derive(Debug)]
pub struct Timer {
    queries: QuerySet,
    resolved: Buffer,
    used: u32,
}

impl Timer {
    /// A timer without intervals.
    ///
    /// # Errors
    /// The adapter has no timestamps.
    pub fn new(context: &Context) -> Result<Self, Error> {
        let needed = Features::TIMESTAMP_QUERY | Features::TIMESTAMP_QUERY_INSIDE_ENCODERS;
        if !context.features.contains(needed) {
            return Err(Error::Gpu("Cannot time the GPU as it has no timestamps".to_owned()));
        }
        let count = 2 * INTERVALS;
        let queries = context.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let resolved = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: u64::from(count) * size_of::<u64>() as u64,
            usage: BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        context.check()?;
        Ok(Timer { queries, resolved, used: 0 })
    }

    /// Timestamps for the next pass; none if the timer is full.
    pub fn pass(&mut self) -> Option<ComputePassTimestampWrites<'_>> {
        let at = self.take()?;
        Some(ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        })
    }

    fn copy(&mut self, encoder: &mut CommandEncoder, source: &Buffer, target: &Buffer) {
        let Some(at) = self.take() else { return };
        encoder.write_timestamp(&self.queries, at);
        encoder.copy_buffer_to_buffer(source, 0, target, 0, source.size());
        encoder.write_timestamp(&self.queries, at + 1);
    }

    fn take(&mut self) -> Option<u32> {
        let at = 2 * self.used;
        (self.used < INTERVALS).then(|| {
            self.used += 1;
            at
        })
    }

    /// Waits for the device and returns the intervals in seconds.
    pub fn read(self, context: &Context, queue: &Queue) -> Result<Vec<f64>, Error> {
        if self.used == 0 {
            return Ok(Vec::new());
        }
        let mut encoder = context.device.create_command_encoder(&Default::default());
        let count = 2 * self.used;
        encoder.resolve_query_set(&self.queries, 0..count, &self.resolved, 0);
        let bytes = u64::from(count) * size_of::<u64>() as u64;
        let part = Part::copy(context, &mut encoder, &self.resolved, 0, bytes);
        let mut ticks = vec![0_u64; count as usize];
        let pending = Pending::new(context, queue.submit(encoder)?, vec![part]);
        pending.wait(bytemuck::cast_slice_mut(&mut ticks))?;
        let second = f64::from(context.queue.get_timestamp_period()) * 1e-9;
        let (pairs, _) = ticks.as_chunks::<2>();
        Ok(pairs.iter().map(|[start, end]| end.saturating_sub(*start) as f64 * second).collect())
    }
}

/// Times `count` copies of `bytes` bytes from one buffer of the device to another.
pub fn time_copies(
    context: &Context,
    queue: &Queue,
    bytes: u64,
    count: u32,
) -> Result<Vec<f64>, Error> {
    let mut timer = Timer::new(context)?;
    let buffer = || {
        context.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes.next_multiple_of(wgpu::COPY_BUFFER_ALIGNMENT),
            usage: BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    };
    let (source, target) = (buffer(), buffer());
    context.check()?;
    for _ in 0..count {
        let mut encoder = context.device.create_command_encoder(&Default::default());
        timer.copy(&mut encoder, &source, &target);
        queue.submit(encoder)?;
    }
    timer.read(context, queue)
}
