//! The step on the device: tables uploaded when they change, then one dispatch per bucket.

use super::arena::{ALIGNMENT, Arena};
use super::chunks::{self, Bucket, GroupRow, Options, Slot};
use super::context::Context;
use super::kernel::{Binding, bind_group, compile, pipeline, storage_layout};
use super::queue::{Dispatch, Queue, Work};
use super::tensor::{Dtype, Tensor};
use crate::error::Error;
use crate::rule::Hyperparameters;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use wgpu::{BindGroupLayout, Buffer, BufferUsages, ComputePipeline};

/// How many different steps keep their tables; the one used longest ago goes first.
const MAX_PREPARED: usize = 256;

/// The bindings of `sgd.wgsl`: three blocks, the chunks and the groups.
const BINDINGS: usize = 5;
const FIRST_TABLE: usize = 3;
const GROUPS: usize = 4;

/// How many versions of the groups a table holds: steps that wait in the queue use older ones.
const VERSIONS: u64 = 16;

/// One parameter of a step, by the handles of its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Its values.
    pub data: u64,
    /// Its gradient.
    pub grad: u64,
    /// Its momentum buffer, or 0.
    pub buffer: u64,
    /// The index of its group.
    pub group: usize,
    /// Whether the buffer has never been written.
    pub first: bool,
}

/// Compiled pipelines, and the tables of the steps that have been taken.
#[derive(Debug)]
pub struct Stepper {
    chunk_elements: u64,
    layout: BindGroupLayout,
    modules: HashMap<Dtype, wgpu::ShaderModule>,
    pipelines: HashMap<(Dtype, Options), ComputePipeline>,
    prepared: Vec<Prepared>,
}

/// A step whose tables are on the device.
#[derive(Debug)]
pub struct Prepared {
    rows: Vec<Row>,
    options: Vec<Options>,
    groups: Vec<GroupRow>,
    version: u64,
    table: Buffer,
    dispatches: Arc<[Dispatch]>,
}

/// What a step reads: where tensors lie, and the device.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The device.
    pub context: &'a Context,
    /// Its queue.
    pub queue: &'a Queue,
    /// The blocks.
    pub arena: &'a Arena<Buffer>,
    /// The tensors by their handles.
    pub tensors: &'a HashMap<u64, Tensor>,
}

impl Stepper {
    /// A stepper that cuts tensors into chunks of `chunk_elements` elements.
    pub fn new(context: &Context, chunk_elements: u64) -> Self {
        Stepper {
            chunk_elements,
            layout: storage_layout(context, BINDINGS, FIRST_TABLE, Some(GROUPS)),
            modules: HashMap::new(),
            pipelines: HashMap::new(),
            prepared: Vec::new(),
        }
    }

    /// Queues a step, after bringing its tables to the device as far as they are not there, and
    /// returns the number of bytes that were sent. After an error nothing has been queued.
    pub fn step(
        &mut self,
        world: World<'_>,
        rows: &[Row],
        hyperparameters: &[Hyperparameters],
    ) -> Result<u64, Error> {
        let known = self.prepared.iter().rposition(|prepared| prepared.fits(rows, hyperparameters));
        let sent = match known {
            Some(index) => {
                self.prepared[index..].rotate_left(1);
                self.prepared.last_mut().map_or(Ok(0), |p| p.refresh(world, hyperparameters))?
            }
            None => {
                let prepared = self.build(world, rows, hyperparameters)?;
                if self.prepared.len() >= MAX_PREPARED {
                    self.prepared.remove(0);
                }
                let sent = prepared.sent();
                self.prepared.push(prepared);
                sent
            }
        };
        if let Some(prepared) = self.prepared.last() {
            let dispatches = Arc::clone(&prepared.dispatches);
            let offset = prepared.version * version_bytes(&prepared.groups);
            world.queue.push(Work::Run(dispatches, Some(offset as u32)))?;
        }
        Ok(sent)
    }

    /// Lets go of the blocks that prepared steps hold.
    pub fn forget_prepared(&mut self) {
        self.prepared.clear();
    }

    fn build(
        &mut self,
        world: World<'_>,
        rows: &[Row],
        hyperparameters: &[Hyperparameters],
    ) -> Result<Prepared, Error> {
        let slots =
            rows.iter().map(|row| slot(world.tensors, row)).collect::<Result<Vec<_>, _>>()?;
        let buckets = chunks::build(&slots, hyperparameters, self.chunk_elements)?;
        let groups: Vec<_> = hyperparameters.iter().map(chunks::group_row).collect();
        let (bytes, places) = lay_out(&buckets, VERSIONS * version_bytes(&groups));
        let context = world.context;
        let table = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("descent table"),
            size: VERSIONS * version_bytes(&groups) + bytes.len() as u64,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        context.check()?;
        let mut dispatches = Vec::with_capacity(buckets.len());
        for (bucket, place) in buckets.iter().zip(places) {
            let group_bytes = size_of_val(groups.as_slice()) as u64;
            let tables = [place, Place { offset: 0, bytes: group_bytes }];
            dispatches.push(self.dispatch(world, bucket, &table, tables)?);
        }
        // Every byte is written before the table is used: wgpu would else fill the versions to come with
        // zeros when the first step is handed over, which may be after one of them has been written.
        context.queue.write_buffer(&table, 0, &[versions(&groups), bytes].concat());
        context.check()?;
        let options = hyperparameters.iter().map(Options::of).collect();
        let dispatches = dispatches.into();
        Ok(Prepared { rows: rows.to_vec(), options, groups, version: 0, table, dispatches })
    }

