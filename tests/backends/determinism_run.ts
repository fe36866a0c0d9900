/**
 * Steps tensors of awkward sizes, large enough for all threads, and prints what came of it as JSON.
 * `determinism_test.ts` runs this under various settings, which a process reads only once.
 */

import { clipGradNorm, SGD } from "@descent/sgd";
import type { GroupOptions, HostArray, Parameter, SGDOptions } from "@descent/sgd";
import { openLibrary } from "../../src/native/library.ts";
import { digest, generate } from "../support/golden.ts";
import { guarded } from "../support/guarded.ts";
import { digest as digestBits, fromNumbers, TYPES } from "../core/sixteen_bit/golden.ts";

const GROUPS: GroupOptions[] = [
  { lr: 0.1, weightDecay: 0.01 },
  { lr: 0.1, momentum: 0.9, weightDecay: 0.3, decoupledWeightDecay: true },
  { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 1e-4 },
  { lr: 0.01, momentum: 0.9, dampening: 0.1, maximize: true, sign: true },
];
const LARGE = { float32: [1_234_567, 524_289, 32_769], float64: [400_001, 65_535, 32_767] };
const SMALL = Array.from({ length: 71 }, (_, i) => i);

/** What a process prints. */
export interface Report {
  /** For each backend the one that was got, or the error. */
  readonly got: Record<"cpu" | "auto" | "js", string>;
  /** The numbers, unless there was an error. */
  readonly numbers?: {
    readonly simd: string;
    readonly threads: number;
    readonly digest: string;
    readonly intact: boolean;
    /** What steps with options measured. */
    readonly norms: readonly (number | null)[];
    /** Digests of 16-bit parameters and their state. */
    readonly sixteenBit: readonly string[];
  };
}

function open(backend: "cpu" | "auto" | "js"): string {
  try {
    const parameter = { data: new Float32Array(1), grad: null };
    return new SGD([parameter], { lr: 1, backend }).backend;
  } catch (error) {
    return String(error);
  }
}

function tensors() {
  const list = (["float32", "float64"] as const).flatMap((dtype) =>
    [...SMALL, ...LARGE[dtype]].map((size) => ({ dtype, size }))
  );
  return list.map(({ dtype, size }, i) => {
    const make = (step: number) =>
      guarded(generate(dtype, "ordinary", [1, i, step], size), (i + step) % 7);
    return { data: make(0), grads: [make(1), make(2), make(3)] };
  });
}

async function numbers() {
  const all = tensors();
  const parameters = all.map(({ data }) => ({ data: data.array, grad: all[0].data.array }));
  const groups = GROUPS.map((group, g) => ({
    ...group,
    params: parameters.filter((_, i) => i % GROUPS.length === g),
  }));
  const optimizer = new SGD(groups, { lr: 1, backend: "cpu" });
  for (const n of [0, 1, 2]) {
    all.forEach(({ grads }, i) => parameters[i].grad = grads[n].array);
    optimizer.step();
  }
  const norms: (number | null)[] = [];
  all.forEach(({ grads }, i) => parameters[i].grad = grads[1].array);
  optimizer.step({ gradScale: 3, maxNorm: 50, maxValue: 0.02 });
  norms.push(optimizer.lastStep!.gradNorm);
  const report = await optimizer.stepAsync({ maxNorm: 20, maxNormPer: "group" });
  norms.push(...report.groupNorms!);
  for (const normType of [1, Infinity]) {
    const options = { backend: "cpu", normType } as const;
    norms.push(clipGradNorm(all.map(({ grads }) => grads[1].array), Infinity, options));
  }
  norms.push(clipGradNorm(all.map(({ grads }) => grads[1].array), 10, { backend: "cpu" }));
  optimizer.step({ zeroGrad: true, checkFinite: true });
  norms.push(optimizer.lastStep!.gradNorm);
  const buffers = [...optimizer.state.values()].flatMap((s) => s.momentumBuffer ?? []);
  return {
    digest: digest([...parameters.map(({ data }) => data), ...buffers]),
    norms,
    sixteenBit: sixteenBit(),
    intact: all.every(({ data, grads }) => [data, ...grads].every((each) => each.intact())),
  };
}

const MODES: SGDOptions[] = [
  { lr: 0.1, rounding: "nearest" },
  { lr: 0.1, rounding: "stochastic", seed: 2 ** 40 + 1, masterWeights: true },
  { lr: 0.1, rounding: "stochastic" },
  { lr: 0.1, rounding: "torch" },
];

/** 16-bit tensors, of sizes at which they are shared out too. */
function sixteenBit(): string[] {
  return MODES.flatMap((mode) =>
    TYPES.map((dtype) => {
      const values = (size: number, step: number) =>
        fromNumbers(dtype, generate("float32", "ordinary", [2, 0, step], size));
      const params = [400_001, 262_145, ...SMALL].map((size): Parameter<HostArray> => ({
        data: values(size, 0),
        grad: values(size, 1),
      }));
      const optimizer = new SGD(params, { ...mode, momentum: 0.9, backend: "cpu" });
      optimizer.step();
      optimizer.step({ gradScale: 3, maxNorm: 50 });
      const state = [...optimizer.state.values()];
      const kept = state.flatMap((s) => [s.momentumBuffer!, s.masterWeight ?? []].flat());
      return digestBits([...params.map(({ data }) => data), ...kept as HostArray[]]);
    })
  );
}

if (import.meta.main) {
  const got = { cpu: open("cpu"), auto: open("auto"), js: open("js") };
  const library = got.cpu === "cpu" ? openLibrary() : undefined;
  const report: Report = library !== undefined && "info" in library
    ? { got, numbers: { ...library.info, ...await numbers() } }
    : { got };
  console.log(JSON.stringify(report));
}
