/** The table "What goes with what" of docs/16-bit.md: each cell is a step that has the bits it must have. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { BFloat16Array, GradScaler, SGD } from "@descent/sgd";
import type { HostArray, Parameter, SGDOptions } from "@descent/sgd";
import { FLOAT32 } from "../../../src/backends/js/arithmetic.ts";
import { encode, keyOf } from "../../../src/core/momentum8.ts";
import { descend, factorsOf, gradient, linesOf, velocity } from "../../../src/core/rule.ts";
import { testOnBackends } from "../../support/backends.ts";
import { changeGrads, compareSteps, createParams, masterOf } from "./twin.ts";
import type { Case, Kind } from "./twin.ts";

const BASE: SGDOptions = { lr: 0.01, momentum: 0.9, weightDecay: 0.001, nesterov: true, seed: 7 };

/** The formats, and the kinds of parameters that have them. */
const FORMATS: readonly (readonly [name: string, kinds: readonly Kind[], options: SGDOptions])[] = [
  ["float32 gradients", ["float16+", "bfloat16+"], {}],
  ["8-bit momentum", ["float32", "float16", "bfloat16", "float16+", "bfloat16+"], {
    momentumBits: 8,
  }],
  ["split", ["bfloat16", "bfloat16+", "float32"], { masterWeights: "split" }],
  ["split24", ["bfloat16", "bfloat16+"], { masterWeights: "split24" }],
  ["split, 8-bit momentum", ["bfloat16", "bfloat16+"], { masterWeights: "split", momentumBits: 8 }],
  ["split24, 8-bit momentum", ["bfloat16", "bfloat16+"], {
    masterWeights: "split24",
    momentumBits: 8,
  }],
  ["float32 masters, 8-bit momentum", ["bfloat16", "float16+"], {
    masterWeights: true,
    momentumBits: 8,
  }],
];

const plain = (optimizer: SGD<HostArray>) => optimizer.step();

type Way = Pick<Case, "step"> & Partial<Pick<Case, "groups" | "options">>;

/** What the formats go with. */
const WAYS: Readonly<Record<string, Way>> = {
  "nesterov and weight decay": { step: plain },
  "dampening and maximize": {
    step: plain,
    options: { ...BASE, nesterov: false, dampening: 0.1, maximize: true },
  },
  "sign": { step: plain, options: { ...BASE, sign: true } },
  "decoupled weight decay": {
    step: plain,
    options: { ...BASE, weightDecay: 0.3, decoupledWeightDecay: true },
  },
  "momentum 0": { step: plain, options: { ...BASE, nesterov: false, momentum: 0 } },
  "foreach: false": { step: plain, options: { ...BASE, foreach: false } },
  "groups": {
    step: plain,
    groups: [{ lr: 0.1, momentumBits: 32 }, { momentum: 0.5, weightDecay: 0 }],
  },
  "gradScale and maxNorm": { step: (o) => o.step({ gradScale: 3, maxNorm: 0.7 }) },
  "maxNormPer group": {
    step: (o) => o.step({ maxNorm: 0.5, maxNormPer: "group" }),
    groups: [{}, { lr: 0.1 }],
  },
  "maxValue and zeroGrad": { step: (o) => o.step({ maxValue: 0.25, zeroGrad: true }) },
  "GradScaler": {
    step: (o) => new GradScaler({ initScale: 1024 }).step(o, { maxNorm: 2, zeroGrad: true }),
  },
  "stepAsync": { step: (o) => o.stepAsync() },
  "stepAsync with options": {
    step: (o) => o.stepAsync({ gradScale: 8, maxNorm: 1, zeroGrad: true }),
  },
};

for (const [name, kinds, options] of FORMATS) {
  for (const [way, { step, ...rest }] of Object.entries(WAYS)) {
    testOnBackends(`${name} with ${way}`, async (backend) => {
      for (const kind of kinds) {
        const own = { ...BASE, ...rest.options, ...options };
        const groups = rest.groups ?? [{}];
        await compareSteps(backend, { params: createParams(kind), groups, options: own, step });
      }
    });
  }
  testOnBackends(`${name} with a step that infinity skips`, async (backend) => {
    for (const kind of kinds) {
      const params = createParams(kind);
      let skipped = 0;
      const step = (optimizer: SGD<HostArray>) => {
        const { params: [{ grad }] } = optimizer.paramGroups[0];
        if (skipped++ % 4 < 2) grad![5] = grad instanceof BFloat16Array ? 0x7f80 : Infinity;
        optimizer.step({ checkFinite: true });
      };
      const own = { ...BASE, ...options };
      await compareSteps(backend, { params, groups: [{}], options: own, step }, 4);
      assertEquals(skipped, 8);
    }
  });
}