    fn dispatch(
        &mut self,
        world: World<'_>,
        bucket: &Bucket,
        table: &Buffer,
        tables: [Place; 2],
    ) -> Result<Dispatch, Error> {
        let blocks = bucket.key.blocks.map(|block| {
            let buffer = world.arena.memory(block);
            Binding { buffer, offset: 0, bytes: buffer.size() }
        });
        let tables =
            tables.map(|place| Binding { buffer: table, offset: place.offset, bytes: place.bytes });
        let bindings = [blocks.as_slice(), tables.as_slice()].concat();
        let bind_group = bind_group(world.context, &self.layout, &bindings);
        world.context.check()?;
        let most = world.context.limits.max_compute_workgroups_per_dimension;
        let workgroups = u32::try_from(bucket.chunks.len()).unwrap_or(u32::MAX).min(most);
        let pipeline = self.pipeline(world.context, bucket.key.dtype, bucket.key.options)?;
        Ok(Dispatch { pipeline, bind_group, workgroups: [workgroups, 1, 1] })
    }

    fn pipeline(
        &mut self,
        context: &Context,
        dtype: Dtype,
        options: Options,
    ) -> Result<ComputePipeline, Error> {
        if let Some(pipeline) = self.pipelines.get(&(dtype, options)) {
            return Ok(pipeline.clone());
        }
        let module = match self.modules.entry(dtype) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let text = wgpu::ShaderSource::Wgsl(source(dtype).into());
                entry.insert(compile(context, text)?)
            }
        };
        let constants = [
            ("DECAY", options.decay),
            ("MOMENTUM", options.momentum),
            ("NESTEROV", options.nesterov),
            ("SIGN", options.sign),
        ]
        .map(|(name, on)| (name, f64::from(u8::from(on))));
        let compiled = pipeline(context, &self.layout, module, "step", &constants)?;
        self.pipelines.insert((dtype, options), compiled.clone());
        Ok(compiled)
    }
}

impl Prepared {
    fn fits(&self, rows: &[Row], hyperparameters: &[Hyperparameters]) -> bool {
        self.rows == rows
            && self.options.len() == hyperparameters.len()
            && self.options.iter().zip(hyperparameters).all(|(own, h)| *own == Options::of(h))
    }

    /// Sends the groups if they have changed.
    fn refresh(
        &mut self,
        world: World<'_>,
        hyperparameters: &[Hyperparameters],
    ) -> Result<u64, Error> {
        let new: Vec<_> = hyperparameters.iter().map(chunks::group_row).collect();
        if self.groups == new {
            return Ok(0);
        }
        self.version = (self.version + 1) % VERSIONS;
        if self.version == 0 {
            world.queue.flush()?; // no step that waits uses any version any more
        }
        let bytes: &[u8] = bytemuck::cast_slice(&new);
        let at = self.version * version_bytes(&new);
        world.context.queue.write_buffer(&self.table, at, bytes);
        let sent = bytes.len() as u64;
        self.groups = new;
        Ok(sent)
    }

    /// Bytes that making it has sent.
    fn sent(&self) -> u64 {
        self.table.size()
    }
}

/// All versions of the groups, with equal values.
fn versions(groups: &[GroupRow]) -> Vec<u8> {
    let mut version = bytemuck::cast_slice(groups).to_vec();
    version.resize(version_bytes(groups) as usize, 0);
    version.repeat(VERSIONS as usize)
}

/// Bytes from one version of the groups to the next.
fn version_bytes(groups: &[GroupRow]) -> u64 {
    (size_of_val(groups) as u64).next_multiple_of(ALIGNMENT)
}

/// A range of the table's buffer.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    bytes: u64,
}

/// The chunks of all buckets as bytes, each bucket where a binding may start, and these places in a
/// table that they are put into at `start`.
fn lay_out(buckets: &[Bucket], start: u64) -> (Vec<u8>, Vec<Place>) {
    let mut bytes: Vec<u8> = Vec::new();
    let mut places = Vec::new();
    for bucket in buckets {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
        let chunks: &[u8] = bytemuck::cast_slice(&bucket.chunks);
        places.push(Place { offset: start + bytes.len() as u64, bytes: chunks.len() as u64 });
        bytes.extend_from_slice(chunks);
    }
    (bytes, places)
}

fn slot<'a>(tensors: &'a HashMap<u64, Tensor>, row: &Row) -> Result<Slot<'a>, Error> {
    let find = |handle: u64| {
        tensors
            .get(&handle)
            .ok_or_else(|| Error::Table(format!("Cannot step as tensor {handle} does not exist")))
    };
    Ok(Slot {
        data: find(row.data)?,
        grad: find(row.grad)?,
        buffer: if row.buffer == 0 { None } else { Some(find(row.buffer)?) },
        first: row.first,
        group: row.group,
    })
}

/// The shader for tensors of one type.
fn source(dtype: Dtype) -> String {
    let text = include_str!("sgd.wgsl");
    match dtype {
        Dtype::F32 => text.to_owned(),
        Dtype::F16 => {
            let text = text.replace("alias Element = f32;", "alias Element = f16;");
            format!("enable f16;\n{text}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_element_type_into_the_shader() {
        assert!(source(Dtype::F16).contains("alias Element = f16;"));
        for dtype in [Dtype::F32, Dtype::F16] {
            naga::front::wgsl::parse_str(&source(dtype)).unwrap();
        }
    }
}
