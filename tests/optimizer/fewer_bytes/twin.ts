/**
 * What a step with momentum in 8 bits or split master weights must do: that of an optimizer with
 * float32 momentum and float32 master weights which begins with the decoded state, encoded afterwards.
 */

import { assert, assertEquals } from "@std/assert";
import { BFloat16Array, SGD } from "@descent/sgd";
import type {
  BackendName,
  HostArray,
  Parameter,
  ParamGroupOptions,
  SGDOptions,
} from "@descent/sgd";
import { copyOf } from "../../../src/core/intrinsics.ts";
import { encode, keyOf, scalesCount } from "../../../src/core/momentum8.ts";
import {
  joinWords,
  joinWords24,
  splitWords,
  splitWords24,
} from "../../../src/core/split_master.ts";

/** The types of parameters here; bfloat16 with float32 gradients counts as one. */
export type Kind = "float32" | "float16" | "bfloat16" | "float16+" | "bfloat16+";

/** Numbers of many sizes, which are the same each time. */
export function noise(length: number, salt: number): Float32Array {
  return Float32Array.from(
    { length },
    (_, i) => Math.sin(i * 12.9898 + salt * 78.233) * 2 ** ((i * 7 + salt) % 11 - 7),
  );
}

function arrayOf(kind: Kind, numbers: Float32Array): HostArray {
  if (kind.startsWith("float16")) return Float16Array.from(numbers);
  return kind === "float32" ? numbers : BFloat16Array.from(numbers);
}

/** Parameters of one kind: two whose momentum is kept in 8 bits, and a small one. */
export function createParams(kind: Kind): Parameter<HostArray>[] {
  return [4096 + 37, 100, 9000].map((length, i) => {
    const data = arrayOf(kind, noise(length, i));
    const grad = noise(length, 10 + i);
    return { data, grad: kind.endsWith("+") ? grad : arrayOf(kind, grad), name: `w${i}` };
  });
}

/** New gradients, of the type of the old ones. */
export function changeGrads(params: readonly Parameter<HostArray>[], salt: number): void {
  for (const [i, { grad }] of params.entries()) {
    if (grad === null) continue;
    const numbers = noise(grad.length, salt * 10 + i);
    if (grad instanceof BFloat16Array) grad.set(BFloat16Array.from(numbers));
    else grad.set(numbers);
  }
}

/** One optimizer, and how a step of it is taken. */
export interface Case {
  readonly params: readonly Parameter<HostArray>[];
  readonly groups: readonly Omit<ParamGroupOptions<HostArray>, "params">[];
  readonly options: SGDOptions;
  readonly step: (optimizer: SGD<HostArray>) => unknown;
}

function createOptimizer(params: readonly Parameter<HostArray>[], { groups, options }: Case) {
  const each = Math.ceil(params.length / groups.length);
  const members = groups.map((group, i) => {
    return { ...group, params: params.slice(i * each, (i + 1) * each) };
  });
  return new SGD<HostArray>(members, options);
}

type State = NonNullable<ReturnType<SGD<HostArray>["state"]["get"]>>;

/** The master weight of a split parameter. */
export function masterOf(data: HostArray, correction: Int16Array | Int8Array): Float32Array {
  const master = new Float32Array(data.length);
  const params = data as BFloat16Array;
  if (correction instanceof Int16Array) joinWords(params, correction, master);
  else joinWords24(params, correction, master);
  return master;
}

/** An optimizer with float32 state that is about to take the same step. */
function createTwin(optimizer: SGD<HostArray>, own: Case): Twin {
  const params = own.params.map((w) => ({
    ...w,
    data: copyOf(w.data),
    grad: w.grad && copyOf(w.grad),
  }));
  const { masterWeights = false, ...options } = own.options;
  const wide = {
    ...own,
    options: { ...options, momentumBits: 32 as const, masterWeights: masterWeights !== false },
  };
  const groups = own.groups.map((group) => ({ ...group, momentumBits: 32 as const }));
  const twin = createOptimizer(params, { ...wide, groups });
  for (const [i, w] of own.params.entries()) {
    const state: State = optimizer.state.get(w)!;
    const { correction, masterWeight } = state;
    const master = correction === null
      ? masterWeight && copyOf(masterWeight)
      : masterOf(w.data, correction);
    Object.assign(twin.state.get(params[i])!, {
      momentumBuffer: state.readMomentum(),
      masterWeight: master,
    });
  }
  return { twin, params };
}

