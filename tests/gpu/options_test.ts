/** Steps with options on a GPU: bit for bit the rule on the host, given the coefficients that it reports. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { GradScaler, SGD } from "@descent/sgd";
import type { GroupOptions, StepOptions } from "@descent/sgd";
import type { GpuTensor } from "@descent/sgd/gpu";
import { nativeOf } from "../../src/gpu/gpu.ts";
import { gpuTest, TINY, values } from "./gpu.ts";
import { describeHabits, probe } from "./reference.ts";
import { DAMPED, SIZES, spoiled, Twins } from "./twins.ts";

const RULES: readonly (readonly GroupOptions[])[] = [
  [{}],
  [{ momentum: 0.9, weightDecay: 0.3, nesterov: true }],
  [{ momentum: 0.7, dampening: 0.3, maximize: true }, { lr: 0.3, weightDecay: 0.1, sign: true }],
  [{ momentum: 0.9, weightDecay: 0.3, decoupledWeightDecay: true }, { weightDecay: 0.3 }],
];

const OPTIONS: readonly StepOptions[] = [
  { gradScale: 1024 },
  { gradScale: 3, checkFinite: false },
  { maxNorm: 1 },
  { maxNorm: 1e9 },
  { maxNorm: Infinity },
  { maxNorm: 0 },
  { maxNorm: 2, maxNormPer: "group" },
  { maxNorm: 40, normType: 1, gradScale: 3 },
  { maxNorm: 0.5, normType: Infinity, maxNormPer: "group" },
  { maxValue: 0.7 },
  { maxValue: 0 },
  { checkFinite: true },
  { zeroGrad: true },
  { gradScale: 7, maxNorm: 0.5, maxNormPer: "group", maxValue: 0.01, zeroGrad: true },
];

gpuTest("every option has the rule's very bits, given the coefficients", async (gpu) => {
  for (const rule of RULES) {
    const twins = new Twins(gpu, rule);
    for (const [round, options] of [...OPTIONS, ...OPTIONS].entries()) {
      twins.setGrads((n, i) => values(n, i + 60 + round));
      twins.follow(options, await twins.optimizer.stepAsync(options));
      twins.assertSame(JSON.stringify(options));
    }
  }
  console.log(describeHabits(gpu.info, probe(gpu)));
});

gpuTest("step does what stepAsync does, and returns before it knows what that is", async (gpu) => {
  for (const tuning of [SIZES, SIZES.slice(0, 4)]) {
    for (const options of OPTIONS) {
      const [a, b] = [new Twins(gpu, RULES[1], tuning), new Twins(gpu, RULES[1], tuning)];
      for (let i = 0; i < 3; i++) {
        a.optimizer.step(options);
        const isMeasured = options.checkFinite ??
          (options.gradScale ?? options.maxNorm) !== undefined;
        assertEquals(a.optimizer.lastStep === null, isMeasured);
        b.follow(options, await b.optimizer.stepAsync(options));
      }
      b.assertSame(JSON.stringify(options));
      a.host.splice(0, a.host.length, ...b.host);
      a.assertSame(`step ${JSON.stringify(options)}`);
    }
  }
}, TINY);

gpuTest(
  "norms and coefficients are the host's within 1e-6, whatever their magnitude",
  async (gpu) => {
    let worst = 0;
    for (const magnitude of [1, 1e-30, 1e-15, 1e15, 1e30, 1e36]) {
      const twins = new Twins(gpu, [{}, {}], [3, 5000, 70_000, 1]);
      twins.setGrads((n, i) => values(n, i).map((x) => x * magnitude));
      const hosts = twins.host.map(({ data, grad }) => ({
        data: data.slice(),
        grad: grad.slice(),
      }));
      const host = new SGD(
        [0, 1].map((g) => ({ params: hosts.filter((_, i) => i % 2 === g) })),
        { lr: 0.1 },
      );
      for (const maxNormPer of ["optimizer", "group"] as const) {
        const options: StepOptions = { maxNorm: magnitude, maxNormPer, gradScale: 4 };
        const [own, other] = [
          await twins.optimizer.stepAsync(options),
          await host.stepAsync(options),
        ];
        assertEquals(own.skipped, other.skipped);
        const pairs = [
          [own.gradNorm!, other.gradNorm!],
          ...own.groupNorms!.map((norm, i) => [norm, other.groupNorms![i]]),
          ...own.clipCoefficients!.map((each, i) => [each, other.clipCoefficients![i]]),
        ];
        for (const [x, y] of pairs) worst = Math.max(worst, Math.abs(x - y) / y);
      }
    }
    console.log(`the worst relative distance from the host's norm or coefficient is ${worst}`);
    assert(worst < 1e-6, `${worst}`);
  },
);

gpuTest("a largest norm that float32 cannot hold clips as on the host", async (gpu) => {
  for (const size of [3e38, 1e38, 1, 1e-30, Infinity]) {
    const grad = new Float32Array(100).fill(size);
    const own = new SGD([{ data: gpu.tensor(100), grad: gpu.tensor(grad) }], { lr: 0.1 });
    const host = new SGD([{ data: new Float32Array(100), grad }], { lr: 0.1 });
    for (const maxNorm of [3e38, 3.5e38, 1e39, 2.9e39, 3.1e39, 2 ** 200, Number.MAX_VALUE]) {
      for (const gradScale of [1, 2 ** -30, 8]) {
        const options = { maxNorm, gradScale, checkFinite: false };
        host.step(options);
        const [found, expected] = [await own.stepAsync(options), host.lastStep!]
          .map(({ clipCoefficients }) => clipCoefficients![0]);
        const what = `${size} with ${maxNorm} and ${gradScale}: ${found}, not ${expected}`;
        assert(Math.abs(found - expected) <= 1e-6 * expected, what);
      }
    }
  }
});

gpuTest(
  "what is not finite skips the step, or has the host's norms and coefficients",
  async (gpu) => {
    const cases: [number, number, boolean][] = [
      [Infinity, 1, true],
      [-Infinity, 1, true],
      [NaN, 1, true],
      [1e20, 2 ** -100, true], // it is infinite once it is unscaled
      [1e20, 2 ** 100, false],
    ];
    for (const [bad, gradScale, skipped] of cases) {
      for (const checkFinite of [true, false]) {
        for (const maxNorm of [1, Infinity, undefined]) {
          if (maxNorm === undefined && !checkFinite) continue;
          const twins = new Twins(gpu, [{ momentum: 0.5, dampening: 0.5 }]);
          twins.setGrads((n, i) => values(n, i).map((x, k) => i === 5 && k === 4096 ? bad : x));
          const options = { gradScale, checkFinite, ...(maxNorm === undefined ? {} : { maxNorm }) };
          const report = await twins.optimizer.stepAsync(options);
          assertEquals(report.skipped, skipped && checkFinite);
          if (skipped) {
            assertEquals(
              report.gradNorm,
              Math.abs(bad) < Infinity ? Infinity : Math.abs(bad),
            );
          }
          if (maxNorm === 1 && skipped) {
            assertEquals(report.clipCoefficients, [Number.isNaN(bad) ? NaN : 0]);
          }
          if (maxNorm === Infinity) assertEquals(report.clipCoefficients, [1]);
          twins.follow(options, report);
          twins.assertSame(JSON.stringify(options));
        }
      }
    }
  },
);

gpuTest("the kernel of the norm takes its kind: 1 and infinity clip by theirs", async (gpu) => {
  const grad = values(9000, 3);
  const norms = new Map<number, number>([
    [1, grad.reduce((sum, x) => sum + Math.abs(x), 0)],
    [2, Math.hypot(...grad)],
    [Infinity, Math.max(...grad.map(Math.abs))],
  ]);
  for (const [normType, norm] of norms) {
    const twins = new Twins(gpu, [{}], [9000]);
    twins.setGrads(() => grad);
    const options: StepOptions = { maxNorm: 0.25, normType, gradScale: 4 };
    const report = await twins.optimizer.stepAsync(options);
    assert(Math.abs(report.gradNorm! / (norm / 4) - 1) < 1e-6, `${report.gradNorm}`);
    if (normType === Infinity) assertEquals(report.gradNorm, norm / 4);
    const coefficient = 0.25 / (norm / 4 + 1e-6);
    assert(Math.abs(report.clipCoefficients![0] / coefficient - 1) < 1e-6, `${normType}`);
    twins.follow(options, report);
    twins.assertSame(`norm ${normType}`);
  }
});

gpuTest("scales at the ends of float32 clip by the right norm", async (gpu) => {
  const cases = [[2 ** 127, 2 ** 120], [2 ** 127, 2 ** 70], [2 ** -126, 2 ** -80]];
  for (const [gradScale, grad] of cases) {
    const param = { data: gpu.tensor(2), grad: gpu.tensor(new Float32Array(2).fill(grad)) };
    const optimizer = new SGD([param], { lr: 1 });
    const norm = Math.SQRT2 * grad / gradScale;
    const maxNorm = 2 ** -30;
    const { gradNorm, clipCoefficients } = await optimizer.stepAsync({ gradScale, maxNorm });
    assert(Math.abs(gradNorm! / norm - 1) < 1e-6, `${gradNorm} and ${norm}`);
    const coefficient = Math.min(1, maxNorm / (norm + 1e-6));
    assert(Math.abs(clipCoefficients![0] / coefficient - 1) < 1e-6, `${clipCoefficients}`);
  }
});

gpuTest(
  "every request holds for its own step, however many steps wait in the queue",
  async (gpu) => {
    const param = { data: gpu.tensor(1), grad: gpu.tensor(new Float32Array([-64])) };
    const optimizer = new SGD([param], { lr: 1 });
    let expected = 0;
    for (let i = 1; i <= 300; i++) {
      const gradScale = 2 ** (i % 9);
      optimizer.step({ gradScale, maxValue: i % 5 });
      expected += Math.min(64 / gradScale, i % 5);
    }
    assertEquals(await param.data.read(), new Float32Array([expected]));
  },
);

gpuTest("two steps before one flush have their own norms", async (gpu) => {
  const grads = [gpu.tensor(new Float32Array([3, 4])), gpu.tensor(new Float32Array([0, 8]))];
  const param = { data: gpu.tensor(2), grad: grads[0] };
  const optimizer = new SGD([param], { lr: 1 });
  for (let i = 0; i < 40; i++) { // gradients that alternate have tables of their own
    param.grad = grads[i % 2];
    optimizer.step({ maxNorm: i % 2 === 0 ? 5e6 : Infinity });
  }
  assertEquals([...await param.data.read()], [-60, -240]);
  const before = gpu.memory.toDevice;
  for (let i = 0; i < 10; i++) {
    param.grad = grads[i % 2];
    optimizer.step({ maxNorm: i % 2 === 0 ? 5e6 : Infinity });
  }
  assertEquals(gpu.memory.toDevice, before, "tables that are there are not sent again");
});

gpuTest("what crosses the bus: a few bytes for another scale, else nothing", (gpu) => {
  const twins = new Twins(gpu, [{ momentum: 0.5 }], Array.from({ length: 161 }, (_, i) => i));
  const cost = (options: StepOptions) => {
    const before = gpu.memory.toDevice;
    twins.optimizer.step(options);
    return gpu.memory.toDevice - before;
  };
  for (let i = 0; i < 2; i++) {
    assert(cost({ gradScale: 2, maxNorm: 1 }) > 0, "first, then maybe first");
  }
  assertEquals(cost({ gradScale: 2, maxNorm: 1 }), 0);
  assertEquals(cost({ gradScale: 4, maxNorm: 1 }), 40, "a group and the request");
  assertEquals(cost({ gradScale: 4, maxNorm: 1 }), 0);
});

gpuTest("GradScaler.stepAsync trains on a GPU; step and mixtures are refused", async (gpu) => {
  const twins = new Twins(gpu, [{ momentum: 0.9 }]);
  const scaler = new GradScaler({ initScale: 4, growthInterval: 2 });
  const scales: number[] = [];
  for (let i = 0; i < 6; i++) {
    twins.setGrads((n, k) =>
      i === 3 ? spoiled(n, k) : values(n, k + i).map((x) => x * scaler.getScale())
    );
    const options = { maxNorm: 2, zeroGrad: true };
    const gradScale = scaler.getScale();
    const report = await scaler.stepAsync(twins.optimizer, options);
    twins.follow({ ...options, gradScale }, report);
    scaler.update();
    scales.push(scaler.getScale());
  }
  twins.assertSame("scaled");
  assertEquals(scales, [4, 8, 8, 4, 4, 8]);
  assertThrows(() => scaler.step(twins.optimizer), TypeError, "use stepAsync of the scaler");
  const host = { data: values(3), grad: values(3) };
  const mixed = new SGD<GpuTensor>([host, twins.params[0]], { lr: 1 });
  assertThrows(() => mixed.step({ maxNorm: 1 }), TypeError, "all of them tensors of one GPU");
  assertEquals(host.data, values(3));
  mixed.step({ maxValue: 0.5, zeroGrad: true });
  const clipped = values(3).map((x) => x - Math.max(-0.5, Math.min(0.5, x)));
  assertEquals([host.data, host.grad], [clipped, new Float32Array(3)]);
  assertEquals(twins.params[0].grad.readSync(), new Float32Array(SIZES[0]));
});

gpuTest(
  "float16 gradients are measured in float32, and unscaled before they are rounded",
  async (gpu) => {
    if (!gpu.info.float16) return;
    const grad = Float16Array.from({ length: 5000 }, (_, i) => (i % 7 - 3) * 2 ** 13);
    const param = { data: gpu.tensor(new Float16Array(5000)), grad: gpu.tensor(grad) };
    const optimizer = new SGD([param], { lr: 1 });
    const report = await optimizer.stepAsync({
      gradScale: 2 ** 13,
      maxNorm: Infinity,
      zeroGrad: true,
    });
    const small = Float16Array.from(grad, (x) => x / 2 ** 13);
    const norm = Math.sqrt(small.reduce((sum, x) => sum + x * x, 0));
    assert(Math.abs(report.gradNorm! / norm - 1) < 1e-6);
    assertEquals(param.data.readSync(), small.map((x) => 0 - x));
    assertEquals(param.grad.readSync(), new Float16Array(5000));
    param.grad.write(grad.map((x, i) => i === 4999 ? Infinity : x));
    assertEquals((await optimizer.stepAsync({ checkFinite: true })).skipped, true);
    assertEquals(param.data.readSync(), small.map((x) => 0 - x));
  },
);

gpuTest("a step without any gradient has a report", async (gpu) => {
  const param = { data: gpu.tensor(4), grad: null as GpuTensor | null };
  const empty = { data: gpu.tensor(0), grad: gpu.tensor(0) };
  const optimizer = new SGD([param], { lr: 1, momentum: 0.5 });
  const nothing = { skipped: false, gradNorm: 0, groupNorms: [0], clipCoefficients: [1] };
  assertEquals(await optimizer.stepAsync({ maxNorm: 1 }), nothing);
  optimizer.addParamGroup({ params: [empty] });
  const both = { ...nothing, groupNorms: [0, 0], clipCoefficients: [1, 1] };
  assertEquals(await optimizer.stepAsync({ maxNorm: 1 }), both);
  optimizer.step({ maxNorm: 1 });
  assertEquals(optimizer.state.get(empty)!.momentumBuffer!.length, 0);
});

gpuTest("a device that is lost rejects the report, and then nothing is remembered", async (gpu) => {
  const twins = new Twins(gpu, [DAMPED], [5]);
  await twins.optimizer.stepAsync({ maxNorm: 1 });
  nativeOf(gpu).lose();
  await assertRejects(() => twins.optimizer.stepAsync({ maxNorm: 1 }), Error, "device is lost");
  assertThrows(() => twins.optimizer.step({ maxNorm: 1 }), Error, "device is lost");
  assertEquals(twins.optimizer.lastStep!.skipped, false);
});
