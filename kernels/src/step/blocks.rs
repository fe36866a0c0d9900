//! The loop over blocks: reads parameters, gradients and momentum as they are stored, converts them in
//! registers, steps them, and stores them again. It is compiled once for each pair of storages, with
//! decoupled weight decay and without; what else differs is a branch for each block.

use super::arrays::{Arrays, Grad, pad};
use super::ballots::{Cast, Follow};
use super::plan::Loops;
use super::prepare::Preparation;
use super::storage::{Blocks, Buffer, Copied, Eight, Narrow, Split, Split24, Storage, Wide};
use super::vectors::Vectors;
use crate::formats::words::Word;
use crate::registers::{BLOCK, Body, Floats, Registers, each, load};
use crate::rule::{Factors, Lines, decay, momentum, update};
use crate::simd::Level;
use half::{bf16, f16};
use pulp::Simd;
use pulp::bytemuck::Pod;
use std::marker::PhantomData;

/// The ways in which parameters are stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Wide,
    F16,
    Bf16,
    CopiedF16,
    CopiedBf16,
    Split,
    Split24,
}

/// The types of gradients.
#[derive(Clone, Copy, Debug)]
pub(super) enum GradForm {
    F32,
    F16,
    Bf16,
}

/// How the arrays of a tensor are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storages {
    pub form: Form,
    /// Whether momentum has 8 bits.
    pub eight: bool,
    pub grad: GradForm,
    /// What chooses the loop. It is named by whoever needs it, so that a library without its users is
    /// linked without these loops.
    pub choose: fn(Storages, Lines) -> Loop,
}

/// A loop over blocks.
pub(super) type Loop = fn(Level, &Job, Blocks<'_>, Grads<'_>);

impl Storages {
    /// The loop for parameters and momentum that are stored so.
    pub fn walk(self, lines: Lines) -> Loop {
        match lines.decay {
            decay::DECOUPLED => self.walk_with::<true>(),
            _ => self.walk_with::<false>(),
        }
    }

    fn walk_with<const DECOUPLED: bool>(self) -> Loop {
        match (self.form, self.eight) {
            (Form::Wide, false) => walk::<Wide, Buffer, DECOUPLED>,
            (Form::Wide, true) => walk::<Wide, Eight, DECOUPLED>,
            (Form::F16, false) => walk::<Narrow<f16>, Buffer, DECOUPLED>,
            (Form::F16, true) => walk::<Narrow<f16>, Eight, DECOUPLED>,
            (Form::Bf16, false) => walk::<Narrow<bf16>, Buffer, DECOUPLED>,
            (Form::Bf16, true) => walk::<Narrow<bf16>, Eight, DECOUPLED>,
            (Form::CopiedF16, false) => walk::<Copied<f16>, Buffer, DECOUPLED>,
            (Form::CopiedF16, true) => walk::<Copied<f16>, Eight, DECOUPLED>,
            (Form::CopiedBf16, false) => walk::<Copied<bf16>, Buffer, DECOUPLED>,
            (Form::CopiedBf16, true) => walk::<Copied<bf16>, Eight, DECOUPLED>,
            (Form::Split, false) => walk::<Split, Buffer, DECOUPLED>,
            (Form::Split, true) => walk::<Split, Eight, DECOUPLED>,
            (Form::Split24, false) => walk::<Split24, Buffer, DECOUPLED>,
            (Form::Split24, true) => walk::<Split24, Eight, DECOUPLED>,
        }
    }

    /// The loop that casts ballots. Decoupled weight decay has no part in them.
    pub fn walk_casting(self, _: Lines) -> Loop {
        match (self.form, self.eight) {
            (Form::Wide | Form::CopiedF16 | Form::CopiedBf16, false) => {
                walk::<Cast<Wide>, Buffer, false>
            }
            (Form::Wide | Form::CopiedF16 | Form::CopiedBf16, true) => {
                walk::<Cast<Wide>, Eight, false>
            }
            (Form::F16, false) => walk::<Cast<Narrow<f16>>, Buffer, false>,
            (Form::F16, true) => walk::<Cast<Narrow<f16>>, Eight, false>,
            (Form::Bf16, false) => walk::<Cast<Narrow<bf16>>, Buffer, false>,
            (Form::Bf16, true) => walk::<Cast<Narrow<bf16>>, Eight, false>,
            (Form::Split, false) => walk::<Cast<Split>, Buffer, false>,
            (Form::Split, true) => walk::<Cast<Split>, Eight, false>,
            (Form::Split24, false) => walk::<Cast<Split24>, Buffer, false>,
            (Form::Split24, true) => walk::<Cast<Split24>, Eight, false>,
        }
    }

