//! The step on the device: tables uploaded when they change, then a few dispatches: those which measure
//! gradients, the one that decides, and one per bucket of chunks.

use super::asked::{Asked, Row, World, Written};
use super::chunks::{self, First, Slot};
use super::context::Context;
use super::layout::Parts;
use super::pending::Part;
use super::pieces::Pieces;
use super::pipelines::Pipelines;
use super::prepared::{Prepared, first_word};
use super::started::Started;
use super::tensor::Tensor;
use crate::error::Error;
use std::collections::HashMap;
use wgpu::{Buffer, CommandEncoder};

/// How many different steps keep their tables; the one used longest ago goes first.
const MAX_PREPARED: usize = 256;

/// Compiled pipelines, and the tables of the steps that have been taken.
#[derive(Debug)]
pub struct Stepper {
    chunk_elements: u64,
    pipelines: Pipelines,
    started: Started,
    prepared: Vec<Prepared>,
    /// What the last step decided, if it did.
    decision: Option<Buffer>,
}

impl Stepper {
    /// A stepper that cuts tensors into chunks of `chunk_elements` elements.
    pub fn new(context: &Context, chunk_elements: u64) -> Self {
        Stepper {
            chunk_elements,
            pipelines: Pipelines::new(context),
            started: Started::new(context),
            prepared: Vec::new(),
            decision: None,
        }
    }

    /// Queues a step, after bringing its tables to the device as far as they are not there, and
    /// returns the number of bytes that were sent. After an error nothing has been queued.
    pub fn step(&mut self, world: World<'_>, asked: &Asked<'_>) -> Result<u64, Error> {
        let effects = asked.request.effects();
        let known = self.prepared.iter().rposition(|prepared| prepared.fits(asked, effects));
        let sent = match known {
            Some(index) => {
                self.prepared[index..].rotate_left(1);
                self.prepared.last_mut().map_or(Ok(0), |prepared| prepared.refresh(world, asked))?
            }
            None => {
                let prepared = self.prepare(world, asked)?;
                if self.prepared.len() >= MAX_PREPARED {
                    self.prepared.remove(0);
                }
                let sent = prepared.sent();
                self.prepared.push(prepared);
                sent
            }
        };
        if let Some(prepared) = self.prepared.last() {
            world.queue.push(prepared.work())?;
            self.decision = prepared.decision().cloned();
        }
        Ok(sent)
    }

    /// Has what the last step decided copied to where the host can read it.
    pub fn report(
        &self,
        context: &Context,
        encoder: &mut CommandEncoder,
        bytes: u64,
    ) -> Result<Part, Error> {
        match &self.decision {
            Some(decision) if bytes <= decision.size() => {
                Ok(Part::copy(context, encoder, decision, 0, bytes))
            }
            _ => Err(Error::Table("Cannot report as the last step decided nothing".to_owned())),
        }
    }

    /// Which momentum buffers the device knows to have been written.
    pub fn started(&self) -> &Started {
        &self.started
    }

    /// Forgets a tensor that is gone.
    pub fn forget(&mut self, handle: u64) {
        self.started.release(handle);
    }

    /// Lets go of the blocks that prepared steps hold.
    pub fn forget_prepared(&mut self) {
        self.prepared.clear();
    }

    fn prepare(&mut self, world: World<'_>, asked: &Asked<'_>) -> Result<Prepared, Error> {
        let unsure = asked.rows.iter().filter(|row| asked.is_unsure(row)).map(|row| row.buffer);
        if self.started.reserve(world.context, world.queue, unsure)? {
            self.forget_prepared();
        }
        let (slots, entries) = self.slots(world, asked)?;
        let measured = asked.request.is_measured();
        let groups = asked.groups.len();
        let parts = Parts {
            asked,
            buckets: chunks::build(&slots, asked.groups, self.chunk_elements)?,
            pieces: if measured { Pieces::cut(&slots, groups) } else { Pieces::none(groups) },
            entries,
            started: self.started.words(),
        };
        Prepared::new(world, &mut self.pipelines, &parts)
    }

    /// The parameters, and the words of `shape` for those of which the host is not sure.
    fn slots<'a>(
        &self,
        world: World<'a>,
        asked: &Asked<'_>,
    ) -> Result<(Vec<Slot<'a>>, Vec<u32>), Error> {
        let (mut slots, mut entries) = (Vec::new(), Vec::new());
        for row in asked.rows {
            let place = if asked.is_unsure(row) { self.started.place(row.buffer) } else { None };
            let first = match (place, row.written) {
                (Some(_), _) => First::Word(first_word(asked.groups.len(), entries.len())),
                (None, Written::No) => First::Yes,
                (None, _) => First::No,
            };
            entries.extend(place.map(|at| 2 * at + u32::from(row.written == Written::No)));
            slots.push(slot(world.tensors, row, first)?);
        }
        Ok((slots, entries))
    }
}

fn slot<'a>(tensors: &'a HashMap<u64, Tensor>, row: &Row, first: First) -> Result<Slot<'a>, Error> {
    let find = |handle: u64| {
        tensors
            .get(&handle)
            .ok_or_else(|| Error::Table(format!("Cannot step as tensor {handle} does not exist")))
    };
    Ok(Slot {
        data: find(row.data)?,
        grad: find(row.grad)?,
        buffer: if row.buffer == 0 { None } else { Some(find(row.buffer)?) },
        first,
        group: row.group,
    })
}