interface Twin {
  readonly twin: SGD<HostArray>;
  readonly params: readonly Parameter<HostArray>[];
}

const bytesOf = (array: ArrayBufferView) =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

function assertBits(
  actual: ArrayBufferView | null,
  expected: ArrayBufferView | null,
  what: string,
) {
  assertEquals(actual === null, expected === null, what);
  if (actual === null || expected === null) return;
  assertEquals(actual.byteLength, expected.byteLength, what);
  const [a, b] = [bytesOf(actual), bytesOf(expected)];
  const at = a.findIndex((byte, i) => byte !== b[i]);
  assert(at < 0, `${what} differs at byte ${at} of ${a.length}`);
}

/** Compares a parameter and its state after a step with those of the twin. */
function compare(
  w: Parameter<HostArray>,
  state: State,
  other: Parameter<HostArray>,
  wide: State,
  key: number,
) {
  const { name } = w;
  assertBits(w.grad, other.grad, `grad of ${name}`);
  if (state.correction === null) {
    assertBits(w.data, other.data, `data of ${name}`);
    assertBits(state.masterWeight, wide.masterWeight, `master weight of ${name}`);
  } else compareSplit(w, state.correction, wide.masterWeight!, key);
  if (state.momentum8 === null) {
    return assertBits(state.momentumBuffer, wide.momentumBuffer, `momentum of ${name}`);
  }
  const momentum = wide.momentumBuffer as Float32Array;
  const values = new Int8Array(momentum.length);
  const scales = new Uint8Array(scalesCount(momentum.length));
  encode(momentum, values, scales, key);
  assertBits(state.momentum8.scales, scales, `scales of ${name}`);
  assertBits(state.momentum8.values, values, `values of ${name}`);
  assertEquals(state.momentumBuffer, null);
}

function compareSplit(
  { data, name }: Parameter<HostArray>,
  correction: Int16Array | Int8Array,
  master: Float32Array,
  key: number,
): void {
  const params = new Uint16Array(master.length);
  const rest = correction instanceof Int16Array
    ? new Int16Array(master.length)
    : new Int8Array(master.length);
  if (rest instanceof Int16Array) splitWords(master, params, rest);
  else splitWords24(master, params, rest, key);
  assertBits(correction, rest, `correction of ${name}`);
  assertBits(data, params, `data of ${name}`);
}

/** The bytes of a parameter and of its state. */
function snapshot(optimizer: SGD<HostArray>, w: Parameter<HostArray>): (Uint8Array | null)[] {
  const { momentumBuffer, momentum8, masterWeight, correction } = optimizer.state.get(w)!;
  const { values = null, scales = null } = momentum8 ?? {};
  return [w.data, momentumBuffer, values, scales, masterWeight, correction]
    .map((array) => array && bytesOf(array));
}

/** Takes steps, and compares each of them with that of a twin. */
export async function compareSteps(backend: BackendName, own: Case, steps = 3): Promise<void> {
  const { options } = own;
  const each = { ...own, options: { ...options, backend } };
  const optimizer = createOptimizer(own.params, each);
  let counter = 0;
  for (let i = 0; i < steps; i++) {
    changeGrads(own.params, i + 1);
    const { twin, params } = createTwin(optimizer, each);
    if (options.rounding === "stochastic") {
      const dict = twin.stateDict();
      twin.loadStateDict({ ...dict, rounding: { seed: options.seed ?? 0, counter } });
    }
    const before = structuredClone(own.params.map((w) => snapshot(optimizer, w)));
    await own.step(optimizer);
    await own.step(twin);
    assertEquals(optimizer.lastStep, twin.lastStep);
    if (optimizer.lastStep!.skipped) {
      assertEquals(own.params.map((w) => snapshot(optimizer, w)), before);
      continue;
    }
    for (const [row, w] of own.params.entries()) {
      const key = keyOf({ seed: options.seed ?? 0, counter }, row);
      compare(w, optimizer.state.get(w)!, params[row], twin.state.get(params[row])!, key);
    }
    counter++;
  }
}
