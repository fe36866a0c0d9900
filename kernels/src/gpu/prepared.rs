//! A step whose tables are on the device: it is queued again without sending anything.

use super::arena::ALIGNMENT;
use super::asked::{Asked, Row, World};
use super::chunks::{self, Bucket, GroupRow, Options};
use super::kernel::{Binding, bind_group};
use super::pieces::{Batch, Pieces};
use super::pipelines::{Flags, Pipelines, Shader, Variant};
use super::queue::{Dispatch, Work};
use super::request::{Effects, Norm, RequestWords};
use crate::error::Error;
use std::sync::Arc;
use wgpu::{Buffer, BufferUsages};

/// How many versions of the groups and the request a table holds: steps that wait in the queue use older
/// ones.
const VERSIONS: u64 = 16;

/// Words of a decision before those of its groups, and words of a group; `decide.wgsl` has them too.
const HEADER: u32 = 3;
const GROUP_WORDS: u32 = 3;

/// The word of a decision that says whether the step is the first of entry `index` of its shape.
pub fn first_word(groups: usize, index: usize) -> u32 {
    HEADER + GROUP_WORDS * groups as u32 + index as u32
}

/// A step whose tables are on the device.
#[derive(Debug)]
pub struct Prepared {
    rows: Vec<Row>,
    options: Vec<Options>,
    effects: Effects,
    groups: Vec<GroupRow>,
    request: RequestWords,
    version: u64,
    table: Buffer,
    decision: Option<Buffer>,
    dispatches: Arc<[Dispatch]>,
}

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

impl Prepared {
    /// Whether it is what a step is asked for, but for numbers of groups and request.
    pub fn fits(&self, Asked { rows, groups, .. }: &Asked<'_>, effects: Effects) -> bool {
        self.rows == *rows
            && self.effects == effects
            && self.options.len() == groups.len()
            && self.options.iter().zip(*groups).all(|(own, h)| *own == Options::of(h))
    }

    /// Sends the groups and the request if they have changed; returns how many bytes were sent.
    pub fn refresh(&mut self, world: World<'_>, asked: &Asked<'_>) -> Result<u64, Error> {
        let groups: Vec<_> = asked.groups.iter().map(chunks::group_row).collect();
        let request = asked.request.words();
        let decided = self.decision.is_some();
        if self.groups == groups && (!decided || self.request == request) {
            return Ok(0);
        }
        self.version = (self.version + 1) % VERSIONS;
        if self.version == 0 {
            world.queue.flush()?; // no step that waits uses any version any more
        }
        let at = self.offset();
        let bytes: &[u8] = bytemuck::cast_slice(&groups);
        world.context.queue.write_buffer(&self.table, at, bytes);
        let mut sent = bytes.len() as u64;
        if decided {
            let bytes = bytemuck::bytes_of(&request);
            world.context.queue.write_buffer(&self.table, at + group_bytes(&groups), bytes);
            sent += bytes.len() as u64;
        }
        (self.groups, self.request) = (groups, request);
        Ok(sent)
    }

    /// The step, with its present version of groups and request.
    pub fn work(&self) -> Work {
        Work::Run(Arc::clone(&self.dispatches), self.offset() as u32)
    }

    /// What the step decides, if it does.
    pub fn decision(&self) -> Option<&Buffer> {
        self.decision.as_ref()
    }

    /// Bytes that making it has sent.
    pub fn sent(&self) -> u64 {
        self.table.size()
    }

    fn offset(&self) -> u64 {
        self.version * version_bytes(&self.groups, self.decision.is_some())
    }

    /// Brings the tables of a step to the device.
    pub fn new(
        world: World<'_>,
        pipelines: &mut Pipelines,
        parts: &Parts<'_>,
    ) -> Result<Self, Error> {
        let Asked { rows, groups: hyperparameters, request } = parts.asked;
        let groups: Vec<_> = hyperparameters.iter().map(chunks::group_row).collect();
        let effects = request.effects();
        let decided = effects.needs_decision() || !parts.entries.is_empty();
        let layout = Layout::new(parts, &groups, decided);
        let context = world.context;
        let table = create(world, "descent table", layout.bytes.len() as u64, true)?;
        let scratch = match decided {
            true => Some(Scratch::new(world, parts, groups.len())?),
            false => None,
        };
        let builder = Builder { world, parts, layout: &layout, table: &table, scratch };
        let dispatches = builder.dispatches(pipelines, effects)?;
        // Every byte is written before the table is used: wgpu would else fill the versions to come with
        // zeros when the first step is handed over, which may be after one of them has been written.
        context.queue.write_buffer(&table, 0, &layout.bytes);
        context.check()?;
        Ok(Prepared {
            rows: rows.to_vec(),
            options: hyperparameters.iter().map(Options::of).collect(),
            effects,
            groups,
            request: request.words(),
            version: 0,
            decision: builder.scratch.map(|scratch| scratch.decision),
            table,
            dispatches: dispatches.into(),
        })
    }
}

/// A range of the table's buffer.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    bytes: u64,
}

/// The bytes of a table, and where in it what is.
struct Layout {
    bytes: Vec<u8>,
    groups: Place,
    request: Place,
    chunks: Vec<Place>,
    pieces: Vec<Place>,
    shape: Place,
}

