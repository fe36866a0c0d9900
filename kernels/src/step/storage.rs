//! Where the parameters and the momentum of a block come from and go to, for a loop that is compiled for
//! each of the ways.

use crate::formats::words::Word;
use crate::formats::{dither, momentum8, split};
use crate::registers::{BLOCK, Floats, Registers, load, store};
use std::marker::PhantomData;

/// Whole blocks of a tensor: those of its arrays that it has.
pub(super) struct Blocks<'a> {
    /// Parameters in float32, or master weights.
    pub wide: &'a mut [[f32; BLOCK]],
    /// Parameters in a 16-bit type.
    pub words: &'a mut [[u16; BLOCK]],
    /// 16-bit corrections.
    pub lower_words: &'a mut [[u16; BLOCK]],
    /// 8-bit corrections.
    pub lower_bytes: &'a mut [[i8; BLOCK]],
    /// Momentum in float32.
    pub buffer: &'a mut [[f32; BLOCK]],
    /// Momentum in 8 bits ...
    pub values: &'a mut [[i8; BLOCK]],
    /// ... and its scales.
    pub scales: &'a mut [u8],
    /// Ballots that are cast or followed.
    pub ballots: &'a mut [u64],
    /// The number of the first block in the tensor.
    pub first: u32,
    /// What dithered rounding follows from.
    pub key: u32,
}

impl Blocks<'_> {
    fn number(&self, block: usize) -> u32 {
        self.first.wrapping_add(block as u32)
    }
}

/// Shortens an array of blocks to so many, so that loops over these need no further checks.
macro_rules! shorten {
    ($blocks:expr, $count:expr, $($array:ident),+) => {
        $($blocks.$array = &mut std::mem::take(&mut $blocks.$array)[..$count];)+
    };
}

