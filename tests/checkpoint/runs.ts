/** Training runs of every kind of option and dtype, for tests that stop and resume them. */

import { createHash } from "node:crypto";
import { loadState, saveState, SGD } from "@descent/sgd";
import type {
  BackendName,
  GroupOptions,
  HostArray,
  Parameter,
  RoundingOptions,
} from "@descent/sgd";
import { fromNumbers, numbersOf } from "../core/sixteen_bit/golden.ts";

/** A kind of run. */
export interface Run {
  readonly name: string;
  readonly dtype: "float16" | "bfloat16" | "float32" | "float64";
  /** Whether every intermediate result is exact, so that no backend has anything to round. */
  readonly exact: boolean;
  readonly options: GroupOptions;
  /** How 16-bit parameters are rounded, and how momentum is kept. */
  readonly mode?: Mode;
  /** The lengths of the parameters; groups part after the third. */
  readonly lengths: readonly number[];
}

type Mode = RoundingOptions & Pick<GroupOptions, "momentumBits">;

/** Steps before a run is stopped, and after it. */
export const STEPS = { before: 3, after: 3 };

/** Short ones take scalar code; from 64 elements on `js` takes WebAssembly. */
const LENGTHS = [7, 1, 33, 0, 5, 64, 101];
/** Enough together for `cpu` to share a step among its threads. */
const LARGE = [7, 150_001, 33, 0, 150_000];

/** Around the fewest elements whose momentum is kept in 8 bits, with blocks that are not full. */
const CODED = [7, 4096, 33, 0, 4095, 5000, 8191];
/** The same, shared among threads. */
const LARGE_CODED = [7, 150_001, 33, 0, 150_000];

const MODES: readonly RoundingOptions[] = [
  { rounding: "nearest" },
  { rounding: "nearest", masterWeights: true },
  { rounding: "stochastic", seed: 2 ** 40 + 1 },
  { rounding: "stochastic", masterWeights: true, seed: 7 },
  { rounding: "torch" },
];

/** Fewer bits, for these dtypes. */
const FEWER_BITS: readonly [Run["dtype"][], Mode][] = [
  [["float32", "float16", "bfloat16"], { momentumBits: 8, seed: 2 ** 52 + 3 }],
  [["bfloat16"], { masterWeights: "split" }],
  [["bfloat16"], { masterWeights: "split24", seed: 5 }],
  [["bfloat16"], { momentumBits: 8, masterWeights: "split", seed: 6 }],
  [["bfloat16"], { momentumBits: 8, masterWeights: "split24", seed: 2 ** 33 }],
  [["bfloat16"], { momentumBits: 8, masterWeights: true }],
  [["float16", "bfloat16"], { momentumBits: 8, rounding: "stochastic", seed: 9 }],
];

/**
 * Every valid combination of options for float32 and float64, some of them with large parameters, and
 * every way of rounding for the 16-bit types, and of keeping state in fewer bits.
 */
export const RUNS: readonly Run[] = [...allRuns()];

/** What a run consists of. */
export interface Training {
  readonly params: Parameter<HostArray>[];
  readonly optimizer: SGD<HostArray>;
}

function* allRuns(): Generator<Run> {
  for (const dtype of ["float32", "float64"] as const) {
    for (const exact of [false, true]) {
      for (const options of allOptions(exact)) {
        const values = exact ? "exact" : "rounded";
        const name = `${dtype} ${values} ${JSON.stringify(options)}`;
        yield { name, dtype, exact, options, lengths: LENGTHS };
      }
    }
  }
  const options = { lr: 0.1, momentum: 0.9, weightDecay: 0.01 };
  const others = [
    ...[{}, { nesterov: true }, { dampening: 0.3, sign: true, maximize: true }],
    { weightDecay: 0.3, decoupledWeightDecay: true },
  ];
  for (const more of others) {
    const all = { ...options, ...more };
    const name = `large ${JSON.stringify(all)}`;
    yield { name, dtype: "float32", exact: false, options: all, lengths: LARGE };
  }
  for (const [dtypes, mode] of FEWER_BITS) {
    for (const dtype of dtypes) {
      for (const lengths of [CODED, LARGE_CODED]) {
        const name = `${dtype} ${JSON.stringify(mode)}, up to ${Math.max(...lengths)} elements`;
        yield { name, dtype, exact: false, options: { ...options, nesterov: true }, mode, lengths };
      }
    }
  }
  for (const dtype of ["float16", "bfloat16"] as const) {
    for (const mode of MODES) {
      const name = `${dtype} ${JSON.stringify(mode)}`;
      const all = { ...options, nesterov: true };
      yield { name, dtype, exact: false, options: all, mode, lengths: LENGTHS };
    }
  }
}

