//! One parameter that is computed with in float32 and whose arrays are stored in other ways.

use super::arrays::{Arrays, Grad};
use super::blocks::{Form, GradForm, Job, Storages};
use super::failure::fail;
use super::plan::Plan;
use crate::average::Blend;
use crate::dtype::{Element, TILE};
use crate::error::Error;
use crate::formats::{dither, momentum8};
use crate::gradients::addends::Addends;
use crate::parallel::{Task, middle_of};
use crate::random;
use crate::simd::Level;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use pulp::bytemuck::{cast_slice, cast_slice_mut};

/// A parameter, and what is stepped in its place.
#[derive(Debug)]
pub enum Param<'a> {
    /// float32
    F32(&'a mut [f32]),
    /// float16
    F16(&'a mut [f16]),
    /// bfloat16
    Bf16(&'a mut [bf16]),
    /// float16 beside float32 master weights
    F16Master(&'a mut [f16], &'a mut [f32]),
    /// bfloat16 beside float32 master weights
    Bf16Master(&'a mut [bf16], &'a mut [f32]),
    /// bfloat16, of which 16-bit corrections make master weights
    Split(&'a mut [bf16], &'a mut [i16]),
    /// bfloat16, of which 8-bit corrections make master weights
    Split24(&'a mut [bf16], &'a mut [i8]),
}

/// The momentum of a parameter.
#[derive(Debug)]
pub enum Momentum<'a> {
    /// There is none.
    None,
    /// float32
    F32(&'a mut [f32]),
    /// 8 bits: values and scales
    Eight(&'a mut [i8], &'a mut [u8]),
}

/// The gradient of a parameter: float32 or of a 16-bit type.
#[derive(Debug)]
pub enum MixedGradient<'a> {
    /// float32 that is only read
    F32(&'a [f32]),
    /// float16 that is only read
    F16(&'a [f16]),
    /// bfloat16 that is only read
    Bf16(&'a [bf16]),
    /// float32 that is filled with zeros once it has been read
    ClearedF32(&'a mut [f32]),
    /// float16 that is filled with zeros once it has been read
    ClearedF16(&'a mut [f16]),
    /// bfloat16 that is filled with zeros once it has been read
    ClearedBf16(&'a mut [bf16]),
}

/// One parameter of a step, with arrays of one length. [`Mixed::new`] puts them together.
#[derive(Debug)]
pub struct Mixed<'a> {
    storages: Storages,
    arrays: Arrays<'a>,
    grad: Grad<'a>,
    length: usize,
    /// The element of the tensor that this part begins with.
    offset: usize,
    /// Whether the momentum has never been written: it is then not read.
    pub first: bool,
    /// Whether a parameter of a 16-bit type, with a float32 master or none, is rounded by random bits.
    pub stochastic: bool,
    /// The index of its group.
    pub group: usize,
    /// The number of the tensor, by which its random bits differ from others'.
    pub number: u32,
}

impl<'a> Mixed<'a> {
    /// A parameter of the first group after its first step, rounded to the nearest.
    pub fn new(param: Param<'a>, grad: MixedGradient<'a>, momentum: Momentum<'a>) -> Self {
        let (form, arrays) = (form_of(&param), arrays_of(param));
        let length = arrays.wide.len().max(arrays.words.len());
        let (eight, arrays) = match momentum {
            Momentum::None => (false, arrays),
            Momentum::F32(buffer) => (false, Arrays { buffer, ..arrays }),
            Momentum::Eight(values, scales) => (true, Arrays { values, scales, ..arrays }),
        };
        let (grad_form, grad) = grad_of(grad);
        Mixed {
            storages: Storages { form, eight, grad: grad_form, choose: Storages::walk },
            arrays,
            grad,
            length,
            offset: 0,
            first: false,
            stochastic: false,
            group: 0,
            number: 0,
        }
    }

    /// The same parameter, of which each element says where it is to move instead of moving: 32 of them
    /// to a ballot, whose lower half has a bit for those that are to rise and whose upper half has one for
    /// those that are to fall. Its group steps by signs, with a learning rate of minus infinity.
    pub fn casting(mut self, ballots: &'a mut [u64]) -> Self {
        (self.arrays.ballots, self.stochastic) = (ballots, false);
        self.storages.choose = Storages::walk_casting;
        self
    }

    /// The same parameter, which moves along 1, -1 or 0 for each element, as ballots have it, instead of its
    /// gradient. Its group has no momentum.
    pub fn following(mut self, ballots: &'a mut [u64]) -> Self {
        self.arrays.ballots = ballots;
        self.storages.choose = Storages::walk_following;
        self
    }

    /// The same parameter as the part of a tensor that begins with so many elements, whole blocks of
    /// momentum: its random bits are those of the whole.
    pub fn starting_at(self, offset: usize) -> Self {
        Mixed { offset, ..self }
    }

    pub(super) fn reborrow(&mut self) -> Mixed<'_> {
        Mixed { arrays: self.arrays.reborrow(), grad: self.grad.reborrow(), ..*self }
    }

    /// Checks that the group exists, and that all arrays are of one length; returns [`Task::bytes`].
    pub(super) fn check(&self, index: usize, plan: &Plan) -> Result<usize, Error> {
        let Some(loops) = plan.loops::<f32>().get(self.group) else {
            return Err(fail(index, "its group does not exist"));
        };
        let (n, Storages { form, eight, .. }) = (self.length, self.storages);
        if self.grad.len() != n {
            return Err(fail(index, "its gradient has another length"));
        }
        let Arrays { wide, words, lower_words, lower_bytes, buffer, values, scales, .. } =
            &self.arrays;
        let fits = match form {
            Form::Wide | Form::F16 | Form::Bf16 => true,
            Form::CopiedF16 | Form::CopiedBf16 => wide.len() == words.len(),
            Form::Split => lower_words.len() == n,
            Form::Split24 => lower_bytes.len() == n,
        };
        if !fits {
            return Err(fail(index, "its master copy has another length"));
        }
        let found = [buffer.len(), values.len(), scales.len()];
        let whole = if eight { [0, n, momentum8::scales(n)] } else { [n, 0, 0] };
        match found {
            _ if found == whole => Ok(self.bytes()),
            [0, 0, 0] if !loops.buffered => Ok(self.bytes()),
            [0, 0, 0] => Err(fail(index, "it has no momentum buffer")),
            _ => Err(fail(index, "its momentum buffer has another length")),
        }
    }

    /// The first elements, and the rest if there is one.
    pub(super) fn cut(self, middle: usize) -> (Self, Option<Self>) {
        if middle >= self.length {
            return (self, None);
        }
        let (arrays, arrays_rest) = self.arrays.split_at(middle);
        let (grad, grad_rest) = self.grad.split_at(middle);
        let rest = Mixed {
            arrays: arrays_rest,
            grad: grad_rest,
            length: self.length - middle,
            offset: self.offset + middle,
            ..self
        };
        (Mixed { arrays, grad, length: middle, ..self }, Some(rest))
    }

    /// Steps a part whose parameters are rounded to the nearest.
    fn step(self, job: &Job, level: Level) {
        job.run(level, self.storages, self.arrays, self.grad, self.offset);
    }

    /// Steps a tile whose parameters are rounded by random bits.
    fn step_by_chance(mut self, job: &Job, level: Level, bits: &mut random::Bits) {
        let (mut random, mut tile) = ([0; TILE], [0.0; TILE]);
        let (random, tile) = (&mut random[..self.length], &mut tile[..self.length]);
        bits.fill(random);
        let (form, words) = (self.storages.form, std::mem::take(&mut self.arrays.words));
        self.storages.form = Form::Wide;
        if self.arrays.wide.is_empty() {
            form.load(level, words, tile);
            let arrays = Arrays { wide: tile, ..self.arrays.reborrow() };
            job.run(level, self.storages, arrays, self.grad, self.offset);
            form.scatter(level, tile, words, random);
        } else {
            let arrays = self.arrays.reborrow();
            job.run(level, self.storages, arrays, self.grad, self.offset);
            form.scatter(level, self.arrays.wide, words, random);
        }
    }
}

impl Task for Mixed<'_> {
    type Plan = Plan;

    fn bytes(&self) -> usize {
        size_of::<f32>() * self.length
    }

    fn halve(self) -> (Self, Self) {
        let middle = middle_of(self.length);
        let (part, rest) = self.cut(middle);
        (part, rest.expect("a part that is halved is longer than a line"))
    }

    /// Steps all of it at once, or a tile at a time if its parameters are rounded by random bits.
    fn run(self, plan: &Plan, level: Level) {
        if !self.stochastic || matches!(self.storages.form, Form::Wide) {
            let job = self.job(plan);
            return self.step(&job, level);
        }
        self.run_tiled(plan, level, |tile, step| step(tile));
    }
}

impl Mixed<'_> {
    fn job(&self, plan: &Plan) -> Job {
        let key = dither::key(plan.source(), self.number);
        Job::new(&plan.loops::<f32>()[self.group], self.first, key)
    }

    /// The number of elements.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Updates an average by the parameters, or by their master weights.
    pub(super) fn update_average(&self, blend: Blend, level: Level, average: &mut [f32]) {
        let Arrays { wide, words, lower_words, lower_bytes, .. } = &self.arrays;
        match self.storages.form {
            Form::Wide | Form::CopiedF16 | Form::CopiedBf16 => {
                blend.update::<f32>(level, wide, average);
            }
            Form::F16 => blend.update::<f16>(level, words.reinterpret_cast(), average),
            Form::Bf16 => blend.update::<bf16>(level, words.reinterpret_cast(), average),
            Form::Split => {
                let lower: &[i16] = cast_slice(lower_words);
                blend.update_split(level, words.reinterpret_cast(), lower, average);
            }
            Form::Split24 => {
                blend.update_split(level, words.reinterpret_cast(), lower_bytes, average);
            }
        }
    }

    /// As [`Task::run`], with gradients that others are added to.
    pub(super) fn run_summed(self, addends: Addends<'_>, plan: &Plan, level: Level) {
        let start = self.offset;
        self.run_tiled(plan, level, |tile, step| {
            let mut sum = [0.0; TILE];
            let sum = &mut sum[..tile.length];
            tile.load_sum(level, addends.after(tile.offset - start), sum);
            let storages = Storages { grad: GradForm::F32, ..tile.storages };
            let Mixed { mut grad, arrays, .. } = tile;
            step(Mixed { storages, arrays, grad: Grad::Kept(sum, &[]), ..tile });
            grad.clear();
        });
    }

    /// The sums of the gradients and others.
    fn load_sum(&self, level: Level, addends: Addends<'_>, sum: &mut [f32]) {
        let (wide, words) = self.grad.read();
        match self.storages.grad {
            GradForm::F32 => {
                sum.copy_from_slice(wide);
                addends.add::<f32, f32>(level, 0, sum, false);
            }
            GradForm::F16 => {
                f16::load(level, words.reinterpret_cast(), sum);
                addends.add::<f16, f32>(level, 0, sum, false);
            }
            GradForm::Bf16 => {
                bf16::load(level, words.reinterpret_cast(), sum);
                addends.add::<bf16, f32>(level, 0, sum, false);
            }
        }
    }

    /// Hands each tile to a function, with what steps it.
    fn run_tiled(
        self,
        plan: &Plan,
        level: Level,
        mut run: impl FnMut(Mixed<'_>, &mut dyn FnMut(Mixed<'_>)),
    ) {
        let job = self.job(plan);
        let stochastic = self.stochastic && !matches!(self.storages.form, Form::Wide);
        let mut bits = stochastic.then(|| plan.source().bits(self.number, self.offset));
        let mut rest = Some(self);
        while let Some(all) = rest {
            let (tile, next) = all.cut(TILE);
            run(tile, &mut |tile| match &mut bits {
                Some(bits) => tile.step_by_chance(&job, level, bits),
                None => tile.step(&job, level),
            });
            rest = next;
        }
    }
}

impl Form {
    /// Reads parameters of a 16-bit type.
    fn load(self, level: Level, words: &[u16], to: &mut [f32]) {
        match self {
            Form::F16 | Form::CopiedF16 => f16::load(level, words.reinterpret_cast(), to),
            _ => bf16::load(level, words.reinterpret_cast(), to),
        }
    }

    /// Writes one of the two neighbors of each value, chosen by random bits.
    fn scatter(self, level: Level, from: &[f32], words: &mut [u16], bits: &[u16]) {
        match self {
            Form::F16 | Form::CopiedF16 => {
                f16::scatter(level, from, words.reinterpret_cast_mut(), bits);
            }
            _ => bf16::scatter(level, from, words.reinterpret_cast_mut(), bits),
        }
    }
}

fn form_of(param: &Param<'_>) -> Form {
    match param {
        Param::F32(_) => Form::Wide,
        Param::F16(_) => Form::F16,
        Param::Bf16(_) => Form::Bf16,
        Param::F16Master(..) => Form::CopiedF16,
        Param::Bf16Master(..) => Form::CopiedBf16,
        Param::Split(..) => Form::Split,
        Param::Split24(..) => Form::Split24,
    }
}

fn arrays_of(param: Param<'_>) -> Arrays<'_> {
    let mut arrays = Arrays::default();
    match param {
        Param::F32(values) => arrays.wide = values,
        Param::F16(values) => arrays.words = values.reinterpret_cast_mut(),
        Param::Bf16(values) => arrays.words = values.reinterpret_cast_mut(),
        Param::F16Master(values, masters) => {
            (arrays.words, arrays.wide) = (values.reinterpret_cast_mut(), masters);
        }
        Param::Bf16Master(values, masters) => {
            (arrays.words, arrays.wide) = (values.reinterpret_cast_mut(), masters);
        }
        Param::Split(values, corrections) => {
            arrays.words = values.reinterpret_cast_mut();
            arrays.lower_words = cast_slice_mut(corrections);
        }
        Param::Split24(values, corrections) => {
            (arrays.words, arrays.lower_bytes) = (values.reinterpret_cast_mut(), corrections);
        }
    }
    arrays
}

fn grad_of(grad: MixedGradient<'_>) -> (GradForm, Grad<'_>) {
    match grad {
        MixedGradient::F32(wide) => (GradForm::F32, Grad::Kept(wide, &[])),
        MixedGradient::F16(half) => (GradForm::F16, Grad::Kept(&[], half.reinterpret_cast())),
        MixedGradient::Bf16(half) => (GradForm::Bf16, Grad::Kept(&[], half.reinterpret_cast())),
        MixedGradient::ClearedF32(wide) => (GradForm::F32, Grad::Cleared(wide, &mut [])),
        MixedGradient::ClearedF16(half) => {
            (GradForm::F16, Grad::Cleared(&mut [], half.reinterpret_cast_mut()))
        }
        MixedGradient::ClearedBf16(half) => {
            (GradForm::Bf16, Grad::Cleared(&mut [], half.reinterpret_cast_mut()))
        }
    }
}
