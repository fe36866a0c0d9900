/**
 * Options of steps of ranks: each has the bits of one process that takes the sum of what each rank's own
 * process would have used. `exchange_test.ts` has types, and options that read gradients only.
 */

import { assertEquals } from "@std/assert";
import { BFloat16Array, clipGradNorm, GradScaler, SGD, WeightAverage } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import { LRScheduler, stepLR } from "@descent/sgd/schedules";
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

/** What ranks do that differ; `w` has master weights. */
const DIFFERENCES: Readonly<Record<string, { body: string; message: string }>> = {
  "norms of different types": {
    body: "optimizer.step({ maxNorm: 1, normType: 1 + rank });",
    message: "Cannot step as the options differ between the ranks: " +
      "normType is 1 on rank 0 and 2 on rank 1",
  },
  "a gradient that one rank has something added to": {
    body: "optimizer.step({ addGradients: [[rank === 0 ? w.grad.slice() : null, null]] });",
    message: "Cannot step as the gradients differ between the ranks: " +
      'what is added to grad of parameter 0 ("w") is an array on rank 0 and null on rank 1: ' +
      "use zeros where there is no gradient",
  },
  "an average of sharded masters that one rank has": {
    body: "optimizer.step(rank === 0 ? { average: new WeightAverage([w], { decay: 0.5 }) } : {});",
    message: "Cannot step as the options differ between the ranks: " +
      "average is given on rank 0 and not given on rank 1",
  },
  "scales that differ": {
    body: "new GradScaler({ initScale: 4 + 4 * rank }).unscale(optimizer);",
    message: "Cannot unscale the gradients as the scale is 4 on rank 0 and 8 on rank 1",
  },
  "unscale on one rank, and a step on the other": {
    body: "rank === 0 ? new GradScaler().unscale(optimizer) : optimizer.step();",
    message: "Cannot unscale the gradients as " +
      "rank 0 unscales the gradients while rank 1 steps",
  },
  "a group that one rank removes": {
    body: "rank === 0 ? optimizer.removeParamGroup(1) : optimizer.step();",
    message: "Cannot rearrange the parameters as " +
      "rank 0 rearranges the parameters while rank 1 steps",
  },
  "different groups that are removed": {
    body: "optimizer.removeParamGroup(rank);",
    message: "Cannot rearrange the parameters as " +
      "the new order of parameters is [1] on rank 0 and [0] on rank 1",
  },
};

