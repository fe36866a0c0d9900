/** Ranks that vote on the signs of their steps, against a plain count of the votes of optimizers. */

import { assertEquals } from "@std/assert";
import { BFloat16Array, SGD } from "@descent/sgd";
import { ENGINES, runJob, testOn } from "./jobs.ts";

/**
 * What a rank trains: functions of its gradients, and of what is trained. Gradients have zeros and
 * come late, and ranks begin with other parameters, which rank 0's replace.
 */
const SHARED = `
const ROUNDS = 4;
const lengthsOf = ({ isLarge }) => [1, 63, 5000, isLarge ? 140_001 : 9001, 4096, 10];
function randomOf(seed) {
  let x = seed * 2654435761 >>> 0;
  return () => {
    x = Math.imul(x ^ x >>> 15, 0x2c1b3c6d) + 0x9e3779b9 >>> 0;
    const value = ((x ^ x >>> 13) >>> 0) / 2 ** 32 - 0.5;
    return Math.abs(value) < 0.1 ? 0 : value;
  };
}
function arrayOf(type, length, next) {
  const wide = Float32Array.from({ length }, next);
  if (type === "bfloat16") {
    const words = new Uint32Array(wide.buffer);
    return new BFloat16Array(Uint16Array.from(words, (word) => word >>> 16));
  }
  return { float32: Float32Array, float64: Float64Array, float16: Float16Array }[type].from(wide);
}
function paramsOf(setting, seed) {
  return lengthsOf(setting).map((length, i) => ({
    name: "p" + i,
    data: arrayOf(setting.type, length, randomOf(i + 1 + seed)),
    grad: null,
  }));
}
function gradientOf(setting, i, round, rank) {
  if (i === 4 && round < 2) return null;
  const length = lengthsOf(setting)[i];
  return arrayOf(setting.gradType ?? setting.type, length, randomOf(1000 * round + 10 * rank + i + 7));
}
function create(SGD, params, { options }, more) {
  const groups = [
    { params: params.slice(0, 2) },
    { params: params.slice(2, 4), lr: 0.2, weightDecay: 0.1 },
    { params: params.slice(4), momentum: 0, nesterov: false },
  ];
  return new SGD(groups, { lr: 0.25, sign: true, ...options, ...more });
}
function hashOf(optimizer, params) {
  let h = 0;
  const add = (array) => {
    if (!array) return;
    for (const b of new Uint8Array(array.buffer, array.byteOffset, array.byteLength)) {
      h = Math.imul(h ^ b, 16777619) >>> 0;
    }
  };
  for (const p of params) {
    const state = optimizer.state.get(p);
    add(p.data);
    for (const array of [state.momentumBuffer, state.momentum8?.values, state.momentum8?.scales]) {
      add(array);
    }
    add(state.masterWeight);
    add(state.correction);
  }
  return h;
}`;

const MOMENTUM = { momentum: 0.9, weightDecay: 0.01 };
const NESTEROV = { ...MOMENTUM, nesterov: true };

/** What is trained. */
const SETTINGS: Readonly<Record<string, Setting>> = {
  "float32, without momentum": { type: "float32", options: {} },
  "float32, several chunks": { type: "float32", options: NESTEROV, isLarge: true },
  "float32, dampening and maximize": {
    ...{ type: "float32", options: { momentum: 0.9, dampening: 0.2, maximize: true } },
  },
  "float32, unscaled and clipped by value": {
    ...{ type: "float32", options: NESTEROV, step: { gradScale: 8, maxValue: 0.01 } },
  },
  "float32, 8-bit momentum": { type: "float32", options: { ...NESTEROV, momentumBits: 8 } },
  "float64": { type: "float64", options: NESTEROV },
  "float16": { type: "float16", options: NESTEROV },
  "bfloat16": { type: "bfloat16", options: MOMENTUM },
  "bfloat16, 8-bit momentum, float32 gradients": {
    ...{ type: "bfloat16", gradType: "float32", options: { ...MOMENTUM, momentumBits: 8 } },
  },
  "bfloat16, stochastic": { type: "bfloat16", options: { ...MOMENTUM, rounding: "stochastic" } },
  "bfloat16, split masters, 8-bit momentum": {
    ...{ type: "bfloat16", options: { ...MOMENTUM, masterWeights: "split", momentumBits: 8 } },
  },
  "bfloat16, split24": {
    ...{ type: "bfloat16", options: { ...MOMENTUM, masterWeights: "split24" } },
  },
  "bfloat16, masters": { type: "bfloat16", options: { ...NESTEROV, masterWeights: true } },
  "bfloat16, torch": { type: "bfloat16", options: { ...NESTEROV, rounding: "torch" } },
  "float16, torch": { type: "float16", options: { ...MOMENTUM, rounding: "torch" } },
};

