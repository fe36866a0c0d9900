/**
 * Options of steps of ranks: each has the bits of one process that takes the sum of what each rank's own
 * process would have used. `exchange_test.ts` has types, and options that read gradients only.
 */

import { assertEquals } from "@std/assert";
import { BFloat16Array, SGD, WeightAverage } from "@descent/sgd";
import { ENGINES, runJob, testOn } from "./jobs.ts";

/** The text of a training, which is the same in a rank and in one process. */
const TRAINING = `
const LENGTHS = [5000, 9001, 10, 4097];
function randomOf(seed) {
  let x = seed * 2654435761 >>> 0;
  return () => {
    x = Math.imul(x ^ x >>> 15, 0x2c1b3c6d) + 0x9e3779b9 >>> 0;
    return ((x ^ x >>> 13) >>> 0) / 2 ** 32 - 0.5;
  };
}
function arrayOf(type, length, next) {
  if (type === "bfloat16") {
    const words = new Uint32Array(Float32Array.from({ length }, next).buffer);
    return new BFloat16Array(Uint16Array.from(words, (word) => word >>> 16));
  }
  return { float32: Float32Array, float64: Float64Array, float16: Float16Array }[type]
    .from({ length }, next);
}
function hashOf(arrays) {
  let h = 0;
  for (const { buffer, byteOffset, byteLength } of arrays) {
    for (const b of new Uint8Array(buffer, byteOffset, byteLength)) h = Math.imul(h ^ b, 16777619) >>> 0;
  }
  return h;
}
/** The gradient of a parameter on a rank, and what is added to it. */
function gradientsOf({ type, lists = 0 }, i, round, rank) {
  const make = (list) => arrayOf(type, LENGTHS[i], randomOf(1000 * round + 100 * list + 10 * rank + i + 7));
  const added = Array.from({ length: lists }, (_, list) => (i + list) % 3 === 1 ? null : make(list + 1));
  return { grad: make(0), added };
}
function create(setting, { keep = (_, array) => array, ...more }) {
  const params = LENGTHS.map((length, i) => ({
    name: "p" + i,
    data: keep("data" + i, arrayOf(setting.type, length, randomOf(i + 1))),
    grad: null,
  }));
  const groups = [{ params: params.slice(0, 2) }, { params: params.slice(2), lr: 0.02 }];
  const optimizer = new SGD(groups, { lr: 0.1, ...setting.options, ...more });
  const average = setting.isAveraged ? new WeightAverage(params, { decay: 0.75 }) : undefined;
  return { params, optimizer, average };
}
function report(setting, { params, optimizer, average }, reports) {
  const state = Object.values(optimizer.stateDict().state).flatMap((entry) =>
    Object.keys(entry).sort().map((key) => entry[key]?.data ?? entry[key]).filter(ArrayBuffer.isView)
  );
  const averages = Object.values(average?.stateDict().averages ?? {}).map((array) => array.data ?? array);
  const all = [params.map(({ data }) => data), state, averages].map(hashOf);
  return JSON.stringify([all, reports]);
}
async function trainRank(setting, { keep = (_, array) => array, ...more }) {
  const made = create(setting, { keep, ...more });
  const reports = [];
  for (let round = 0; round < 3; round++) {
    const all = LENGTHS.map((_, i) => gradientsOf(setting, i, round, more.world.rank));
    made.params.forEach((p, i) => p.grad = keep("grad" + i, all[i].grad));
    const step = { ...setting.step };
    if (made.average) step.average = made.average;
    if (setting.lists) {
      step.addGradients = Array.from({ length: setting.lists }, (_, list) => all.map(({ added }) => added[list]));
    }
    const { skipped, gradNorm, clipCoefficients } = round === 1
      ? await made.optimizer.stepAsync(step)
      : (made.optimizer.step(step), made.optimizer.lastStep);
    const used = [made.params.map(({ grad }) => grad), ...step.addGradients ?? []].flat();
    const isZero = used.every((array) => array === null || array.every((x) => x === 0));
    reports.push([skipped, gradNorm, clipCoefficients, isZero]);
  }
  return report(setting, made, reports);
}`;

interface Setting {
  readonly type: string;
  readonly options: object;
  readonly step?: object;
  /** How many lists of gradients are added. */
  readonly lists?: number;
  readonly isAveraged?: boolean;
}

const NESTEROV = { momentum: 0.9, nesterov: true, weightDecay: 0.01 };