impl Layout {
    fn new(parts: &Parts<'_>, groups: &[GroupRow], decided: bool) -> Self {
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

/// What a step that decides writes besides parameters.
struct Scratch {
    partials: Buffer,
    decision: Buffer,
}

impl Scratch {
    fn new(world: World<'_>, parts: &Parts<'_>, groups: usize) -> Result<Self, Error> {
        let partials = u64::from(parts.pieces.count().max(1)) * size_of::<[u32; 2]>() as u64;
        let words = u64::from(first_word(groups, parts.entries.len()));
        Ok(Scratch {
            partials: create(world, "descent partials", partials, false)?,
            decision: create(world, "descent decision", words * size_of::<u32>() as u64, false)?,
        })
    }
}

/// Makes the dispatches of a step.
struct Builder<'a> {
    world: World<'a>,
    parts: &'a Parts<'a>,
    layout: &'a Layout,
    table: &'a Buffer,
    scratch: Option<Scratch>,
}

impl Builder<'_> {
    fn dispatches(
        &self,
        pipelines: &mut Pipelines,
        effects: Effects,
    ) -> Result<Vec<Dispatch>, Error> {
        let Parts { pieces, buckets, .. } = self.parts;
        let norm = effects.measured.unwrap_or(Norm::EUCLIDEAN);
        let mut dispatches = Vec::new();
        if let Some(scratch) = &self.scratch {
            for (batch, place) in pieces.batches.iter().zip(&self.layout.pieces) {
                dispatches.push(self.norm(pipelines, scratch, batch, (norm, *place))?);
            }
            dispatches.push(self.decide(pipelines, scratch, norm)?);
        }
        let flags = Flags {
            decided: self.scratch.is_some(),
            scaled: effects.scaled,
            clamped: effects.clamped,
            zeroed: effects.zeroed,
        };
        for (bucket, place) in buckets.iter().zip(&self.layout.chunks) {
            dispatches.push(self.step(pipelines, bucket, *place, flags)?);
        }
        Ok(dispatches)
    }

    fn norm(
        &self,
        pipelines: &mut Pipelines,
        scratch: &Scratch,
        batch: &Batch,
        (norm, place): (Norm, Place),
    ) -> Result<Dispatch, Error> {
        let grad = whole(self.world.arena.memory(batch.block));
        let bindings = [grad, self.at(place), whole(&scratch.partials)];
        self.dispatch(
            pipelines,
            (Shader::Norm, Variant::Norm(batch.dtype, norm)),
            &bindings,
            batch.pieces.len(),
        )
    }

    fn decide(
        &self,
        pipelines: &mut Pipelines,
        scratch: &Scratch,
        norm: Norm,
    ) -> Result<Dispatch, Error> {
        let bindings = [
            whole(&scratch.partials),
            self.at(self.layout.shape),
            self.at(self.layout.request),
            whole(self.parts.started),
            whole(&scratch.decision),
        ];
        self.dispatch(pipelines, (Shader::Decide, Variant::Decide(norm)), &bindings, 1)
    }

    fn step(
        &self,
        pipelines: &mut Pipelines,
        bucket: &Bucket,
        place: Place,
        flags: Flags,
    ) -> Result<Dispatch, Error> {
        let [data, grad, buffer] =
            bucket.key.blocks.map(|block| whole(self.world.arena.memory(block)));
        // What is bound where nothing is decided is not read.
        let decision = self.scratch.as_ref().map_or(self.at(place), |own| whole(&own.decision));
        let bindings = [data, grad, buffer, self.at(place), self.at(self.layout.groups), decision];
        let variant = Variant::Step(bucket.key.dtype, bucket.key.options, flags);
        self.dispatch(pipelines, (Shader::Step, variant), &bindings, bucket.chunks.len())
    }

    fn at(&self, Place { offset, bytes }: Place) -> Binding<'_> {
        Binding { buffer: self.table, offset, bytes }
    }

    fn dispatch(
        &self,
        pipelines: &mut Pipelines,
        (shader, variant): (Shader, Variant),
        bindings: &[Binding<'_>],
        workgroups: usize,
    ) -> Result<Dispatch, Error> {
        let context = self.world.context;
        let bind_group = bind_group(context, pipelines.layout(shader), bindings);
        context.check()?;
        let most = context.limits.max_compute_workgroups_per_dimension;
        Ok(Dispatch {
            pipeline: pipelines.get(context, variant)?,
            bind_group,
            versioned: shader.is_versioned(),
            workgroups: [u32::try_from(workgroups).unwrap_or(u32::MAX).min(most), 1, 1],
        })
    }
}

/// A whole buffer.
fn whole(buffer: &Buffer) -> Binding<'_> {
    Binding { buffer, offset: 0, bytes: buffer.size() }
}

fn create(world: World<'_>, label: &str, size: u64, is_table: bool) -> Result<Buffer, Error> {
    let copy = if is_table { BufferUsages::COPY_DST } else { BufferUsages::COPY_SRC };
    let buffer = world.context.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        size,
        usage: BufferUsages::STORAGE | copy,
        mapped_at_creation: false,
    });
    world.context.check()?;
    Ok(buffer)
}

/// Bytes of the groups, up to where a binding may start.
fn group_bytes(groups: &[GroupRow]) -> u64 {
    (size_of_val(groups) as u64).next_multiple_of(ALIGNMENT)
}

/// Bytes from one version of the groups and the request to the next.
fn version_bytes(groups: &[GroupRow], decided: bool) -> u64 {
    group_bytes(groups) + if decided { ALIGNMENT } else { 0 }
}
