//! A timer of the device's own clock: pairs of timestamps around what is timed.

use super::context::Context;
use super::pending::Part;
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

    /// Copies one buffer to another, between two timestamps.
    pub fn copy(&mut self, encoder: &mut CommandEncoder, source: &Buffer, target: &Buffer) {
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

    /// Has the timestamps copied to where the host can read them, and returns that and how many there
    /// are; none if nothing was timed.
    pub fn resolve(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
    ) -> Option<(Part, usize)> {
        if self.used == 0 {
            return None;
        }
        let count = 2 * self.used;
        encoder.resolve_query_set(&self.queries, 0..count, &self.resolved, 0);
        let bytes = u64::from(count) * size_of::<u64>() as u64;
        Some((Part::copy(context, encoder, &self.resolved, 0, bytes), count as usize))
    }
}
