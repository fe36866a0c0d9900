/** `GradScaler` beyond torch's numbers, which `fused_test.ts` holds it to. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { GradScaler, loadState, saveState, SGD } from "@descent/sgd";
import type { GradScalerOptions, GradScalerStateDict, Parameter } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";

const parameter = (grad: number): Parameter => ({
  data: new Float32Array([1]),
  grad: new Float32Array([grad]),
});

Deno.test("the defaults and the keys are torch's", () => {
  assertEquals(new GradScaler().stateDict(), {
    scale: 65536,
    growth_factor: 2,
    backoff_factor: 0.5,
    growth_interval: 2000,
    _growth_tracker: 0,
  });
});

Deno.test("losses are multiplied by the scale, which is a float32", () => {
  const scaler = new GradScaler({ initScale: 0.1 });
  assertEquals([scaler.getScale(), scaler.scale(2)], [Math.fround(0.1), 2 * Math.fround(0.1)]);
});

testOnBackends("a scaled step steps by unscaled gradients, and takes other options", (backend) => {
  const w = parameter(0);
  const optimizer = new SGD([w], { lr: 1, backend });
  const scaler = new GradScaler();
  w.grad![0] = scaler.scale(4);
  const report = scaler.step(optimizer, { maxNorm: 2, zeroGrad: true });
  assertEquals([report.gradNorm, w.grad![0]], [4, 0]);
  assertEquals(w.data[0], 1 - Math.fround(4 * Math.fround(2 / (4 + 1e-6))));
});

testOnBackends("one of several optimizers that is skipped shrinks the scale", (backend) => {
  const [good, bad] = [1, NaN].map((grad) => {
    const w = parameter(grad);
    return { w, optimizer: new SGD([w], { lr: 1, backend }) };
  });
  const scaler = new GradScaler({ growthInterval: 1, initScale: 8 });
  assertEquals([scaler.step(good.optimizer).skipped, scaler.step(bad.optimizer).skipped], [
    false,
    true,
  ]);
  scaler.update();
  assertEquals([scaler.getScale(), good.w.data[0], bad.w.data[0]], [4, 1 - 1 / 8, 1]);
  scaler.step(good.optimizer);
  scaler.update();
  assertEquals(scaler.getScale(), 8);
});

testOnBackends(
  "a scaler steps an optimizer once per update, and updates by steps",
  async (backend) => {
    const optimizer = new SGD([parameter(1)], { lr: 1, backend });
    const scaler = new GradScaler();
    assertThrows(() => scaler.update(), Error, "no optimizer has stepped since the last update");
    scaler.step(optimizer);
    assertThrows(() => scaler.step(optimizer), Error, "update first");
    await assertRejects(() => scaler.stepAsync(optimizer), Error, "update first");
    scaler.update();
    await scaler.stepAsync(optimizer);
    scaler.update(128);
    assertEquals([scaler.getScale(), scaler.stateDict()._growth_tracker], [128, 1]);
    assertThrows(() => scaler.update(0), RangeError, "must be finite and > 0: current value is 0");
    assertThrows(() => scaler.update(1e39), RangeError, "a float32 must hold it");
  },
);

testOnBackends("the scale and the check cannot be given to a scaled step", (backend) => {
  const optimizer = new SGD([parameter(1)], { lr: 1, backend });
  for (const options of [{ gradScale: 2 }, { checkFinite: false }] as object[]) {
    assertThrows(() => new GradScaler().step(optimizer, options), TypeError, "the scaler's own");
  }
});

testOnBackends("a scale that is too large for 16 bits shrinks until steps are taken", (backend) => {
  const w = parameter(0);
  const optimizer = new SGD([w], { lr: 1, backend });
  const scaler = new GradScaler({ initScale: 2 ** 24 });
  let skipped = 0;
  do {
    w.grad![0] = Math.f16round(scaler.scale(1)); // as a backward pass in float16 would have it
    skipped += Number(scaler.step(optimizer).skipped);
    scaler.update();
  } while (w.data[0] === 1);
  assertEquals([skipped, scaler.getScale(), w.data[0]], [9, 2 ** 15, 0]);
});

const WRONG: [GradScalerOptions, typeof TypeError | typeof RangeError, string][] = [
  [{ initScale: 0 }, RangeError, "initScale as it must be finite and > 0: current value is 0"],
  [{ initScale: 1e-50 }, RangeError, "initScale as a float32 must hold it and its inverse"],
  [{ growthFactor: 1 }, RangeError, "growthFactor as it must be finite and > 1"],
  [{ backoffFactor: 1 }, RangeError, "backoffFactor as it must be > 0 and < 1"],
  [{ growthInterval: 1.5 }, RangeError, "growthInterval as it must be a whole number >= 1"],
  [{ growthInterval: "1" as unknown as number }, TypeError, 'a number: current value is "1"'],
  [{ init_scale: 1 } as GradScalerOptions, TypeError, 'option "init_scale" as it does not exist'],
];

testOnBackends("the scale of a run that diverges keeps an inverse", (backend) => {
  const scaler = new GradScaler({ initScale: 2 ** -126 });
  const optimizer = new SGD([parameter(Infinity)], { lr: 1, backend });
  for (let i = 0; i < 4; i++) {
    assert(scaler.step(optimizer).skipped);
    scaler.update();
  }
  assertEquals(scaler.getScale(), 2 ** -127);
});

Deno.test("a scaler steps optimizers only, with options that are an object", () => {
  const scaler = new GradScaler();
  const optimizer = new SGD([parameter(1)], { lr: 1 });
  const step = scaler.step.bind(scaler) as (...args: unknown[]) => unknown;
  assertThrows(
    () => step(null),
    TypeError,
    "first argument must be an optimizer: current value is null",
  );
  assertThrows(
    () => step({}),
    TypeError,
    "first argument must be an optimizer: current value is an object",
  );
  assertThrows(() => step(optimizer, null), TypeError, "options must be an object");
});

Deno.test("options that are not valid are refused", () => {
  for (const [options, kind, text] of WRONG) {
    assertThrows(() => new GradScaler(options), kind, text);
  }
});

const STATE: GradScalerStateDict = {
  scale: 1234.5,
  growth_factor: 3,
  backoff_factor: 0.25,
  growth_interval: 7,
  _growth_tracker: 6,
};

testOnBackends("a scaler resumes from a checkpoint", async (backend) => {
  const optimizer = new SGD([parameter(1)], { lr: 1, backend });
  const scaler = new GradScaler();
  scaler.loadStateDict(STATE);
  const folder = await Deno.makeTempDir();
  await saveState(`${folder}/a`, optimizer, { scaler });
  const dict = await loadState(`${folder}/a`);
  await Deno.remove(folder, { recursive: true });
  assertEquals(dict.grad_scaler, STATE);
  const other = new GradScaler();
  other.loadStateDict(dict.grad_scaler!);
  optimizer.loadStateDict(dict);
  other.step(optimizer);
  other.update();
  assertEquals([other.getScale(), other.stateDict()._growth_tracker], [3703.5, 0]);
});

Deno.test("a state that is not valid is refused, and nothing has changed", () => {
  const wrong: [unknown, string][] = [
    [null, "grad_scaler must be a plain object"],
    [undefined, "it has no grad_scaler: saveState(path, optimizer, { scaler }) saves it"],
    [
      {},
      "grad_scaler.scale must be a finite number > 0 with an inverse in float32: current value is undefined",
    ],
    [{}, "grad_scaler is {}, as torch's GradScaler gives it if it is disabled (enabled=False)"],
    [{ ...STATE, scale: 1e-45 }, "an inverse in float32: current value is 1e-45"],
    [{ ...STATE, scale: Infinity }, "grad_scaler.scale must be"],
    [{ ...STATE, growth_factor: 1 }, "grad_scaler.growth_factor must be"],
    [{ ...STATE, backoff_factor: 0 }, "grad_scaler.backoff_factor must be"],
    [{ ...STATE, growth_interval: 0 }, "grad_scaler.growth_interval must be"],
    [{ ...STATE, _growth_tracker: -1 }, "grad_scaler._growth_tracker must be"],
    [{ ...STATE, enabled: true }, 'key "enabled" is not a state of a GradScaler'],
  ];
  for (const [dict, text] of wrong) {
    const scaler = new GradScaler();
    const before = scaler.stateDict();
    assertThrows(() => scaler.loadStateDict(dict as GradScalerStateDict), TypeError, text);
    assertEquals(scaler.stateDict(), before);
  }
});

Deno.test("a state is a copy, on the way in and on the way out", () => {
  const [scaler, own] = [new GradScaler(), { ...STATE }];
  scaler.loadStateDict(own);
  own.scale = 1;
  scaler.stateDict().scale = 2;
  assert(scaler.getScale() === STATE.scale);
});