    /// The loop that follows ballots.
    pub fn walk_following(self, _: Lines) -> Loop {
        match self.form {
            Form::Wide => follow::<Wide>,
            Form::F16 => follow::<Narrow<f16>>,
            Form::Bf16 => follow::<Narrow<bf16>>,
            Form::CopiedF16 => follow::<Copied<f16>>,
            Form::CopiedBf16 => follow::<Copied<bf16>>,
            Form::Split => follow::<Split>,
            Form::Split24 => follow::<Split24>,
        }
    }

    /// The gradients of whole blocks.
    fn grads(self, grad: Grad<'_>) -> Grads<'_> {
        let (wide, words) = match grad {
            Grad::Kept(wide, words) => {
                (Clearing::Kept(wide.as_chunks().0), Clearing::Kept(words.as_chunks().0))
            }
            Grad::Cleared(wide, words) => (
                Clearing::Cleared(wide.as_chunks_mut().0),
                Clearing::Cleared(words.as_chunks_mut().0),
            ),
        };
        match self.grad {
            GradForm::F32 => Grads::F32(wide),
            GradForm::F16 => Grads::F16(words),
            GradForm::Bf16 => Grads::Bf16(words),
        }
    }
}

/// The gradients of whole blocks.
pub(super) enum Grads<'a> {
    F32(Clearing<'a, f32>),
    F16(Clearing<'a, u16>),
    Bf16(Clearing<'a, u16>),
}

/// Blocks that are read, and filled with zeros if that is wanted.
pub(super) enum Clearing<'a, T> {
    Kept(&'a [[T; BLOCK]]),
    Cleared(&'a mut [[T; BLOCK]]),
}

impl<T: Pod> Clearing<'_, T> {
    #[inline(always)]
    fn len(&self) -> usize {
        match self {
            Clearing::Kept(blocks) => blocks.len(),
            Clearing::Cleared(blocks) => blocks.len(),
        }
    }

    #[inline(always)]
    fn take<V: Pod, const K: usize>(&mut self, block: usize) -> [V; K] {
        match self {
            Clearing::Kept(blocks) => load(&blocks[block]),
            Clearing::Cleared(blocks) => {
                let values = load(&blocks[block]);
                blocks[block] = [T::zeroed(); BLOCK];
                values
            }
        }
    }
}

/// What is done to every element of a tensor.
#[derive(Clone, Copy)]
pub(super) struct Job {
    factors: Factors<f32>,
    lines: Lines,
    preparation: Preparation<f32>,
    /// What dithered rounding follows from.
    key: u32,
}

impl Job {
    pub(super) fn new(loops: &Loops<f32>, first: bool, key: u32) -> Self {
        let Loops { lines: [at_first, later], preparation, kernel, .. } = loops;
        let lines = if first { *at_first } else { *later };
        Job { factors: *kernel.factors(), lines, preparation: *preparation, key }
    }

    /// Steps the elements of a tensor from one on that begins a block.
    pub(super) fn run(
        &self,
        level: Level,
        storages: Storages,
        arrays: Arrays<'_>,
        grad: Grad<'_>,
        offset: usize,
    ) {
        let (length, first) = (grad.len(), offset / BLOCK);
        let whole = length - length % BLOCK;
        let (arrays, rest) = arrays.split_at(whole);
        let (grad, mut grad_rest) = grad.split_at(whole);
        let walk = (storages.choose)(storages, self.lines);
        walk(level, self, arrays.blocks(first as u32, self.key), storages.grads(grad));
        if whole < length {
            let number = (first + whole / BLOCK) as u32;
            let (wide, words) = grad_rest.read();
            let (wide, words) = (pad(wide), pad(words));
            rest.padded(|arrays| {
                let blocks = arrays.blocks(number, self.key);
                walk(level, self, blocks, storages.grads(Grad::Kept(&wide, &words)));
            });
            grad_rest.clear();
        }
    }
}

fn walk<P: Storage, M: Storage, const DECOUPLED: bool>(
    level: Level,
    job: &Job,
    blocks: Blocks<'_>,
    grads: Grads<'_>,
) {
    level.run_registers(Walk::<P, M, DECOUPLED> { job, blocks, grads, storages: PhantomData });
}

fn follow<P: Storage>(level: Level, job: &Job, blocks: Blocks<'_>, _: Grads<'_>) {
    let (factors, lines) = (job.factors, job.lines);
    level.run_registers(Follow::<P>::new(factors, lines, blocks));
}

/// The loop for parameters that are stored as `P` and momentum that is stored as `M`, with decoupled
/// weight decay or another.
struct Walk<'a, P, M, const DECOUPLED: bool> {
    job: &'a Job,
    blocks: Blocks<'a>,
    grads: Grads<'a>,
    storages: PhantomData<(P, M)>,
}

impl<P: Storage, M: Storage, const DECOUPLED: bool> Body for Walk<'_, P, M, DECOUPLED> {
    #[inline(always)]
    fn run<R: Registers, const K: usize>(self, r: R) {
        let Walk { job, mut blocks, mut grads, .. } = self;
        let decay = match job.lines.decay {
            _ if DECOUPLED => decay::DECOUPLED,
            decay::COUPLED => decay::COUPLED,
            _ => decay::NONE,
        };
        let stepper = Stepper::<R, K>::new(r, job, Lines { decay, ..job.lines });
        let count = grads.len();
        P::shorten(&mut blocks, count);
        if stepper.lines.momentum != momentum::NONE {
            M::shorten(&mut blocks, count);
        }
        for block in 0..count {
            if R::Simd::IS_SCALAR {
                stepper.step_apart::<P, M>(&mut blocks, &mut grads, block);
            } else {
                stepper.step::<P, M>(&mut blocks, &mut grads, block);
            }
        }
    }
}

/// What steps a block in registers.
struct Stepper<R: Registers, const K: usize> {
    r: R,
    factors: Factors<[Floats<R>; K]>,
    lines: Lines,
    preparation: Preparation<f32>,
}

impl<R: Registers, const K: usize> Stepper<R, K> {
    #[inline(always)]
    fn new(r: R, &Job { factors, preparation, .. }: &Job, lines: Lines) -> Self {
        let factors = factors.map(|factor| [r.simd().splat_f32s(factor); K]);
        Stepper { r, factors, lines, preparation }
    }

