//! A step whose tables are on the device: it is queued again without sending anything.

use super::asked::{Asked, Row, World};
use super::chunks::{self, Bucket, GroupRow, Options};
use super::kernel::{Binding, bind_group};
use super::layout::{Layout, Parts, Place, VERSIONS, group_bytes, version_bytes};
use super::pieces::Batch;
use super::pipelines::{Flags, Pipelines, Shader, Variant};
use super::queue::{Dispatch, Work};
use super::request::{Effects, Norm, RequestWords};
use crate::error::Error;
use std::sync::Arc;
use wgpu::{Buffer, BufferUsages};

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
