/** `GradScaler.unscale`, and scalers that are not enabled, beyond torch's numbers. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BFloat16Array, clipGradNorm, GradScaler, loadState, saveState, SGD } from "@descent/sgd";
import type { HostArray, Parameter, ScaledOptimizer } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";

const parameter = (...grad: number[]) => ({
  data: new Float32Array(grad.length),
  grad: new Float32Array(grad),
});

testOnBackends(
  "gradients are unscaled once, whatever happens to them before the step",
  (backend) => {
    const w = parameter(24, 32);
    const optimizer = new SGD([w], { lr: 1, backend });
    const scaler = new GradScaler({ initScale: 8 });
    scaler.unscale(optimizer);
    assertEquals([...w.grad], [3, 4]);
    assertEquals(clipGradNorm([w], 2.5, { backend }), 5);
    const clipped = w.grad.slice();
    assertEquals(scaler.step(optimizer).skipped, false);
    assertEquals(w.data, clipped.map((x) => -x));
    scaler.update();
    w.grad.fill(8);
    w.data.fill(0);
    scaler.step(optimizer);
    assertEquals([...w.data], [-1, -1], "after an update gradients are unscaled again");
  },
);

testOnBackends("a step after unscale takes the other options", async (backend) => {
  for (const isAsync of [false, true]) {
    const w = parameter(24, 32);
    const optimizer = new SGD([w], { lr: 1, backend });
    const scaler = new GradScaler({ initScale: 8 });
    scaler.unscale(optimizer);
    const options = { maxNorm: 1, normType: Infinity, zeroGrad: true };
    const report = isAsync
      ? await scaler.stepAsync(optimizer, options)
      : scaler.step(optimizer, options);
    assertEquals([report.gradNorm, [...w.grad]], [4, [0, 0]]);
  }
});

testOnBackends(
  "infinities that unscale finds skip the step, even if they are gone",
  async (backend) => {
    for (const isAsync of [false, true]) {
      for (const bad of [Infinity, -Infinity, NaN]) {
        const [w, v] = [parameter(8, bad), parameter(8)];
        const optimizer = new SGD([w, v], { lr: 1, momentum: 0.5, backend });
        const scaler = new GradScaler({ initScale: 8 });
        scaler.unscale(optimizer);
        assertEquals([v.grad[0], w.grad[0]], [1, 1]);
        w.grad.fill(1);
        const options = { maxNorm: 1, zeroGrad: true };
        const report = isAsync
          ? await scaler.stepAsync(optimizer, options)
          : scaler.step(optimizer, options);
        const skipped = { skipped: true, gradNorm: null, groupNorms: null, clipCoefficients: null };
        assertEquals([report, optimizer.lastStep], [skipped, skipped]);
        assertEquals([...w.data, ...v.data, ...w.grad, ...v.grad], [0, 0, 0, 0, 0, 0]);
        assertEquals(optimizer.state.get(w)!.momentumBuffer, null);
        scaler.update();
        assertEquals(scaler.getScale(), 4);
      }
    }
  },
);

testOnBackends("unscale comes once per update, and before the step", (backend) => {
  const optimizer = new SGD([parameter(2)], { lr: 1, backend });
  const scaler = new GradScaler({ initScale: 2 });
  const twice = "Cannot unscale the gradients as that has been done since the last update: update";
  const late = "Cannot unscale the gradients as the optimizer has stepped since the last update";
  scaler.unscale(optimizer);
  assertThrows(() => scaler.unscale(optimizer), Error, twice);
  scaler.step(optimizer);
  assertThrows(() => scaler.unscale(optimizer), Error, late);
  assertThrows(() => scaler.step(optimizer), Error, "has stepped since the last update");
  scaler.update();
  scaler.unscale(optimizer); // and no step: what it found is enough for an update, as in torch
  scaler.update();
  assertEquals(scaler.stateDict()._growth_tracker, 2);
  scaler.step(optimizer);
  assertThrows(() => scaler.unscale(optimizer), Error, late);
});

testOnBackends("each optimizer of a scaler is unscaled or not by itself", (backend) => {
  const [w, v] = [parameter(8), parameter(8)];
  const [one, two] = [w, v].map((own) => new SGD([own], { lr: 1, backend }));
  const scaler = new GradScaler({ initScale: 8 });
  scaler.unscale(one);
  scaler.step(two);
  scaler.step(one);
  assertEquals([w.data[0], v.data[0], w.grad[0], v.grad[0]], [-1, -1, 1, 8]);
});

testOnBackends(
  "all types are unscaled but float16, and sparse gradients entry by entry",
  (backend) => {
    const grads = [
      new Float64Array([16, 8]),
      BFloat16Array.of(16, 8),
      new Float32Array([16, 8]),
    ];
    const params: Parameter<HostArray>[] = grads.map((grad) => ({ data: grad.slice(), grad }));
    const indices = new Int32Array([1, 1]);
    const values = new Float32Array([16, 8]);
    const matrix = { data: new Float32Array(2), grad: { indices, values, shape: [2, 1] as const } };
    const none = { data: new Float32Array(1), grad: null };
    const all = [...params, matrix, none] as Parameter<HostArray>[];
    const optimizer = new SGD(all, { lr: 1, backend });
    const scaler = new GradScaler({ initScale: 8 });
    scaler.unscale(optimizer);
    assertEquals([...grads[0] as Float64Array, ...grads[2] as Float32Array, ...values], [
      2,
      1,
      2,
      1,
      2,
      1,
    ]);
    assertEquals([...(grads[1] as BFloat16Array).toFloat32Array()], [2, 1]);
    const half = { data: new Float16Array(1), grad: new Float16Array([16]), name: "h" };
    const other = new SGD([half], { lr: 1, backend });
    const text =
      'Cannot unscale grad of parameter 0 ("h") as float16 does not hold small gradients';
    assertThrows(() => scaler.unscale(other), TypeError, text);
    assertEquals(half.grad[0], 16);
    scaler.step(other);
    assertEquals(half.data[0], -2);
  },
);

testOnBackends(
  "what cannot be unscaled is refused, and can be stepped afterwards",
  async (backend) => {
    const scaler = new GradScaler({ initScale: 8 });
    const w = parameter(8);
    const optimizer = new SGD([w], { lr: 1, backend });
    const unscale = (value: unknown) => () => scaler.unscale(value as ScaledOptimizer);
    assertThrows(
      unscale(null),
      TypeError,
      "Cannot unscale as the first argument must be an optimizer",
    );
    assertThrows(unscale({ step() {} }), TypeError, "the optimizer must have paramGroups");
    const step = optimizer.stepAsync();
    assertThrows(unscale(optimizer), Error, "grad of parameter 0");
    await step;
    scaler.unscale(optimizer);
    assertEquals(w.grad[0], 1);
  },
);

testOnBackends("a scaler that is not enabled leaves everything as it is", async (backend) => {
  const [w, v] = [parameter(3, NaN), parameter(3, NaN)];
  const [optimizer, plain] = [w, v].map((own) => new SGD([own], { lr: 1, momentum: 0.5, backend }));
  const scaler = new GradScaler({ enabled: false, initScale: 8 });
  assertEquals([scaler.isEnabled(), scaler.scale(0.5), scaler.getScale()], [false, 0.5, 1]);
  assertEquals(new GradScaler().isEnabled(), true);
  for (let i = 0; i < 3; i++) {
    scaler.unscale(optimizer);
    scaler.unscale(optimizer);
    if (i < 2) assertEquals(scaler.step(optimizer, { zeroGrad: false }).skipped, false);
    else assertEquals((await scaler.stepAsync(optimizer)).skipped, false);
    plain.step();
    if (i > 0) scaler.update(); // a step may follow another
  }
  assertEquals([w.data, w.grad], [v.data, v.grad]);
  scaler.update(-1);
  assertEquals(scaler.getScale(), 1);
  assertThrows(() => scaler.step(optimizer, { gradScale: 2 } as object), TypeError, "scaler's own");
});

testOnBackends(
  "the state of a scaler that is not enabled is empty, as torch's",
  async (backend) => {
    const optimizer = new SGD([parameter(1)], { lr: 1, backend });
    const scaler = new GradScaler({ enabled: false });
    assertEquals(scaler.stateDict(), {});
    scaler.loadStateDict({});
    scaler.loadStateDict(new GradScaler().stateDict());
    assertEquals(scaler.stateDict(), {});
    const text = "grad_scaler is {}, as torch's GradScaler gives it if it is disabled";
    assertThrows(() => new GradScaler().loadStateDict({}), TypeError, text);
    const folder = await Deno.makeTempDir();
    await saveState(`${folder}/a`, optimizer, { scaler });
    const dict = await loadState(`${folder}/a`);
    await Deno.remove(folder, { recursive: true });
    assertEquals("grad_scaler" in dict, false);
    await assertRejects(() => saveState("a", optimizer, { scaler: {} as GradScaler }), TypeError);
  },
);

Deno.test("enabled is true or false", () => {
  const options = { enabled: 1 as unknown as boolean };
  assertThrows(() => new GradScaler(options), TypeError, "enabled as it must be true or false");
});