    #[inline(always)]
    fn step<P: Storage, M: Storage>(
        &self,
        blocks: &mut Blocks<'_>,
        grads: &mut Grads<'_>,
        block: usize,
    ) {
        let Stepper { r, lines, .. } = *self;
        let g = grads.take(r, block);
        let p = P::load(r, blocks, block);
        let b = if lines.reads_buffer() { M::load(r, blocks, block) } else { g };
        let (p, b) = self.update(p, g, b);
        P::store(r, blocks, block, p);
        if lines.momentum != momentum::NONE {
            M::store(r, blocks, block, b);
        }
    }

    /// As [`Stepper::step`], of functions that all storages share: without vectors each of them is long.
    #[inline(always)]
    fn step_apart<P: Storage, M: Storage>(
        &self,
        blocks: &mut Blocks<'_>,
        grads: &mut Grads<'_>,
        block: usize,
    ) {
        let Stepper { r, lines, .. } = *self;
        let g = grads.take_apart(r, block);
        let p = P::load_apart(r, blocks, block);
        let b = if lines.reads_buffer() { M::load_apart(r, blocks, block) } else { g };
        let (p, b) = self.update_apart(p, g, b);
        P::store_apart(r, blocks, block, p);
        if lines.momentum != momentum::NONE {
            M::store_apart(r, blocks, block, b);
        }
    }

    /// The new parameters and momentum of a block.
    #[inline(always)]
    fn update(
        &self,
        p: [Floats<R>; K],
        mut g: [Floats<R>; K],
        b: [Floats<R>; K],
    ) -> ([Floats<R>; K], [Floats<R>; K]) {
        let Stepper { r, factors, lines, preparation } = self;
        if !preparation.is_neutral() {
            let prepare = preparation.vectors(r.simd());
            g = each!(K, i => prepare.run(g[i]));
        }
        update(Vectors::<R::Simd, K>(r.simd()), factors, *lines, p, g, b)
    }

    #[inline(never)]
    fn update_apart(
        &self,
        p: [Floats<R>; K],
        g: [Floats<R>; K],
        b: [Floats<R>; K],
    ) -> ([Floats<R>; K], [Floats<R>; K]) {
        self.update(p, g, b)
    }
}

impl Grads<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        match self {
            Grads::F32(blocks) => blocks.len(),
            Grads::F16(blocks) | Grads::Bf16(blocks) => blocks.len(),
        }
    }

    #[inline(always)]
    fn take<R: Registers, const K: usize>(&mut self, r: R, block: usize) -> [Floats<R>; K] {
        match self {
            Grads::F32(blocks) => blocks.take(block),
            Grads::F16(blocks) => f16::widen(r, blocks.take(block)),
            Grads::Bf16(blocks) => bf16::widen(r, blocks.take(block)),
        }
    }

    #[inline(never)]
    fn take_apart<R: Registers, const K: usize>(&mut self, r: R, block: usize) -> [Floats<R>; K] {
        self.take(r, block)
    }
}
