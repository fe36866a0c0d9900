/** What a kernel reads and writes one vector after another, in every format that arrays have. */

import type { Dtype } from "../../../core/dtype.ts";
import { isSixteenBit } from "../../../core/dtype.ts";
import { Momentum8Reader, storeMomentum8 } from "./momentum8.ts";
import type { Random } from "./momentum8.ts";
import { extend, join, narrowTo, widen } from "./sixteen_bit.ts";
import { joinSplit, loadSplit, storeSplit, toSplit } from "./split_master.ts";
import type { SplitAreas, SplitWords } from "./split_master.ts";
import { VECTOR } from "./writer.ts";
import type { Area, Writer } from "./writer.ts";

/** Elements that are computed with one vector after another, by the number of the vector. */
export interface Stream {
  /** Loads a vector; vectors are loaded in order. */
  load(vector: number): number;
  /** Stores a vector; vectors are stored in order. */
  store(vector: number, value: number): void;
}

/** Elements of the type that is computed with. */
class Direct implements Stream {
  readonly #elements: number;

  constructor(readonly w: Writer, readonly area: Area) {
    this.#elements = VECTOR / area.bytes;
  }

  load(vector: number): number {
    return this.w.load(this.area, vector * this.#elements);
  }

  store(vector: number, value: number): void {
    this.w.store(this.area, vector * this.#elements, value);
  }
}

/** Elements of a 16-bit type: two vectors of float32 are one of theirs. */
class SixteenBit implements Stream {
  #loaded = 0;
  #low = 0;

  constructor(readonly w: Writer, readonly area: Area, readonly dtype: Dtype) {}

  load(vector: number): number {
    const isUpper = vector % 2 === 1;
    if (!isUpper) this.#loaded = this.w.load(this.area, 4 * vector);
    return widen(this.w, this.dtype, extend(this.w, this.#loaded, isUpper));
  }

  store(vector: number, value: number): void {
    const words = narrowTo(this.w, this.dtype, value);
    if (vector % 2 === 0) this.#low = words;
    else this.w.store(this.area, 4 * (vector - 1), join(this.w, this.#low, words));
  }
}

/** The elements of an array of some dtype. */
export function streamOf(w: Writer, area: Area, dtype: Dtype): Stream {
  return isSixteenBit(dtype) ? new SixteenBit(w, area, dtype) : new Direct(w, area);
}

/** Loads from one stream, and stores to some. */
export function routed(from: Stream, ...to: Stream[]): Stream {
  return {
    load: (vector) => from.load(vector),
    store: (vector, value) => to.forEach((stream) => stream.store(vector, value)),
  };
}

/** Momentum in 8 bits, which is stored a block at a time. */
export class Momentum8 implements Stream {
  readonly #reader: Momentum8Reader;
  readonly #stored: number[] = [];

  constructor(
    readonly w: Writer,
    readonly values: Area,
    readonly scales: Area,
    readonly random: Random,
  ) {
    this.#reader = new Momentum8Reader(w, values, scales);
  }

  load(vector: number): number {
    return this.#reader.load(vector);
  }

  store(_: number, value: number): void {
    this.#stored.push(value);
    if (this.#stored.length < 8) return;
    storeMomentum8(this.w, [this.values, this.scales], this.#stored, this.random);
  }
}

/** Master weights that are split. */
export class SplitMaster implements Stream {
  #words: SplitWords | null = null;
  #low = 0;

  /** @param random For corrections of 8 bits, else null. */
  constructor(readonly w: Writer, readonly areas: SplitAreas, readonly random: Random | null) {}

  load(vector: number): number {
    const isUpper = vector % 2 === 1;
    const words = isUpper ? this.#words! : loadSplit(this.w, this.areas, 4 * vector);
    this.#words = words;
    return joinSplit(this.w, words, isUpper, this.areas.corrections.bytes);
  }

  store(vector: number, value: number): void {
    const word = toSplit(this.w, value, this.random, vector);
    if (vector % 2 === 0) this.#low = word;
    else storeSplit(this.w, this.areas, 4 * (vector - 1), [this.#low, word]);
  }
}
