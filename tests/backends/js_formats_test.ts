/**
 * Every format of a parameter in the WebAssembly of the `js` backend, against the same step taken
 * element by element with the codecs of `src/core`.
 */

import { assertEquals } from "@std/assert";
import type { Choice } from "../../src/backends/js/choice.ts";
import { stepByElement } from "../../src/backends/js/element_tiles.ts";
import { loopsOf } from "../../src/backends/js/loops/loops.ts";
import { computeTypeOf, type Preparation } from "../../src/backends/js/preparation.ts";
import { ChaCha8, storeAtRandom } from "../../src/backends/js/random.ts";
import type { Format, Numbers } from "../../src/backends/js/wasm/kernel.ts";
import { masterBytesOf } from "../../src/backends/js/wasm/kernel.ts";
import { TILE } from "../../src/backends/js/wasm/memory.ts";
import { type Arrays, Method, type Rounder } from "../../src/backends/js/wasm/sweep.ts";
import { allocate } from "../../src/backends/js/wasm/workspace.ts";
import { BFloat16Array } from "../../src/core/bfloat16.ts";
import { type Dtype, dtypeOf, isSixteenBit } from "../../src/core/dtype.ts";
import type { HostArray } from "../../src/core/host_array.ts";
import { bytesOf, encodeNearest, scalesOffset } from "../../src/core/momentum8.ts";
import { factorsOf, linesOf, type RuleOptions } from "../../src/core/rule.ts";

const [FLOAT32, FLOAT16, BFLOAT16] = [
  new Float32Array(0),
  new Float16Array(0),
  new BFloat16Array(0),
].map((array) => dtypeOf(array, "an array"));

type Kind = Pick<Format, "dtype" | "gradType" | "momentum8" | "master" | "unrounded">;

const masters = (dtype: Dtype): Kind["master"][] =>
  dtype === BFLOAT16
    ? ["none", "float32", "split", "split24"]
    : dtype === FLOAT16
    ? ["none", "float32"]
    : ["none"];

/** All that go together. Of float64, the loops do not fuse what WebAssembly does. */
const kinds: Kind[] = [FLOAT32, FLOAT16, BFLOAT16].flatMap((dtype) =>
  (isSixteenBit(dtype) ? [dtype, FLOAT32] : [dtype]).flatMap((gradType) =>
    [false, true].flatMap((momentum8) =>
      masters(dtype).flatMap((master) =>
        (isSixteenBit(dtype) && !master.startsWith("split") ? [false, true] : [false])
          .map((unrounded) => ({ dtype, gradType, momentum8, master, unrounded }))
      )
    )
  )
);

const OPTIONS: RuleOptions = {
  ...{ lr: 0.1, momentum: 0.9, dampening: 0.2, weightDecay: 0.01 },
  ...{ nesterov: false, maximize: false, sign: false, decoupledWeightDecay: false },
};

const rules: Record<string, RuleOptions> = {
  "dampening, decay": OPTIONS,
  "nesterov, maximize": { ...OPTIONS, dampening: 0, nesterov: true, maximize: true },
  "sign": { ...OPTIONS, sign: true },
  "decoupled weight decay": { ...OPTIONS, weightDecay: 0.3, decoupledWeightDecay: true },
  "no momentum": { ...OPTIONS, momentum: 0 },
};

const special = [0, -0, 1, NaN, -1, Infinity, -Infinity, 1e-45, -1e-40, 3e38, 65519, 1e-7, -6e-5];

/** A wave of numbers of all sizes, special ones in front; the state of a generator is its phase. */
function numbers(length: number, phase: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => {
    if (i >= 40 && i < 40 + special.length) return special[(i + phase) % special.length];
    return Math.sin(i * 1.7 + phase) * 2 ** ((i >> 5) % 7 - (i >> 8) % 11);
  });
}

/** An array of a dtype with so many elements, which begins a little after a buffer does. */
function arrayOf(dtype: Dtype, length: number, phase: number): HostArray {
  const array = dtype.view(new ArrayBuffer((length + 3) * dtype.bytes), dtype.bytes, length);
  const values = numbers(length, phase);
  array.set(dtype === BFLOAT16 ? BFloat16Array.from(values) : values);
  return array;
}

/** The arrays of a tensor of a kind, with those of the optimizer's own at some offset of a buffer. */
function arraysOf(kind: Kind, length: number, buffer: ArrayBuffer, offset: number): Arrays {
  const { dtype, gradType, momentum8, master } = kind;
  const type = computeTypeOf(dtype);
  const masterAt = offset + Math.ceil(bytesOf(length) * type.bytes / 16) * 16;
  if (momentum8) {
    new Uint8Array(buffer, offset, bytesOf(length)).fill(0); // as all new memory
    const codes = new Int8Array(buffer, offset, length);
    const scales = new Uint8Array(buffer, offset + scalesOffset(length), Math.ceil(length / 32));
    encodeNearest(Float32Array.from(numbers(length, 5)), codes, scales);
  } else type.view(buffer, offset, length).set(numbers(length, 5));
  if (master === "float32") new Float32Array(buffer, masterAt, length).set(numbers(length, 1));
  else if (master !== "none") { // some are stale: any bits may stand beside any parameter
    const corrections = new Uint8Array(buffer, masterAt, length * masterBytesOf(kind as Format));
    for (let i = 0; i < corrections.length; i++) corrections[i] = i * 37 + (i >> 3);
  }
  return {
    data: arrayOf(dtype, length, 1),
    grad: arrayOf(gradType, length, 2),
    terms: null,
    momentum: { buffer, offset },
    master: master === "none" ? null : { buffer, offset: masterAt },
  };
}