for (const engine of ENGINES) {
  for (const [name, { body, message }] of Object.entries(DIFFERENCES)) {
    testOn(engine, `${name}: the same error on all ranks, and nothing is written`, async () => {
      const ending = await runJob(
        engine,
        2,
        `
        import { BFloat16Array, GradScaler, WeightAverage } from "@descent/sgd";
        using world = openWorld();
        const { rank } = world;
        const make = (name) => ({ name, data: new BFloat16Array(2), grad: BFloat16Array.of(1, 1) });
        const [w, v] = [make("w"), { ...make("v"), grad: null }];
        const options = { lr: 1, masterWeights: true, world, exchange: "shards" };
        const optimizer = new SGD([{ params: [w] }, { params: [v] }], options);
        try {
          ${body}
        } catch (error) {
          say(error.name + ": " + error.message);
        }
        say([w.data.join(), w.grad.join(), optimizer.paramGroups.length].join(" "));
        `,
      );
      const expected = `WorldError: ${message}\n0,0 1,1 2`;
      assertEquals(ending.out, [expected, expected], ending.err);
    });
  }

  testOn(engine, "norms of voters are means over the ranks, or the largest of all", async () => {
    const ending = await runJob(
      engine,
      2,
      `using world = openWorld();
      const w = { data: new Float32Array(2), grad: Float32Array.of(3, world.rank === 0 ? -4 : 9) };
      const options = { lr: 0.5, momentum: 0.5, sign: true, world, exchange: "signs" };
      const optimizer = new SGD([w], options);
      const found = [];
      for (const normType of [1, Infinity]) {
        optimizer.step({ maxNorm: 4.5, normType });
        const { gradNorm, clipCoefficients: [clip] } = optimizer.lastStep;
        found.push(gradNorm, clip.toFixed(4));
      }
      say(found.join(" "));
      if (world.rank === 1) w.grad[0] = NaN;
      optimizer.step({ maxNorm: 1, normType: Infinity });
      say(optimizer.lastStep.skipped);`,
    );
    // Magnitudes are 3 + 4 and 3 + 9.
    const expected = "9.5 0.4737 9 0.5000\ntrue";
    assertEquals(ending.out, [expected, expected], ending.err);
  });

  testOn(engine, "voters add gradients to their own before they vote", async () => {
    const ending = await runJob(
      engine,
      3,
      `import { BFloat16Array } from "@descent/sgd";
      using world = openWorld();
      const LENGTH = 9001;
      const numbers = (seed) => Float32Array.from({ length: LENGTH }, (_, k) =>
        (Math.imul(k + 1, 2654435761 + 40503 * seed) >>> 16) / 65536 - 0.5);
      for (const Type of [Float32Array, BFloat16Array]) {
        const arrays = [1, 2, 3].map((list) => Type.from(numbers(10 * world.rank + list)));
        const [g, a, b] = arrays;
        const wide = arrays.map((array) => Float32Array.from(array));
        const sum = wide[0].map((x, k) => Math.fround(x + wide[1][k]) + wide[2][k]);
        const options = { lr: 0.5, momentum: 0.5, sign: true, world, exchange: "signs" };
        const make = (grad) => ({ data: new Type(LENGTH), grad });
        const [w, v] = [make(g), make(sum)];
        const [one, other] = [w, v].map((p) => new SGD([p], options));
        for (const step of [{}, { maxNorm: 1 }]) {
          one.step({ ...step, addGradients: [[a], [b]] });
          other.step(step);
        }
        const same = (x, y) => x.every((value, k) => value === y[k]);
        const [momentum, expected] = [one, other].map((o) => [...o.state.values()][0].momentumBuffer);
        say(same([...w.data], [...v.data]) && same(momentum, expected) && w.data.some((x) => x !== 0));
        say(one.lastStep.gradNorm === other.lastStep.gradNorm);
      }`,
    );
    const expected = "true\n".repeat(4).trim();
    assertEquals(ending.out, new Array(3).fill(expected), ending.err);
  });

  testOn(engine, "voters with equal gradients average and decay as one process", async () => {
    const program = `
      for (const Type of [Float32Array, BFloat16Array]) {
        const w = { data: Type.from({ length: 5000 }, (_, k) => k % 7 - 3), grad: null };
        const options = { lr: 0.125, momentum: 0.5, weightDecay: 0.1, decoupledWeightDecay: true };
        const masters = { masterWeights: Type === BFloat16Array };
        const optimizer = new SGD([w], { ...options, ...masters, sign: true, ...more });
        const scheduler = new LRScheduler(optimizer, stepLR({ stepSize: 1, gamma: 0.5 }));
        const average = new WeightAverage([w], { decay: 0.5 });
        for (let round = 0; round < 3; round++) {
          w.grad = Type.from({ length: 5000 }, (_, k) => (k * (round + 3)) % 11 - 5);
          optimizer.step({ average, maxValue: 4 });
          scheduler.step();
        }
        const { momentum_buffer } = optimizer.stateDict().state[0];
        const { data } = average.stateDict().averages[0];
        say([[...w.data], [...momentum_buffer], [...data]].map((values) =>
          values.reduce((hash, x, k) => Math.imul(hash ^ x * 2 ** 20, 16777619) >>> 0, 0)).join());
      }`;
    const ending = await runJob(
      engine,
      2,
      `import { BFloat16Array, WeightAverage } from "@descent/sgd";
      import { LRScheduler, stepLR } from "@descent/sgd/schedules";
      using world = openWorld();
      const more = { world, exchange: "signs" };
      ${program}`,
    );
    const said: string[] = [];
    const names = ["SGD", "WeightAverage", "BFloat16Array", "LRScheduler", "stepLR", "more", "say"];
    const say = (text: string) => said.push(text);
    const values = [SGD, WeightAverage, BFloat16Array, LRScheduler, stepLR, {}, say];
    new Function(...names, program)(...values);
    assertEquals(ending.out, new Array(2).fill(said.join("\n")), ending.err);
  });

  testOn(engine, "stepAsync of more buffers than a call can keep alive", async () => {
    const ending = await runJob(
      engine,
      2,
      `using world = openWorld();
      const COUNT = 2100; // gradients and data have a buffer each on rank 0, and one on rank 1
      const make = () => {
        const all = new Float32Array(4 * COUNT);
        const at = (i) => world.rank === 0 ? new Float32Array(2) : all.subarray(2 * i, 2 * i + 2);
        return Array.from({ length: COUNT }, (_, i) => {
          const [data, grad] = [at(2 * i), at(2 * i + 1)];
          grad.set([i % 7 + world.rank, 1]);
          return { data, grad };
        });
      };
      const [now, later] = [make(), make()];
      const [a, b] = [now, later].map((params) => new SGD(params, { lr: 0.1, momentum: 0.9, world }));
      for (const step of [undefined, { maxNorm: 1, zeroGrad: true }]) {
        a.step(step);
        const report = await b.stepAsync(step);
        say(JSON.stringify(a.lastStep) === JSON.stringify(report));
        say(now.every(({ data, grad }, i) =>
          data.join() === later[i].data.join() && grad.join() === later[i].grad.join()));
      }
      world.verify(b);`,
    );
    const expected = "true\n".repeat(4).trim();
    assertEquals(ending.out, [expected, expected], ending.err);
  });

  testOn(engine, "what is local: clipGradNorm, and with gradients the state", async () => {
    const ending = await runJob(
      engine,
      2,
      `import { clipGradNorm, saveState } from "@descent/sgd";
      using world = openWorld();
      const w = { data: new Float32Array(2), grad: Float32Array.of(3, 4 * (1 + world.rank)) };
      const optimizer = new SGD([w], { lr: 1, momentum: 0.5, world });
      say(clipGradNorm([w], 5).toFixed(3));
      optimizer.step();
      if (world.rank === 0) {
        const file = await Deno.makeTempFile();
        await saveState(file, optimizer);
        await Deno.remove(file);
        say(optimizer.state.get(w).momentumBuffer.join() === optimizer.stateDict().state[0].momentum_buffer.join());
      }
      optimizer.step();
      say(w.data.every((x) => x < 0));
      const voter = new SGD([w], { lr: 1, momentum: 0.5, sign: true, world, exchange: "signs" });
      voter.step();
      if (world.rank === 0) say(voter.stateDict().state[0].momentum_buffer[0] === w.grad[0]);
      voter.step();`,
    );
    assertEquals(ending.out, ["5.000\ntrue\ntrue\ntrue", "8.544\ntrue"], ending.err);
  });

  testOn(engine, "an average of sharded masters outside of their step is refused", async () => {
    const ending = await runJob(
      engine,
      2,
      `import { BFloat16Array, WeightAverage } from "@descent/sgd";
      using world = openWorld();
      const make = (name) => ({ name, data: BFloat16Array.of(1, 2), grad: BFloat16Array.of(1, 1) });
      const [w, v] = [make("w"), make("v")];
      const [one, other] = [[w], [v]].map((params) =>
        new SGD(params, { lr: 0.5, masterWeights: true, world, exchange: "shards" }));
      const average = new WeightAverage([w, v], { decay: 0.5 });
      one.step();
      for (const update of [() => average.update(), () => other.step({ average })]) {
        try { update(); } catch (error) { say(error.name + ": " + error.message); }
      }
      say(average.count + " " + [...v.data].join());
      new WeightAverage([v], { decay: 0.5 }).update(); // it has none yet
      say("on");`,
    );
    const refused =
      'TypeError: Cannot average data of parameter 0 ("w") as with exchange "shards" ' +
      "each rank has a part of its master weights: use the option average of its optimizer's step";
    const expected = [refused, refused, "0 1,2", "on"].join("\n");
    assertEquals(ending.out, [expected, expected], ending.err);
  });

  testOn(engine, "a length that changes while ranks have parts of the state", async () => {
    const ending = await runJob(
      engine,
      2,
      `using world = openWorld();
      const make = (momentum) => ({ params: [{ data: new Float32Array(3), grad: new Float32Array(3).fill(1) }], momentum });
      const groups = [make(0), make(0.9)];
      const optimizer = new SGD(groups, { lr: 1, world, exchange: "shards" });
      optimizer.step();
      const [w] = groups[0].params;
      [w.data, w.grad] = [new Float32Array(5), new Float32Array(5)];
      try { optimizer.step(); } catch (error) { say(error.name + ": " + error.message); }
      optimizer.removeParamGroup(1);
      optimizer.step();
      say(w.data.join());`,
    );
    const expected = "RangeError: Cannot use data of parameter 0 as " +
      'with exchange "shards" its length must stay 3: current length is 5\n0,0,0,0,0';
    assertEquals(ending.out, [expected, expected], ending.err);
  });
}

