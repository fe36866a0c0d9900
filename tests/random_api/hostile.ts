/** Arrays and parameters that lie, vanish or do something when they are read. */

import type { HostArray } from "@descent/sgd";
import { KINDS, trueBuffer, trueLength, trueOffset } from "./arrays.ts";
import type { Kind, Memory } from "./arrays.ts";
import type { Random } from "./random.ts";

/** What a hostile array is made with. */
export interface Need {
  readonly random: Random;
  readonly memory: Memory;
  readonly kind: Kind;
  readonly length: number;
  /** Some array of another parameter. */
  readonly other: HostArray | null;
}

/** One way for an array to be wrong. */
interface Hostility {
  readonly name: string;
  readonly weight: number;
  readonly make: (need: Need) => unknown;
}

const good = ({ random, memory, kind, length }: Need) => memory.make(random, kind, length);

/** Gives an object a property that says the truth a number of times, and then something else. */
function lie(
  memory: Memory,
  target: object,
  name: string,
  { truth, lies, honest }: { truth: unknown; lies: unknown; honest: number },
): void {
  let reads = 0;
  Object.defineProperty(target, name, {
    get: () => memory.looking || reads++ < honest ? truth : lies,
    configurable: true,
  });
}

function lyingArray(need: Need, name: "length" | "byteOffset" | "byteLength" | "buffer") {
  const { random } = need;
  const array = good(need);
  const truth = array[name];
  const lies = name === "buffer"
    ? new ArrayBuffer(64)
    : random.pick([0, 1, 1 << 20, 2 ** 40, -1, NaN, "9"]);
  lie(need.memory, array, name, { truth, lies, honest: random.pick([0, 0, 1, 2, 3, 4, 6]) });
  return array;
}

function subclassed(need: Need): unknown {
  const array = good(need);
  const parent = Object.getPrototypeOf(array);
  const lies = need.random.pick([0, 3, 1 << 20]);
  const prototype = Object.create(parent, { length: { get: () => lies } });
  return Object.setPrototypeOf(array, prototype);
}

function resizable(need: Need): HostArray & { readonly buffer: ArrayBuffer } {
  const { random, memory, kind, length } = need;
  const bytes = length * kind.bytes;
  const [buffer, flag] = random.chance(0.7)
    ? [new ArrayBuffer(bytes, { maxByteLength: bytes + 64 }), "resizable"]
    : [new SharedArrayBuffer(bytes, { maxByteLength: bytes + 64 }), "growable"];
  if (random.chance(0.6)) {
    lie(memory, buffer, flag, { truth: true, lies: false, honest: random.int(0, 2) });
  }
  const view = random.chance(0.5) ? kind.on(buffer, 0, length) : new (kind.own(0)
    .constructor as new (buffer: ArrayBufferLike) => HostArray)(buffer);
  return view as HostArray & { readonly buffer: ArrayBuffer };
}

function detached(need: Need): unknown {
  const array = good(need);
  const buffer = trueBuffer(array);
  if (!takeAway(buffer)) return null;
  const { random, memory, length } = need;
  if (random.chance(0.4)) {
    lie(memory, buffer, "detached", { truth: true, lies: false, honest: random.int(0, 2) });
  }
  if (random.chance(0.4)) lie(memory, array, "length", { truth: 0, lies: length, honest: 0 });
  return array;
}

/** Detaches a buffer, its memory living on elsewhere; false where it cannot be. */
export function takeAway(buffer: ArrayBufferLike): boolean {
  try {
    structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    return true;
  } catch {
    return false;
  }
}

function grownWasm({ kind, length, random }: Need): unknown {
  const memory = new WebAssembly.Memory({ initial: 1 + Math.ceil(length * kind.bytes / 65536) });
  const array = kind.on(memory.buffer, 64, length);
  if (random.chance(0.5)) memory.grow(1);
  return array;
}

function overlapping({ other, kind, length }: Need): unknown {
  if (other === null || trueLength(other) === 0) return null;
  const start = trueOffset(other);
  const from = Math.ceil(start / kind.bytes) * kind.bytes;
  const end = start + trueLength(other) * other.BYTES_PER_ELEMENT;
  const fitting = Math.max(0, Math.floor((end - from) / kind.bytes));
  return kind.on(trueBuffer(other), fitting === 0 ? 0 : from, Math.min(length, fitting));
}

function withSpecies(need: Need): unknown {
  const array = good(need);
  const Other = need.random.pick([Uint8Array, Float64Array]);
  class Species extends (array.constructor as Float32ArrayConstructor) {
    static get [Symbol.species]() {
      return Other as unknown as Float32ArrayConstructor;
    }
  }
  return Object.defineProperty(array, "constructor", { value: Species });
}

const NO_ARRAYS: readonly ((need: Need) => unknown)[] = [
  () => undefined,
  () => 7,
  () => "array",
  ({ length }) => new Array(length).fill(1),
  ({ length }) => ({ length, 0: 1 }),
  ({ length }) => new Int32Array(length),
  ({ length }) => new Uint16Array(length),
  ({ length }) => new DataView(new ArrayBuffer(8 * length)),
  (need) => new Proxy(good(need), {}),
  (need) => Object.create(good(need)),
  (need) => Object.setPrototypeOf(good(need), null),
  (need) => Object.defineProperty(good(need), Symbol.toStringTag, { value: "Float64Array" }),
];

/** All ways. */
export const HOSTILITIES: readonly Hostility[] = [
  { name: "length", weight: 4, make: (need) => lyingArray(need, "length") },
  { name: "byteOffset", weight: 1, make: (need) => lyingArray(need, "byteOffset") },
  { name: "byteLength", weight: 1, make: (need) => lyingArray(need, "byteLength") },
  { name: "buffer", weight: 1, make: (need) => lyingArray(need, "buffer") },
  { name: "subclass", weight: 1, make: subclassed },
  { name: "resizable", weight: 3, make: resizable },
  { name: "detached", weight: 3, make: detached },
  { name: "wasm", weight: 1, make: grownWasm },
  { name: "overlap", weight: 2, make: overlapping },
  { name: "species", weight: 1, make: withSpecies },
  { name: "none", weight: 3, make: (need) => need.random.pick(NO_ARRAYS)(need) },
  { name: "size", weight: 2, make: (need) => good({ ...need, length: need.length + 1 }) },
  { name: "kind", weight: 2, make: (need) => good({ ...need, kind: need.random.weighted(KINDS) }) },
];

let leftOut: ReadonlySet<string> = new Set();

/** Leaves out what has one of these names. */
export function leaveOut(names: ReadonlySet<string>): void {
  leftOut = names;
}

/** What is not left out. */
export function present<T extends { readonly name: string }>(list: readonly T[]): readonly T[] {
  return list.filter(({ name }) => !leftOut.has(name));
}

/** A hostile array. */
export function hostile(need: Need): HostArray {
  const { name, make } = need.random.weighted(present(HOSTILITIES));
  need.memory.hostile.push(name);
  return make(need) as HostArray;
}

/**
 * Lets a property of a parameter do something at one of its next reads.
 *
 * @param act What it does; what it returns, if anything, is what that read gives.
 */
export function trap(
  memory: Memory,
  parameter: object,
  name: string,
  random: Random,
  act: () => unknown,
): void {
  let value = Object.getOwnPropertyDescriptor(parameter, name)?.value;
  let left = random.int(0, 3);
  Object.defineProperty(parameter, name, {
    get() {
      if (memory.looking || left-- !== 0) return value;
      const other = act();
      return other === undefined ? value : other;
    },
    set: (other: unknown) => value = other,
    configurable: true,
    enumerable: true,
  });
}