/** The bits of the arrays; those of all NaN are equal. */
function bitsOf(kind: Kind, { data, grad, momentum, master }: Arrays, buffered: boolean) {
  const { length } = data;
  const type = computeTypeOf(kind.dtype);
  const own = !buffered ? [] : kind.momentum8
    ? [
      new Uint8Array(momentum!.buffer, momentum!.offset, length),
      new Uint8Array(
        momentum!.buffer,
        momentum!.offset + scalesOffset(length),
        Math.ceil(length / 32),
      ),
    ]
    : [type.view(momentum!.buffer, momentum!.offset, length)];
  const bytes = length * masterBytesOf(kind as Format);
  const kept = master === null
    ? []
    : kind.master === "float32"
    ? [new Float32Array(master.buffer, master.offset, length)]
    : [new Uint8Array(master.buffer, master.offset, bytes)];
  return [data, grad, ...own, ...kept].map((array) =>
    array instanceof BFloat16Array
      ? Array.from(array, (word) => (word & 0x7fff) > 0x7f80 ? NaN : word)
      : Array.from(array as Float32Array)
  );
}

const PREPARATIONS: (Preparation | null)[] = [
  null,
  { inverseScale: 1, coefficient: 1, maxValue: Infinity, isNeutral: true, zero: true },
  {
    ...{ inverseScale: Math.fround(0.3), coefficient: Math.fround(0.7) },
    ...{ maxValue: Math.fround(0.9), isNeutral: false, zero: true },
  },
];

interface Case {
  readonly kind: Kind;
  readonly h: RuleOptions;
  readonly first: boolean;
  readonly preparation: Preparation | null;
}

function choiceOf({ kind, h, first, preparation }: Case): [Choice, Numbers, Rounder | null] {
  const lines = linesOf(h, first);
  const prepared = preparation !== null && !preparation.isNeutral;
  const method = new Method({ ...kind, lines, prepared });
  const factors = factorsOf(h, computeTypeOf(kind.dtype).round);
  const random = new ChaCha8([1, 2, 3], 4);
  const round: Rounder = (values, out, from) => storeAtRandom(values, out, random, from);
  const common = { dtype: kind.dtype, loops: loopsOf(computeTypeOf(kind.dtype)), lines, method };
  return [
    { ...common, isEach: false } as unknown as Choice,
    { factors, preparation, key: 0x12345678 },
    kind.unrounded ? round : null,
  ];
}

/** Lengths: within a block; of whole blocks; past a tile, in the midst of a vector. */
const LENGTHS = [53, 96, TILE + 45];

function assertEqualSteps(each: Case): void {
  const { kind, h } = each;
  const [choice, numbers, round] = choiceOf(each);
  const own = allocate(1 << 18);
  for (const length of LENGTHS) {
    for (const { buffer, offset } of [own, { buffer: new ArrayBuffer(1 << 18), offset: 64 }]) {
      const inTiles = arraysOf(kind, length, buffer, offset);
      const byElement = arraysOf(kind, length, new ArrayBuffer(1 << 18), 0);
      const momentum = h.momentum === 0 ? null : inTiles.momentum;
      const around = new Uint8Array(buffer, offset + (1 << 17), 1 << 10).fill(0xa5);
      choice.method.step(numbers, { ...inTiles, momentum }, round);
      stepByElement(
        choice,
        numbers,
        { ...byElement, momentum: momentum && byElement.momentum },
        round,
      );
      const actual = bitsOf(kind, inTiles, momentum !== null);
      const expected = bitsOf(kind, byElement, momentum !== null);
      actual.forEach((array, i) => assertSame(array, expected[i], `array ${i} of ${length}`));
      assertEquals(around.every((byte) => byte === 0xa5), true);
    }
  }
}

function assertSame(actual: readonly number[], expected: readonly number[], what: string): void {
  const at = actual.findIndex((value, i) => !Object.is(value, expected[i]));
  assertEquals(
    at === -1 ? "" : `${at}: ${actual[at]}`,
    at === -1 ? "" : `${at}: ${expected[at]}`,
    what,
  );
}

for (const kind of kinds) {
  const { dtype, gradType, momentum8, master, unrounded } = kind;
  const name = `${dtype.name}, gradient ${gradType.name}, momentum ${momentum8 ? 8 : "wide"}, ` +
    `master ${master}${unrounded ? ", by chance" : ""}`;
  Deno.test(`WebAssembly steps as the codecs do: ${name}`, () => {
    Object.entries(rules).forEach(([rule, h], i) => {
      for (const first of [true, false]) {
        const preparation = PREPARATIONS[(i + Number(first)) % PREPARATIONS.length];
        try {
          assertEqualSteps({ kind, h, first, preparation });
        } catch (error) {
          const how = `${rule}, ${first ? "first" : "later"}, ${preparation?.maxValue}`;
          throw new Error(`${how}: ${(error as Error).message}`, { cause: error });
        }
      }
    });
  });
}
