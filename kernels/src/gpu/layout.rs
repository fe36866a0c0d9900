//! What is where in the table of a step: versions of its groups and request, then what does not change.

use super::arena::ALIGNMENT;
use super::asked::Asked;
use super::chunks::{Bucket, GroupRow};
use super::pieces::Pieces;
use wgpu::Buffer;

/// How many versions of the groups and the request a table holds: steps that wait in the queue use older
/// ones.
pub const VERSIONS: u64 = 16;

/// What a step is made of before it is on the device.
#[derive(Debug)]
pub struct Parts<'a> {
    /// What was asked for.
    pub asked: &'a Asked<'a>,
    /// The pieces of memory that the step updates.
    pub buckets: Vec<Bucket>,
    /// The pieces of memory that it measures.
    pub pieces: Pieces,
    /// The words of `shape` in `decide.wgsl` for momentum buffers that the host is not sure of.
    pub entries: Vec<u32>,
    /// The words of which they speak.
    pub started: &'a Buffer,
}

/// A range of the table's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub offset: u64,
    pub bytes: u64,
}

/// The bytes of a table, and where in it what is.
pub struct Layout {
    /// All of them.
    pub bytes: Vec<u8>,
    pub groups: Place,
    pub request: Place,
    pub chunks: Vec<Place>,
    pub pieces: Vec<Place>,
    pub shape: Place,
}

impl Layout {
    /// Puts the bytes of a step in their places.
    pub fn new(parts: &Parts<'_>, groups: &[GroupRow], decided: bool) -> Self {
        let own = group_bytes(groups);
        let request = bytemuck::bytes_of(&parts.asked.request.words()).to_vec();
        let mut version = bytemuck::cast_slice(groups).to_vec();
        if decided {
            version.resize(own as usize, 0);
            version.extend_from_slice(&request);
        }
        version.resize(version_bytes(groups, decided) as usize, 0);
        let mut layout = Layout {
            bytes: version.repeat(VERSIONS as usize),
            groups: Place { offset: 0, bytes: size_of_val(groups) as u64 },
            request: Place { offset: own, bytes: request.len() as u64 },
            chunks: Vec::new(),
            pieces: Vec::new(),
            shape: Place { offset: 0, bytes: 0 },
        };
        for bucket in &parts.buckets {
            let place = layout.add(bytemuck::cast_slice(&bucket.chunks));
            layout.chunks.push(place);
        }
        for batch in &parts.pieces.batches {
            let place = layout.add(bytemuck::cast_slice(&batch.pieces));
            layout.pieces.push(place);
        }
        if decided {
            let counts = [groups.len() as u32, parts.entries.len() as u32];
            let shape = [&counts, parts.pieces.ends.as_slice(), &parts.entries].concat();
            layout.shape = layout.add(bytemuck::cast_slice(&shape));
        }
        layout
    }

    /// Puts bytes where a binding may start.
    fn add(&mut self, bytes: &[u8]) -> Place {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
        let place = Place { offset: self.bytes.len() as u64, bytes: bytes.len() as u64 };
        self.bytes.extend_from_slice(bytes);
        place
    }
}

/// Bytes of the groups, up to where a binding may start.
pub fn group_bytes(groups: &[GroupRow]) -> u64 {
    (size_of_val(groups) as u64).next_multiple_of(ALIGNMENT)
}

/// Bytes from one version of the groups and the request to the next.
pub fn version_bytes(groups: &[GroupRow], decided: bool) -> u64 {
    group_bytes(groups) + if decided { ALIGNMENT } else { 0 }
}