interface Setting {
  readonly type: string;
  readonly gradType?: string;
  readonly options: object;
  readonly step?: object;
  readonly isLarge?: boolean;
}

// deno-lint-ignore no-explicit-any -- arrays of every type, from a program's text
type Values = any;

const { paramsOf, gradientOf, create, hashOf, ROUNDS } = new Function(
  "BFloat16Array",
  `${SHARED}; return { paramsOf, gradientOf, create, hashOf, ROUNDS };`,
)(BFloat16Array) as Record<string, Values>;

/**
 * The hashes of the ranks. Each rank has an optimizer of its own that steps by signs from where all
 * are; an element then becomes what it is for those whose sign the most have, or stays.
 */
function count(setting: Setting, size: number): number[] {
  const ranks = Array.from({ length: size }, (_, rank) => {
    const params = paramsOf(setting, 0);
    return { rank, params, optimizer: create(SGD, params, setting) };
  });
  for (let round = 0; round < ROUNDS; round++) {
    const before = ranks[0].params.map((_: Values, i: number) => valuesOf(ranks[0], i, true));
    for (const { rank, params, optimizer } of ranks) {
      params.forEach((p: Values, i: number) => p.grad = gradientOf(setting, i, round, rank));
      optimizer.step(setting.step);
    }
    before.forEach((old: Values[], i: number) => elect(ranks.map((one) => valuesOf(one, i)), old));
  }
  return ranks.map(({ optimizer, params }) => hashOf(optimizer, params));
}

/** The arrays that make up a parameter, of which the last one has the sign of a change. */
function valuesOf({ params, optimizer }: Values, i: number, copy = false): Values[] {
  const { masterWeight, correction } = optimizer.state.get(params[i]);
  const all = [correction, masterWeight, params[i].data].filter((array) => array !== null);
  return copy ? all.map((array) => array.slice()) : all;
}

function elect(ranks: Values[][], known: Values[]): void {
  const old = complete(known, ranks[0]);
  const numbers = (arrays: Values[]) => numbersOf(arrays.at(-1));
  const [before, after] = [numbers(old), ranks.map(numbers)];
  for (let k = 0; k < before.length; k++) {
    const signs = after.map((values) => Math.sign(values[k] - before[k]));
    const winner = Math.sign(signs.reduce((sum, sign) => sum + sign, 0));
    const source = ranks[signs.indexOf(winner)] ?? old;
    const elected = source.map((array) => array[k]);
    for (const arrays of ranks) arrays.forEach((array, j) => array[k] = elected[j]);
  }
}

/** What there is before a first step: corrections of 0, and masters that equal the parameters. */
function complete(old: Values[], like: Values[]): Values[] {
  if (old.length === like.length) return old;
  const { constructor: Type, length } = like[0];
  return [Type === Float32Array ? Type.from(numbersOf(old[0])) : new Type(length), ...old];
}

function numbersOf(array: Values): ArrayLike<number> {
  return array instanceof BFloat16Array ? array.toFloat32Array() : Float64Array.from(array);
}

const PROGRAM = `
import { BFloat16Array } from "@descent/sgd";
${SHARED}
using world = openWorld();
for (const setting of ${JSON.stringify(Object.values(SETTINGS))}) {
  const params = paramsOf(setting, 100 * world.rank);
  const optimizer = create(SGD, params, setting, { world, exchange: "signs" });
  for (let round = 0; round < ROUNDS; round++) {
    params.forEach((p, i) => p.grad = gradientOf(setting, i, round, world.rank));
    optimizer.step(setting.step);
  }
  say(hashOf(optimizer, params));
}`;

for (const engine of ENGINES) {
  for (const size of engine === "files" ? [2, 5] : [1, 2, 3, 4, 5]) {
    const name = `${size} ranks that exchange signs step along those that the most have`;
    testOn(engine, name, async () => {
      const ending = await runJob(engine, size, PROGRAM);
      assertEquals(ending.code, 0, ending.err);
      const found = ending.out.map((out) => out.split("\n").map(Number));
      Object.entries(SETTINGS).forEach(([name, setting], i) => {
        assertEquals(found.map((hashes) => hashes[i]), count(setting, size), name);
      });
    });
  }
}
