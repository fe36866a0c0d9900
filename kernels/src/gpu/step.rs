//! The step on the device: tables uploaded when they change, then one dispatch per bucket.

use super::arena::{ALIGNMENT, Arena};
use super::context::Context;
use super::kernel::{Binding, bind_group, compile, pipeline, storage_layout};
use super::table::{self, Bucket, GroupRow, Options, Slot};
use super::tensor::{Dtype, Tensor};
use crate::error::Error;
use crate::rule::Hyperparameters;
use std::collections::HashMap;
use wgpu::{BindGroup, BindGroupLayout, Buffer, BufferUsages, ComputePass, ComputePipeline};

/// How many different steps keep their tables; the one used longest ago goes first.
const MAX_PREPARED: usize = 256;

/// The bindings of `sgd.wgsl`: three blocks, the chunks and the groups.
const BINDINGS: usize = 5;
const FIRST_TABLE: usize = 3;

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
    table: Buffer,
    dispatches: Vec<Dispatch>,
}

#[derive(Debug)]
struct Dispatch {
    pipeline: ComputePipeline,
    bind_group: BindGroup,
    workgroups: u32,
}

/// What a step reads: where tensors lie, and the device.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The device.
    pub context: &'a Context,
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
            layout: storage_layout(context, BINDINGS, |binding| binding >= FIRST_TABLE),
            modules: HashMap::new(),
            pipelines: HashMap::new(),
            prepared: Vec::new(),
        }
    }

    /// Brings the tables of a step to the device, as far as they are not there, and returns the
    /// step with the number of bytes that were sent. After an error nothing has been queued.
    pub fn prepare(
        &mut self,
        world: World<'_>,
        rows: &[Row],
        hyperparameters: &[Hyperparameters],
    ) -> Result<(&Prepared, u64), Error> {
        let known = self.prepared.iter().rposition(|prepared| prepared.fits(rows, hyperparameters));
        let sent = match known {
            Some(index) => {
                self.prepared[index..].rotate_left(1);
                self.prepared.last_mut().map_or(0, |p| p.refresh(world.context, hyperparameters))
            }
            None => {
                let prepared = self.build(world, rows, hyperparameters)?;
                if self.prepared.len() >= MAX_PREPARED {
                    self.prepared.remove(0);
                }
                let sent = prepared.table.size();
                self.prepared.push(prepared);
                sent
            }
        };
        let last = self.prepared.len() - 1;
        Ok((&self.prepared[last], sent))
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
        let slots = rows.iter().map(|row| slot(world.tensors, row)).collect::<Result<Vec<_>, _>>()?;
        let buckets = table::build(&slots, hyperparameters, self.chunk_elements)?;
        let groups: Vec<_> = hyperparameters.iter().map(table::group_row).collect();
        let (bytes, places) = lay_out(&groups, &buckets);
        let context = world.context;
        let table = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("descent table"),
            size: bytes.len() as u64,
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
        context.queue.write_buffer(&table, 0, &bytes);
        context.check()?;
        let options = hyperparameters.iter().map(Options::of).collect();
        Ok(Prepared { rows: rows.to_vec(), options, groups, table, dispatches })
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
        Ok(Dispatch { pipeline, bind_group, workgroups })
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
        if !self.modules.contains_key(&dtype) {
            let text = wgpu::ShaderSource::Wgsl(source(dtype).into());
            self.modules.insert(dtype, compile(context, text)?);
        }
        let constants = [
            ("DECAY", options.decay),
            ("MOMENTUM", options.momentum),
            ("NESTEROV", options.nesterov),
            ("SIGN", options.sign),
        ]
        .map(|(name, on)| (name, f64::from(u8::from(on))));
        let module = &self.modules[&dtype];
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

    /// Sends the groups that have changed.
    fn refresh(&mut self, context: &Context, hyperparameters: &[Hyperparameters]) -> u64 {
        let mut sent = 0;
        for (index, (old, h)) in self.groups.iter_mut().zip(hyperparameters).enumerate() {
            let new = table::group_row(h);
            if *old != new {
                let bytes = bytemuck::bytes_of(&new);
                context.queue.write_buffer(&self.table, (index * bytes.len()) as u64, bytes);
                sent += bytes.len() as u64;
                *old = new;
            }
        }
        sent
    }

    /// Records the step.
    pub fn record(&self, pass: &mut ComputePass<'_>) {
        for dispatch in &self.dispatches {
            pass.set_pipeline(&dispatch.pipeline);
            pass.set_bind_group(0, &dispatch.bind_group, &[]);
            pass.dispatch_workgroups(dispatch.workgroups, 1, 1);
        }
    }
}

/// A range of the table's buffer.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    bytes: u64,
}

/// The bytes of a table: the groups, then the chunks of each bucket, each where a binding may start.
fn lay_out(groups: &[GroupRow], buckets: &[Bucket]) -> (Vec<u8>, Vec<Place>) {
    let mut bytes: Vec<u8> = bytemuck::cast_slice(groups).to_vec();
    let mut places = Vec::new();
    for bucket in buckets {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
        let chunks: &[u8] = bytemuck::cast_slice(&bucket.chunks);
        places.push(Place { offset: bytes.len() as u64, bytes: chunks.len() as u64 });
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
