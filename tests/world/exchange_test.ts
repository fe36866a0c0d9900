/** Steps of all ranks together have the bits of one process that adds up the gradients of all. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import { ENGINES, runJob, testOn } from "./jobs.ts";

/**
 * A training of three groups with options; the same text runs in a rank and in one process. `ranks` are those
 * whose gradients this process makes, of `size` in all.
 */
const TRAINING = `
function train(SGD, setting, ranks, size, more) {
  const LENGTHS = [1, 63, 5000, setting.isLarge ? 300_001 : 9001, 4096, 10];
  const random = (seed) => {
    let x = seed * 2654435761 >>> 0;
    return () => {
      x = Math.imul(x ^ x >>> 15, 0x2c1b3c6d) + 0x9e3779b9 >>> 0;
      return ((x ^ x >>> 13) >>> 0) / 2 ** 32 - 0.5;
    };
  };
  const { type, options, step, skip } = setting;
  const keep = more.keep ?? ((_, array) => array);
  const arrayOf = (length, next) => {
    if (type === "bfloat16") {
      const wide = Float32Array.from({ length }, next);
      return new BFloat16Array(new Uint16Array(wide.length).map((_, i) => new Uint32Array(wide.buffer)[i] >>> 16));
    }
    const Type = { float32: Float32Array, float64: Float64Array, float16: Float16Array }[type];
    return Type.from({ length }, next);
  };
  const params = LENGTHS.map((length, i) => ({
    name: "p" + i,
    data: keep("data" + i, arrayOf(length, random(i + 1 + (more.rank ?? 0) * 100))),
    grad: null,
  }));
  const groups = [
    { params: params.slice(0, 2) },
    { params: params.slice(2, 4), lr: 0.02, weightDecay: 0.1 },
    { params: params.slice(4), momentum: 0, nesterov: false },
  ];
  const { world, exchange } = more;
  const optimizer = new SGD(groups, { lr: 0.1, ...options, ...(world && { world, exchange }) });
  const gradient = (i, round, rank) => arrayOf(LENGTHS[i], random(1000 * round + 10 * rank + i + 7));
  const reports = [];
  for (let round = 0; round < 4; round++) {
    params.forEach((p, i) => {
      const isLate = i === 4 && round < 2;
      p.grad = isLate ? null : keep("grad" + i, gradient(i, round, ranks[0]));
    });
    const wide = round === skip;
    if (wide && ranks.includes(size - 1)) {
      const at = ranks.indexOf(size - 1);
      if (at === 0) params[2].grad[77] = NaN;
    }
    const added = ranks.slice(1).map((rank) => params.map((p, i) => {
      const g = p.grad === null ? null : gradient(i, round, rank);
      if (wide && rank === size - 1 && i === 2) g[77] = NaN;
      return g;
    }));
    if (world) optimizer.step(step);
    else optimizer.step({ addGradients: added, checkFinite: false, ...step, gradScale: (step?.gradScale ?? 1) * size });
    const { skipped, gradNorm, clipCoefficients } = optimizer.lastStep;
    if (step !== undefined) reports.push([skipped, gradNorm, clipCoefficients]);
  }
  let h = 0;
  const hash = (array) => {
    for (const b of new Uint8Array(array.buffer, array.byteOffset, array.byteLength)) {
      h = Math.imul(h ^ b, 16777619) >>> 0;
    }
  };
  for (const { data } of params) hash(data);
  const { state } = optimizer.stateDict();
  for (const id of Object.keys(state)) {
    for (const key of Object.keys(state[id]).sort()) {
      const value = state[id][key];
      const tensor = ArrayBuffer.isView(value) ? value : value?.data;
      if (ArrayBuffer.isView(tensor)) hash(tensor);
    }
  }
  return JSON.stringify([h, reports]);
}`;

const NESTEROV = { momentum: 0.9, nesterov: true, weightDecay: 0.01 };

