//! Which momentum buffers have been written, as the device knows: a word for each of those of which the
//! host is not sure, because a step may have been skipped.

use super::context::Context;
use super::pending::Part;
use super::queue::Queue;
use crate::error::Error;
use std::collections::HashMap;
use wgpu::{Buffer, BufferUsages, CommandEncoder};

/// Bytes of a word.
const WORD: u64 = size_of::<u32>() as u64;

/// How many words there are at first.
const FIRST_CAPACITY: u32 = 1024;

/// The words, and whose they are. What a word holds before its buffer's first step does not matter.
#[derive(Debug)]
pub struct Started {
    words: Buffer,
    capacity: u32,
    places: HashMap<u64, u32>,
    free: Vec<u32>,
}

impl Started {
    /// No words in use.
    pub fn new(context: &Context) -> Self {
        Started {
            words: create(context, FIRST_CAPACITY),
            capacity: FIRST_CAPACITY,
            places: HashMap::new(),
            free: (0..FIRST_CAPACITY).rev().collect(),
        }
    }

    /// The words.
    pub fn words(&self) -> &Buffer {
        &self.words
    }

    /// The place of a momentum buffer's word; it gets one from [`reserve`](Self::reserve).
    pub fn place(&self, handle: u64) -> Option<u32> {
        self.places.get(&handle).copied()
    }

    /// Gives momentum buffers words. Returns whether the words have moved.
    pub fn reserve(
        &mut self,
        context: &Context,
        queue: &Queue,
        handles: impl Iterator<Item = u64>,
    ) -> Result<bool, Error> {
        let new: Vec<_> = handles.filter(|handle| !self.places.contains_key(handle)).collect();
        let moved = new.len() > self.free.len();
        if moved {
            self.grow(context, queue, new.len() as u32)?;
        }
        for handle in new {
            let place = self.free.pop().expect("there is room");
            self.places.insert(handle, place);
        }
        Ok(moved)
    }

    fn grow(&mut self, context: &Context, queue: &Queue, more: u32) -> Result<(), Error> {
        let capacity = (2 * self.capacity).max((self.capacity + more).next_power_of_two());
        let words = create(context, capacity);
        context.check()?;
        let mut encoder = context.device.create_command_encoder(&Default::default());
        let bytes = u64::from(self.capacity) * WORD;
        encoder.copy_buffer_to_buffer(&self.words, 0, &words, 0, bytes);
        queue.submit(encoder)?;
        self.free.extend((self.capacity..capacity).rev());
        (self.words, self.capacity) = (words, capacity);
        Ok(())
    }

    /// Takes the word of a momentum buffer that is gone back.
    pub fn release(&mut self, handle: u64) {
        self.free.extend(self.places.remove(&handle));
    }

    /// Has the words of momentum buffers copied to where the host can read them; 0 for one that has none.
    pub fn read(&self, context: &Context, encoder: &mut CommandEncoder, handles: &[u64]) -> Part {
        let offsets: Vec<_> = handles
            .iter()
            .map(|&handle| self.place(handle).map(|at| u64::from(at) * WORD))
            .collect();
        Part::gather(context, encoder, &self.words, &offsets)
    }
}

fn create(context: &Context, capacity: u32) -> Buffer {
    context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("descent started"),
        size: u64::from(capacity) * WORD,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