testOnBackends("stochastic rounding with 8-bit momentum", async (backend) => {
  for (const kind of ["float16", "bfloat16", "float16+", "bfloat16+"] as const) {
    const options = { ...BASE, rounding: "stochastic", momentumBits: 8 } as const;
    await compareSteps(backend, { params: createParams(kind), groups: [{}], options, step: plain });
  }
});

testOnBackends("stochastic rounding with float32 gradients", async (backend) => {
  for (const kind of ["float16+", "bfloat16+"] as const) {
    const options = { ...BASE, rounding: "stochastic" } as const;
    await compareSteps(backend, { params: createParams(kind), groups: [{}], options, step: plain });
  }
});

testOnBackends("tensors that threads share have the bits of their own blocks", async (backend) => {
  const momentumBits = 8;
  const lengths = [300_003];
  for (const masterWeights of ["split", "split24", true, false] as const) {
    const params = createParams("bfloat16", lengths);
    const options = { ...BASE, masterWeights, momentumBits } as const;
    await compareSteps(backend, { params, groups: [{}], options, step: plain }, 2);
  }
  const params = createParams("float32", lengths);
  const options = { ...BASE, momentumBits } as const;
  await compareSteps(backend, { params, groups: [{}], options, step: plain }, 2);
});

testOnBackends(
  "split master weights are those of float32 copies, and parameters but for ties",
  (backend) => {
    const run = (masterWeights: "split" | true) => {
      const params = createParams("bfloat16");
      const optimizer = new SGD<HostArray>(params, { ...BASE, masterWeights, backend });
      for (let i = 0; i < 20; i++) {
        changeGrads(params, i);
        optimizer.step();
      }
      return params.map((w) => {
        const { correction, masterWeight } = optimizer.state.get(w)!;
        return { data: w.data, master: masterWeight ?? masterOf(w.data, correction!) };
      });
    };
    const wide = run(true);
    for (const [i, { data, master }] of run("split").entries()) {
      assertEquals(master, wide[i].master);
      const ties = [...data.keys()].filter((at) => data[at] !== wide[i].data[at]);
      const words = new Uint32Array(master.buffer);
      assert(ties.every((at) => (words[at] & 0xffff) === 0x8000));
    }
  },
);

testOnBackends("a step of one element is the rule, between decoding and encoding", (backend) => {
  const h = {
    ...{ lr: 0.01, momentum: 0.9, dampening: 0, weightDecay: 0.001 },
    ...{ nesterov: true, maximize: false, sign: false, decoupledWeightDecay: false },
  };
  const factors = factorsOf(h, Math.fround);
  const [w] = createParams("float32", [5000]) as Parameter<Float32Array>[];
  const optimizer = new SGD([w], { ...h, seed: 7, momentumBits: 8, backend });
  for (let counter = 0; counter < 4; counter++) {
    changeGrads([w], counter);
    const lines = linesOf(h, counter === 0);
    const before = optimizer.state.get(w)!.readMomentum();
    const momentum = new Float32Array(5000);
    const expected = w.data.map((p, i) => {
      const g = gradient(FLOAT32, factors, lines, p, w.grad![i]);
      momentum[i] = velocity(FLOAT32, factors, lines, g, before?.[i] ?? 0);
      return descend(FLOAT32, factors, lines, p, g, momentum[i]);
    });
    optimizer.step();
    assertEquals(w.data, expected);
    const values = new Int8Array(5000);
    const scales = new Uint8Array(157);
    encode(momentum, values, scales, keyOf({ seed: 7, counter }, 0));
    assertEquals({ ...optimizer.state.get(w)!.momentum8! }, { values, scales });
  }
});

Deno.test("types allow float32 gradients of 16-bit parameters, and no others", () => {
  const w: Parameter<BFloat16Array> = { data: BFloat16Array.of(1), grad: new Float32Array([1]) };
  const v = { data: new Float16Array([1]), grad: new Float32Array([1]) };
  // @ts-expect-error A float64 parameter has float64 gradients.
  const u: Parameter<Float64Array> = { data: new Float64Array(1), grad: new Float32Array(1) };
  new SGD([w], { lr: 0.5, backend: "js" }).step();
  new SGD([v], { lr: 0.5, backend: "js" }).step();
  assertEquals([w.data.toFloat32Array()[0], v.data[0]], [0.5, 0.5]);
  assertThrows(() => new SGD([u], { lr: 0.5, backend: "js" }).step(), TypeError, "float64");
});