/** What is trained. */
const SETTINGS = {
  "float32, several buckets": { type: "float32", options: NESTEROV, isLarge: true },
  "float32, several buckets, clipped": {
    ...{ type: "float32", options: NESTEROV, step: { maxNorm: 1 }, isLarge: true },
  },
  "float32, dampening and maximize": {
    ...{ type: "float32", options: { momentum: 0.9, dampening: 0.2, maximize: true } },
  },
  "float32, sign": { type: "float32", options: { momentum: 0.5, sign: true } },
  "float32, clipped by the norm": {
    ...{ type: "float32", options: NESTEROV, step: { maxNorm: 1, zeroGrad: true } },
  },
  "float32, clipped per group and by value, unscaled": {
    ...{ type: "float32", options: NESTEROV },
    step: { maxNorm: 0.5, maxNormPer: "group", maxValue: 0.001, gradScale: 8 },
  },
  "float32, a step skipped": {
    ...{ type: "float32", options: NESTEROV, step: { checkFinite: true, gradScale: 2 }, skip: 1 },
  },
  "float32, 8-bit momentum": { type: "float32", options: { ...NESTEROV, momentumBits: 8 } },
  "float64": { type: "float64", options: NESTEROV },
  "float64, clipped": { type: "float64", options: NESTEROV, step: { maxNorm: 1 } },
  "bfloat16": { type: "bfloat16", options: NESTEROV },
  "bfloat16, stochastic": { type: "bfloat16", options: { ...NESTEROV, rounding: "stochastic" } },
  "bfloat16, split masters, 8-bit momentum": {
    ...{ type: "bfloat16", options: { ...NESTEROV, masterWeights: "split", momentumBits: 8 } },
  },
  "bfloat16, split24": {
    ...{ type: "bfloat16", options: { ...NESTEROV, masterWeights: "split24", momentumBits: 8 } },
  },
  "bfloat16, masters": { type: "bfloat16", options: { ...NESTEROV, masterWeights: true } },
  "bfloat16, torch": { type: "bfloat16", options: { ...NESTEROV, rounding: "torch" } },
  "float16, clipped": { type: "float16", options: NESTEROV, step: { maxNorm: 1 } },
};

/** One process that adds up the gradients of all ranks. */
async function trainAlone(
  size: number,
  settings: readonly object[] = Object.values(SETTINGS),
): Promise<string[]> {
  const source = `${TRAINING}; return train;`;
  const { BFloat16Array } = await import("@descent/sgd");
  const train = new Function("BFloat16Array", source)(BFloat16Array);
  const ranks = Array.from({ length: size }, (_, rank) => rank);
  return settings.map((setting) => train(SGD, setting, ranks, size, {}));
}

const SIZES = [2, 3, 4].flatMap((size) =>
  (["gradients", "shards"] as const).flatMap((exchange) =>
    [false, true].map((shares) => ({ size, exchange, shares }))
  )
);

