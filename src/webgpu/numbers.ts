/** The numbers of a step, which change while its tensors stay: hyperparameters, and what is asked for. */

import type { DeviceRequest } from "../core/device.ts";
import { factorsOf } from "../core/rule.ts";
import { readGroup } from "../plan/layout.ts";
import type { Buffer, Queue } from "./api.ts";
import type { Range } from "./packer.ts";

/** Words of a group's factors and of a request, as the shaders read them. */
export const FACTORS = 5;

export const REQUEST = 5;

/** Stands for a norm that does not matter. */
const NO_NORM = -1;

/** The flags of a request in decide.wgsl. */
const CHECK_FINITE = 1;

const PER_GROUP = 2;

/** The numbers at the beginning of a table. */
export class Numbers {
  readonly #floats: Float32Array<ArrayBuffer>;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  /** What the device has. */
  readonly #sent: Uint32Array<ArrayBuffer>;
  readonly #requestAt: number;

  /** @param request Where the request is in the table; the factors are before it. */
  constructor(request: Range) {
    this.#requestAt = request.offset / 4;
    this.#floats = new Float32Array(this.#requestAt + REQUEST);
    this.#words = new Uint32Array(this.#floats.buffer);
    this.#bytes = new Uint8Array(this.#floats.buffer);
    this.#sent = new Uint32Array(this.#words.length);
  }

  /** Sets the hyperparameters of the groups, each rounded once. */
  setGroups(groups: Float64Array, groupCount: number): void {
    const floats = this.#floats;
    for (let group = 0, at = 0; group < groupCount; group++, at += FACTORS) {
      const h = readGroup(groups, group);
      const f = factorsOf(h, Math.fround);
      floats[at] = f.orientation;
      floats[at + 1] = h.decoupledWeightDecay ? f.shrink : f.weightDecay;
      floats[at + 2] = f.momentum;
      floats[at + 3] = f.blend;
      floats[at + 4] = f.negativeLr;
    }
  }

  /** Sets what is asked for. */
  setRequest({ inverseScale, maxValue, maxNorm, checkFinite, perGroup }: DeviceRequest): void {
    const [floats, words, at] = [this.#floats, this.#words, this.#requestAt];
    floats[at] = inverseScale;
    floats[at + 1] = maxValue;
    const exponent = exponentOf(maxNorm ?? NO_NORM);
    floats[at + 2] = (maxNorm ?? NO_NORM) / 2 ** exponent;
    words[at + 3] = exponent;
    words[at + 4] = (checkFinite ? CHECK_FINITE : 0) | (perGroup ? PER_GROUP : 0);
  }

  /** Sends what has changed. A queue writes it after the steps before, which have been submitted. */
  send(queue: Queue, table: Buffer): void {
    const [words, sent] = [this.#words, this.#sent];
    if (words.every((word, i) => word === sent[i])) return;
    queue.writeBuffer(table, 0, this.#bytes);
    sent.set(words);
  }
}

/** What a norm is divided by 2 to the power of, so that float32 can hold it. */
function exponentOf(norm: number): number {
  if (norm === Infinity || Math.fround(norm) !== Infinity) return 0;
  return Math.min(1023, Math.floor(Math.log2(norm)));
}
