/** The table "What goes with what" of docs/16-bit.md: each cell is a step that has the bits it must have. */

import { assertEquals } from "@std/assert";
import { GradScaler } from "@descent/sgd";
import type { HostArray, SGD, SGDOptions } from "@descent/sgd";
import { testOnBackends } from "../../support/backends.ts";
import { compareSteps, createParams } from "./twin.ts";
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
        if (skipped++ % 4 < 2) grad![5] = kind === "bfloat16" ? 0x7f80 : Infinity;
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