for (const engine of ENGINES) {
  for (const { size, exchange, shares } of SIZES) {
    if (size > 2 && engine === "files" || size > 3 && shares) continue;
    const memory = shares ? " in shared memory" : "";
    const name = `${size} ranks that exchange ${exchange}${memory} have the bits of one process`;
    testOn(engine, name, async () => {
      const expected = await trainAlone(size);
      const ending = await runJob(
        engine,
        size,
        `
        import { BFloat16Array } from "@descent/sgd";
        ${TRAINING}
        using world = openWorld();
        for (const setting of ${JSON.stringify(Object.values(SETTINGS))}) {
          const arrays = {};
          const keep = (name, array) => {
            const shared = arrays[name] ??= world.zeros(array.length, setting.type);
            shared.set(array);
            return shared;
          };
          const more = { world, exchange: "${exchange}", rank: world.rank, ...${shares} && { keep } };
          say(train(SGD, setting, [world.rank], world.size, more));
        }
        `,
      );
      assertEquals(ending.code, 0, ending.err);
      for (const out of ending.out) {
        const lines = out.split("\n");
        Object.keys(SETTINGS).forEach((name, i) => assertEquals(lines[i], expected[i], name));
      }
    });
  }

  testOn(
    engine,
    "ranks of other SIMD levels and numbers of threads have the same bits",
    async () => {
      const names = ["float32, several buckets, clipped", "bfloat16, stochastic"] as const;
      const settings = names.map((name) => SETTINGS[name]);
      const expected = await trainAlone(2, settings);
      const ending = await runJob(
        engine,
        2,
        `
      import { BFloat16Array } from "@descent/sgd";
      ${TRAINING}
      if (rankOf() === "1") { // before the library is opened
        Deno.env.set("DESCENT_SIMD", "portable");
        Deno.env.set("DESCENT_THREADS", "3");
      }
      using world = openWorld();
      for (const setting of ${JSON.stringify(settings)}) {
        const more = { world, exchange: "shards", rank: world.rank };
        say(train(SGD, setting, [world.rank], 2, more));
      }`,
      );
      assertEquals(ending.out, Array(2).fill(expected.join("\n")), ending.err);
    },
  );

  const refusals: Readonly<Record<string, { body: string; message: string }>> = {
    "parameters of different lengths": {
      body:
        "new SGD([{ name: 'w', data: new Float32Array(10 + world.rank), grad: null }], options);",
      message: "WorldError: Cannot add parameters as the parameters differ between the ranks: " +
        'parameter 0 ("w") has 10 elements on rank 0 and 11 on rank 1',
    },
    "different numbers of parameters": {
      body: `new SGD(Array.from({ length: 1 + world.rank }, () =>
        ({ data: new Float32Array(3), grad: null })), options);`,
      message: "WorldError: Cannot add parameters as the parameters differ between the ranks: " +
        "the optimizer has 1 parameter on rank 0 and 2 parameters on rank 1",
    },
    "a learning rate that one rank has changed": {
      body:
        "w.grad = new Float32Array(3); optimizer.paramGroups[0].lr /= 1 + world.rank; optimizer.step();",
      message: "WorldError: Cannot step as the hyperparameters differ between the ranks: " +
        "lr of group 0 is 0.1 on rank 0 and 0.05 on rank 1",
    },
    "a gradient that one rank lacks": {
      body: "w.grad = world.rank === 0 ? new Float32Array(3) : null; optimizer.step();",
      message: "WorldError: Cannot step as the gradients differ between the ranks: " +
        'grad of parameter 0 ("w") is an array on rank 0 and null on rank 1: ' +
        "use zeros where there is no gradient",
    },
    "options that differ": {
      body: "w.grad = new Float32Array(3); optimizer.step({ maxNorm: 1 + world.rank });",
      message: "WorldError: Cannot step as the options differ between the ranks: " +
        "maxNorm is 1 on rank 0 and 2 on rank 1",
    },
  };
  for (const [name, { body, message }] of Object.entries(refusals)) {
    testOn(engine, `${name}: the same error on all ranks, and nothing is written`, async () => {
      const ending = await runJob(
        engine,
        2,
        `
        using world = openWorld();
        const options = { lr: 0.1, world };
        const w = { name: "w", data: Float32Array.of(1, 2, 3), grad: null };
        const optimizer = new SGD([w], options);
        try {
          ${body}
        } catch (error) {
          say(\`\${error.name}: \${error.message}\`);
        }
        say(w.data.join());
        `,
      );
      assertEquals(ending.out, [`${message}\n1,2,3`, `${message}\n1,2,3`], ending.err);
    });
  }

  testOn(engine, "a rank with fewer batches ends the others with the step", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      using world = openWorld();
      const w = { data: new Float32Array(3), grad: new Float32Array(3) };
      const optimizer = new SGD([w], { lr: 0.1, world });
      for (let i = 0; i < 5 - world.rank; i++) optimizer.step();
      `,
    );
    assert(ending.code !== 0);
    assertMatch(ending.err, /WorldError: Cannot step as rank 1 has ended at step 4/);
  });

  testOn(engine, "parameters, and what is loaded, are rank 0's on all ranks", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      using world = openWorld();
      const { rank } = world;
      const w = { data: Float32Array.of(1 + rank, 2), grad: Float32Array.of(1, 1 + 2 * rank) };
      const optimizer = new SGD([w], { lr: 1, momentum: 0.5, world });
      say(w.data.join());
      optimizer.step();
      say(w.data.join());
      const v = { data: Float32Array.of(5), grad: Float32Array.of(rank) };
      optimizer.addParamGroup({ params: [v] });
      const dict = optimizer.stateDict({ parameters: true });
      dict.state[0].momentum_buffer[0] += 10 * rank;
      optimizer.loadStateDict(dict, { parameters: true });
      optimizer.step();
      say(w.data.join() + " " + v.data.join());
      const other = structuredClone(dict);
      other.param_groups[1].lr += rank;
      try { optimizer.loadStateDict(other); } catch (error) { say(error.message); }
      `,
    );
    const expected = [
      ...["1,2", "0,0", "-1.5,-3 4.5"],
      "Cannot load the state as the hyperparameters differ between the ranks: " +
      "lr of group 1 is 1 on rank 0 and 2 on rank 1",
    ].join("\n");
    assertEquals(ending.out, [expected, expected], ending.err);
  });

  testOn(engine, "ranks with shards write one file, with the bytes of one process's", async () => {
    const folder = await Deno.makeTempDir();
    const program = `
      import { loadState, saveState } from "@descent/sgd";
      using world = openWorld();
      const sum = (i: number) => [0, 1].map((rank) => Math.fround((i % 7 - 3) * (rank + 1)));
      const grads = Array.from({ length: 9000 }, (_, i) => sum(i));
      const data = Float32Array.from({ length: 9000 }, (_, i) => i / 9000);
      const w = { name: "w", data, grad: new Float32Array(9000) };
      const options = { lr: 0.1, momentum: 0.9, momentumBits: 8, world, exchange: "shards" };
      const optimizer = new SGD([w], options);
      const step = (optimizer, w) => {
        w.grad.set(grads.map((g) => world.size > 1 ? g[world.rank] : Math.fround(g[0] + g[1])));
        optimizer.step(world.size > 1 ? undefined : { gradScale: 2, checkFinite: false });
      };
      step(optimizer, w);
      step(optimizer, w);
      await saveState("${folder}/" + world.size, optimizer, { parameters: true });
      world.barrier();
      const v = { name: "w", data: new Float32Array(9000), grad: new Float32Array(9000) };
      const other = new SGD([v], options);
      other.loadStateDict(await loadState("${folder}/" + world.size), { parameters: true });
      step(other, v);
      step(optimizer, w);
      say(v.data.every((x, i) => x === w.data[i]));
      try { optimizer.state; } catch (error) { say(error.message); }
    `;
    try {
      const alone = program.replace(', exchange: "shards"', "");
      const endings = [await runJob(engine, 2, program), await runJob("files", 1, alone)];
      const message =
        'Cannot read the state as with exchange "shards" each rank has a part of it: ' +
        "use stateDict on all ranks";
      assertEquals(endings[0].out, [`true\n${message}`, `true\n${message}`], endings[0].err);
      assertEquals(endings[1].out, ["true"], endings[1].err);
      const files = await Promise.all([1, 2].map((size) => Deno.readFile(`${folder}/${size}`)));
      assertEquals(files[1], files[0]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });

  testOn(engine, "what ranks cannot do together is refused in words", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      using world = openWorld();
      const tell = (body) => { try { body(); } catch (error) { say(error.message); } };
      const w = (grad) => ({ data: new Float32Array(2), grad });
      const sparse = { shape: [2, 1], indices: new Uint32Array([0]), values: new Float32Array(1) };
      const lr = 0.1;
      tell(() => new SGD([{ data: new Float32Array(2), shape: [2, 1], grad: sparse }], { lr, world }).step());
      tell(() => new SGD([w(new Float32Array(2))], { lr, world, differentiable: true }).step());
      tell(() => new SGD([w(new Float32Array(2))], { lr, world, backend: "js" }));
      `,
    );
    const expected = [
      "Cannot step in a world as grad of parameter 0 must be an array: it is sparse",
      "Cannot step in a world as no group may be differentiable: one has differentiable true",
      'Cannot set world as it needs backend "cpu": the backend is "js"',
    ].join("\n");
    assertEquals(ending.out, [expected, expected], ending.err);
  });
}

Deno.test("a world of one rank changes nothing", () => {
  using world = openWorld();
  const w = { data: Float32Array.of(1), grad: Float32Array.of(1) };
  new SGD([w], { lr: 0.5, world, backend: "js" }).step();
  assertEquals(w.data[0], 0.5);
});

for (
  const [name, world, message] of [
    ["something that is not a world", { rank: 0, size: 2 }, "it must be made by openWorld"],
    ["null", null, "it must be made by openWorld"],
  ] as const
) {
  Deno.test(`an optimizer refuses ${name}`, () => {
    const params = [{ data: new Float32Array(1), grad: null }];
    // deno-lint-ignore no-explicit-any
    assertThrows(() => new SGD(params, { lr: 1, world: world as any }), TypeError, message);
  });
}

Deno.test("an exchange without a world is refused", () => {
  const params = [{ data: new Float32Array(1), grad: null }];
  const make = () => new SGD(params, { lr: 1, exchange: "gradients" });
  assertThrows(make, TypeError, "Cannot set exchange as it needs a world");
});