Deno.test("a world of one rank adds gradients, clips and unscales as without one", () => {
  using world = openWorld();
  const train = (more: { world?: typeof world; exchange?: "shards" }) => {
    const w = { data: Float32Array.of(1, 2), grad: Float32Array.of(3, -4) };
    const optimizer = new SGD([w], { lr: 0.5, momentum: 0.5, ...more });
    const average = new WeightAverage([w], { decay: 0.5 });
    const addGradients = [[Float32Array.of(1, 1)]];
    optimizer.step({ maxNorm: 2, normType: 1, addGradients, average, zeroGrad: true });
    const reports = [optimizer.lastStep, clipGradNorm([w], 1)];
    const scaler = new GradScaler({ initScale: 4 });
    w.grad[1] = Infinity;
    scaler.unscale(optimizer);
    reports.push(scaler.step(optimizer));
    scaler.update();
    average.swap();
    return [w, addGradients, reports, scaler.getScale(), optimizer.stateDict()];
  };
  assertEquals(train({ world, exchange: "shards" }), train({}));
});

/** A value as text of JavaScript, in which there are infinities. */
function printed(value: unknown): string {
  return JSON.stringify(value, (_, x) => x === Infinity ? "Infinity" : x)
    .replaceAll('"Infinity"', "Infinity");
}