/// A way to store parameters or momentum.
pub(super) trait Storage: 'static {
    /// Shortens what it uses to so many blocks.
    fn shorten(blocks: &mut Blocks<'_>, count: usize);
    /// The numbers of a block.
    fn load<R: Registers, const K: usize>(r: R, from: &Blocks<'_>, block: usize) -> [Floats<R>; K];
    /// Stores the numbers of a block.
    fn store<R: Registers, const K: usize>(
        r: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    );

    /// As [`Storage::load`], in a function of its own.
    #[inline(never)]
    fn load_apart<R: Registers, const K: usize>(
        r: R,
        from: &Blocks<'_>,
        block: usize,
    ) -> [Floats<R>; K] {
        Self::load(r, from, block)
    }
    /// As [`Storage::store`], in a function of its own.
    #[inline(never)]
    fn store_apart<R: Registers, const K: usize>(
        r: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    ) {
        Self::store(r, to, block, values);
    }
}

/// Parameters in float32.
pub(super) struct Wide;

impl Storage for Wide {
    #[inline(always)]
    fn shorten(blocks: &mut Blocks<'_>, count: usize) {
        shorten!(blocks, count, wide);
    }
    #[inline(always)]
    fn load<R: Registers, const K: usize>(_: R, from: &Blocks<'_>, block: usize) -> [Floats<R>; K] {
        load(&from.wide[block])
    }
    #[inline(always)]
    fn store<R: Registers, const K: usize>(
        _: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    ) {
        store(&mut to.wide[block], values);
    }
}

/// Parameters in a 16-bit type, rounded to the nearest.
pub(super) struct Narrow<W>(PhantomData<W>);

impl<W: Word> Storage for Narrow<W> {
    #[inline(always)]
    fn shorten(blocks: &mut Blocks<'_>, count: usize) {
        shorten!(blocks, count, words);
    }
    #[inline(always)]
    fn load<R: Registers, const K: usize>(r: R, from: &Blocks<'_>, block: usize) -> [Floats<R>; K] {
        let words: [R::Words; K] = load(&from.words[block]);
        W::widen(r, words)
    }
    #[inline(always)]
    fn store<R: Registers, const K: usize>(
        r: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    ) {
        store::<_, R::Words, K>(&mut to.words[block], W::narrow(r, values));
    }
}

/// float32 masters, and the nearest of a 16-bit type beside them.
pub(super) struct Copied<W>(PhantomData<W>);

impl<W: Word> Storage for Copied<W> {
    #[inline(always)]
    fn shorten(blocks: &mut Blocks<'_>, count: usize) {
        shorten!(blocks, count, wide, words);
    }
    #[inline(always)]
    fn load<R: Registers, const K: usize>(r: R, from: &Blocks<'_>, block: usize) -> [Floats<R>; K] {
        Wide::load(r, from, block)
    }
    #[inline(always)]
    fn store<R: Registers, const K: usize>(
        r: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    ) {
        Wide::store(r, to, block, values);
        Narrow::<W>::store(r, to, block, values);
    }
}

/// Parameters in bfloat16 with 16-bit corrections.
pub(super) struct Split;

impl Storage for Split {
    #[inline(always)]
    fn shorten(blocks: &mut Blocks<'_>, count: usize) {
        shorten!(blocks, count, words, lower_words);
    }
    #[inline(always)]
    fn load<R: Registers, const K: usize>(r: R, from: &Blocks<'_>, block: usize) -> [Floats<R>; K] {
        split::join(r, &from.words[block], &from.lower_words[block])
    }
    #[inline(always)]
    fn store<R: Registers, const K: usize>(
        r: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    ) {
        split::split(r, values, &mut to.words[block], &mut to.lower_words[block]);
    }
}

/// Parameters in bfloat16 with 8-bit corrections.
pub(super) struct Split24;

/// What sets the numbers of 8-bit corrections apart from those of 8-bit momentum.
const CORRECTIONS: u32 = 0x7f4a_7c15;

impl Storage for Split24 {
    #[inline(always)]
    fn shorten(blocks: &mut Blocks<'_>, count: usize) {
        shorten!(blocks, count, words, lower_bytes);
    }
    #[inline(always)]
    fn load<R: Registers, const K: usize>(r: R, from: &Blocks<'_>, block: usize) -> [Floats<R>; K] {
        split::join24(r, &from.words[block], &from.lower_bytes[block])
    }
    #[inline(always)]
    fn store<R: Registers, const K: usize>(
        r: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    ) {
        let key = to.key.wrapping_add(CORRECTIONS);
        let numbers = dither::numbers(r, key, to.number(block));
        let (words, bytes) = (&mut to.words[block], &mut to.lower_bytes[block]);
        split::split24(r, values, numbers, words, bytes);
    }
}

/// Momentum in float32.
pub(super) struct Buffer;

impl Storage for Buffer {
    #[inline(always)]
    fn shorten(blocks: &mut Blocks<'_>, count: usize) {
        shorten!(blocks, count, buffer);
    }
    #[inline(always)]
    fn load<R: Registers, const K: usize>(_: R, from: &Blocks<'_>, block: usize) -> [Floats<R>; K] {
        load(&from.buffer[block])
    }
    #[inline(always)]
    fn store<R: Registers, const K: usize>(
        _: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    ) {
        store(&mut to.buffer[block], values);
    }
}

/// Momentum in 8 bits.
pub(super) struct Eight;

impl Storage for Eight {
    #[inline(always)]
    fn shorten(blocks: &mut Blocks<'_>, count: usize) {
        shorten!(blocks, count, values, scales);
    }
    #[inline(always)]
    fn load<R: Registers, const K: usize>(r: R, from: &Blocks<'_>, block: usize) -> [Floats<R>; K] {
        momentum8::decode(r, &from.values[block], from.scales[block])
    }
    #[inline(always)]
    fn store<R: Registers, const K: usize>(
        r: R,
        to: &mut Blocks<'_>,
        block: usize,
        values: [Floats<R>; K],
    ) {
        let numbers = dither::numbers(r, to.key, to.number(block));
        to.scales[block] = momentum8::encode(r, values, numbers, &mut to.values[block]);
    }
}