const SETTINGS: Readonly<Record<string, Setting>> = {
  "the 1-norm": { type: "float32", options: NESTEROV, step: { maxNorm: 1, normType: 1 } },
  "the largest magnitude": {
    ...{ type: "float32", options: NESTEROV, step: { maxNorm: 0.5, normType: Infinity } },
  },
  "the 1-norm of each group, float64": {
    ...{ type: "float64", options: NESTEROV },
    step: { maxNorm: 2, normType: 1, maxNormPer: "group", gradScale: 4 },
  },
  "the largest magnitude of each group, bfloat16 as in torch": {
    ...{ type: "bfloat16", options: { ...NESTEROV, rounding: "torch" } },
    step: { maxNorm: 0.25, normType: Infinity, maxNormPer: "group", zeroGrad: true },
  },
  "gradients that are added": { type: "float32", options: NESTEROV, lists: 2 },
  "gradients that are added, and clipped by the 1-norm": {
    ...{ type: "float32", options: NESTEROV, lists: 2 },
    step: { maxNorm: 1, normType: 1, zeroGrad: true },
  },
  "gradients that are added, float64": { type: "float64", options: NESTEROV, lists: 3 },
  "gradients that are added, bfloat16": {
    ...{ type: "bfloat16", options: NESTEROV, lists: 2, step: { maxNorm: 1 } },
  },
  "gradients that are added, float16 with 8-bit momentum": {
    ...{ type: "float16", options: { ...NESTEROV, momentumBits: 8 }, lists: 2 },
  },
  "gradients that are added, bfloat16 as in torch": {
    ...{ type: "bfloat16", options: { ...NESTEROV, rounding: "torch" }, lists: 2 },
  },
  "gradients that are added, split masters": {
    ...{ type: "bfloat16", options: { ...NESTEROV, masterWeights: "split" }, lists: 1 },
  },
  "an average": { type: "float32", options: NESTEROV, isAveraged: true },
  "an average of masters": {
    ...{ type: "bfloat16", options: { ...NESTEROV, masterWeights: true }, isAveraged: true },
  },
  "an average of split masters, clipped, with gradients that are added": {
    ...{ type: "bfloat16", options: { ...NESTEROV, masterWeights: "split" }, isAveraged: true },
    ...{ lists: 1, step: { maxNorm: 1 } },
  },
  "an average of split24 masters": {
    ...{ type: "float16", options: { ...NESTEROV, masterWeights: true }, isAveraged: true },
  },
  "decoupled weight decay": {
    type: "float32",
    options: { ...NESTEROV, decoupledWeightDecay: true },
  },
};

// deno-lint-ignore no-explicit-any -- arrays of every type, from a program's text
type Values = any;

const { create, report, gradientsOf } = new Function(
  ...["BFloat16Array", "SGD", "WeightAverage"],
  `${TRAINING}; return { create, report, gradientsOf };`,
)(BFloat16Array, SGD, WeightAverage) as Record<string, Values>;

/** One process with the sums that the ranks' own processes would have used. */
function trainAlone(setting: Setting, size: number): string {
  const made = create(setting, {});
  const reports: unknown[] = [];
  const { step = {} } = setting as { step?: { gradScale?: number; zeroGrad?: boolean } };
  for (let round = 0; round < 3; round++) {
    const [own, ...others] = Array.from(
      { length: size },
      (_, rank) =>
        made.params.map((_: Values, i: number) => {
          const { grad, added } = gradientsOf(setting, i, round, rank);
          return sumOf(setting, [grad, ...added.filter((array: Values) => array !== null)]);
        }),
    );
    made.params.forEach((p: Values, i: number) => p.grad = own[i]);
    made.optimizer.step({
      ...{ addGradients: others, checkFinite: "maxNorm" in step, ...step },
      gradScale: (step.gradScale ?? 1) * size,
      ...made.average && { average: made.average },
    });
    const { skipped, gradNorm, clipCoefficients } = made.optimizer.lastStep;
    const isMeasured = "maxNorm" in step;
    reports.push([
      ...isMeasured ? [skipped, gradNorm, clipCoefficients] : [false, null, null],
      step.zeroGrad === true,
    ]);
  }
  return report(setting, made, reports);
}

/** What one process uses: each sum is rounded to the type that is computed in. */
function sumOf({ type, options }: Setting, arrays: Values[]): Values {
  if (arrays.length === 1 && !isWide(type, options)) return arrays[0];
  const numbers: ArrayLike<number>[] = arrays.map((array) =>
    array instanceof BFloat16Array ? array.toFloat32Array() : array
  );
  const round = type === "float64" ? (x: number) => x : Math.fround;
  const Type = type === "float64" ? Float64Array : Float32Array;
  if (isWide(type, options) || !type.includes("16")) {
    return (Type as Float32ArrayConstructor).from(
      numbers[0],
      (x: number, k: number) => numbers.slice(1).reduce((sum, array) => round(sum + array[k]), x),
    );
  }
  return arrays.slice(1).reduce((sum, array) => {
    const [a, b] = [sum.toFloat32Array(), array.toFloat32Array()];
    return BFloat16Array.from(a.map((x: number, k: number) => x + b[k]));
  }, arrays[0]);
}

/** Whether sums of 16-bit gradients are float32. */
function isWide(type: string, options: { rounding?: string }): boolean {
  return type.includes("16") && options.rounding !== "torch";
}

const SIZES = { "files": 2, "Open MPI": 2, "MPICH": 3 } as const;

for (const engine of ENGINES) {
  const size = SIZES[engine];
  for (const exchange of ["gradients", "shards"]) {
    for (const shares of [false, true]) {
      const memory = shares ? " in shared memory" : "";
      const name = `options of ${size} ranks that exchange ${exchange}${memory} have their bits`;
      testOn(engine, name, async () => {
        const ending = await runJob(
          engine,
          size,
          `import { BFloat16Array, WeightAverage } from "@descent/sgd";
          ${TRAINING}
          using world = openWorld();
          for (const setting of ${printed(Object.values(SETTINGS))}) {
            const arrays = {};
            const keep = (name, array) => {
              const shared = arrays[name] ??= world.zeros(array.length, setting.type);
              shared.set(array);
              return shared;
            };
            const more = { world, exchange: "${exchange}", ...${shares} && { keep } };
            say(await trainRank(setting, more));
          }`,
        );
        assertEquals(ending.code, 0, ending.err);
        Object.entries(SETTINGS).forEach(([name, setting], i) => {
          const found = ending.out.map((out) => out.split("\n")[i]);
          assertEquals(found, new Array(size).fill(trainAlone(setting, size)), name);
        });
      });
    }
  }
}

/** A value as text of JavaScript, in which there are infinities. */
function printed(value: unknown): string {
  return JSON.stringify(value, (_, x) => x === Infinity ? "Infinity" : x)
    .replaceAll('"Infinity"', "Infinity");
}