function* allOptions(exact: boolean): Generator<GroupOptions> {
  const shares = exact
    ? { lr: 0.25, momentum: 0.5, dampening: 0.5, weightDecay: 0.25 }
    : { lr: 0.1, momentum: 0.9, dampening: 0.3, weightDecay: 0.01 };
  for (let bits = 0; bits < 128; bits++) {
    const on = (bit: number) => (bits >> bit & 1) === 1;
    const share = (name: keyof typeof shares, bit: number) => on(bit) ? shares[name] : 0;
    const options = {
      lr: shares.lr,
      momentum: share("momentum", 0),
      dampening: share("dampening", 1),
      weightDecay: share("weightDecay", 2),
      nesterov: on(3),
      maximize: on(4),
      sign: on(5),
      foreach: on(6) ? null : false,
    };
    if (!options.nesterov || options.momentum > 0 && options.dampening === 0) yield options;
  }
}

/** Starts a run: two groups, the second with another lr. */
export function start({ dtype, options, mode, lengths }: Run, backend: BackendName): Training {
  const params = lengths.map((length, i): Parameter<HostArray> => ({
    data: arrayOf(dtype, length, (k) => noise(i, k, 0)),
    grad: null,
    name: `layer ${i}`,
  }));
  const groups = [{ params: params.slice(0, 3) }, { params: params.slice(3), lr: 0.5 }];
  return { params, optimizer: new SGD(groups, { ...options, ...mode, backend }) };
}

/** Takes the steps `from <= step < to`. */
export function train({ params, optimizer }: Training, run: Run, from: number, to: number): void {
  for (let step = from; step < to; step++) {
    for (const [i, parameter] of params.entries()) setGradient(parameter, i, step, run);
    optimizer.step();
  }
}

/** Saves a run: the optimizer with its parameters. */
export async function stop({ optimizer }: Training, path: string): Promise<void> {
  await saveState(path, optimizer, { parameters: true });
}

/** Goes on with a run, from a file and from nothing else. */
export async function resume(run: Run, backend: BackendName, path: string): Promise<Training> {
  const { params } = start(run, backend);
  for (const { data } of params) data.fill(NaN);
  const groups = [{ params: params.slice(0, 3) }, { params: params.slice(3) }];
  const optimizer = new SGD<HostArray>(groups, { lr: 99, ...run.mode, seed: 99, backend });
  optimizer.loadStateDict(await loadState(path), { parameters: true });
  return { params, optimizer };
}

/** Every bit of a run: parameters, state and hyperparameters. */
export function fingerprint({ params, optimizer }: Training): string {
  const arrays = params.map((parameter) => {
    const { momentumBuffer, momentum8, masterWeight, correction } = optimizer.state.get(parameter)!;
    const codes = [momentum8?.values ?? null, momentum8?.scales ?? null, correction];
    return [parameter.data, momentumBuffer, masterWeight, ...codes].map(hex);
  });
  const { rounding } = optimizer.stateDict();
  const groups = optimizer.paramGroups.map(({ params: _, ...values }) => values);
  return JSON.stringify({ arrays, groups, rounding });
}

/** Gradients that depend on the parameters; some come late, some are missing at times. */
function setGradient(
  parameter: Parameter<HostArray>,
  i: number,
  step: number,
  { dtype }: Run,
): void {
  const isAbsent = i === 0 && step < STEPS.before || i === 2 && step === STEPS.before;
  const data = numbersOf(parameter.data);
  parameter.grad = isAbsent ? null : arrayOf(
    dtype,
    data.length,
    (k) => step === 1 && i === 1 ? 0 : noise(i, k, step + 1) + data[k] / 2,
  );
}

/** A multiple of 1/32 between -2 and 2. */
function noise(i: number, k: number, step: number): number {
  let state = (i * 7919 + k * 104_729 + step * 1_299_709 + 1) >>> 0;
  state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d);
  state = Math.imul(state ^ state >>> 12, 0x297a2d39);
  return ((state >>> 16) % 129 - 64) / 32;
}

function arrayOf(dtype: Run["dtype"], length: number, of: (k: number) => number): HostArray {
  const values = Float64Array.from({ length }, (_, k) => of(k));
  if (dtype === "float64") return values;
  return dtype === "float32" ? Float32Array.from(values) : fromNumbers(dtype, values);
}

function hex(array: HostArray | Int8Array | Uint8Array | Int16Array | null): string | null {
  if (array === null) return null;
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  // Of large arrays a digest, to keep what is passed between processes short.
  return bytes.length < 10_000 ? bytes.toHex() : createHash("sha256").update(bytes).digest("hex");
}
