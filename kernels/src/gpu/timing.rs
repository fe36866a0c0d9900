//! How long the device takes, by its own clock: what the benchmark measures.

use super::context::Context;
use super::pending::Pending;
use super::queue::Queue;
use super::timer::Timer;
use crate::error::Error;
use wgpu::BufferUsages;

/// Waits for the device and returns the intervals of a timer in seconds.
pub fn read(timer: Timer, context: &Context, queue: &Queue) -> Result<Vec<f64>, Error> {
    let mut encoder = context.device.create_command_encoder(&Default::default());
    let Some((part, count)) = timer.resolve(context, &mut encoder) else {
        return Ok(Vec::new());
    };
    let mut ticks = vec![0_u64; count];
    let pending = Pending::new(context, queue.submit(encoder)?, vec![part]);
    pending.wait(bytemuck::cast_slice_mut(&mut ticks))?;
    let second = f64::from(context.queue.get_timestamp_period()) * 1e-9;
    let (pairs, _) = ticks.as_chunks::<2>();
    Ok(pairs.iter().map(|[start, end]| end.saturating_sub(*start) as f64 * second).collect())
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
    read(timer, context, queue)
}
