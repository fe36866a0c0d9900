/** Steps with options: the norm, the check and the decision stay on the device. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { clipGradNorm, clipGradValue, GradScaler, SGD } from "@descent/sgd";
import type { Parameter, StepOptions, StepReport } from "@descent/sgd";
import type { WebGpuTensor } from "@descent/sgd/webgpu";
import { stepTwin } from "./reference.ts";
import type { Reference as Twin } from "../../gpu/reference.ts";
import type { Options } from "./reference.ts";
import { assertBits } from "../../gpu/reference.ts";
import { bufferOf, openGpu, optimizerOf, values } from "./world.ts";
import type { Case, DeviceParameter, Gpu } from "./world.ts";

const SIZES = [10, 300, 4096, 5000];

/** The groups of these sizes: the first two, and the others. */
const RULES: readonly Options[] = [
  { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 },
  { lr: 0.05, momentum: 0.5, dampening: 0.25, maximize: true },
];

const groupOf = (i: number) => i < 2 ? 0 : 1;

function make(gpu: Gpu) {
  const twins = SIZES.map((size, i): Twin => ({
    data: values(size, i),
    grad: values(size, i + 50),
    buffer: null,
  }));
  const params = twins.map(({ data, grad }) => ({
    data: gpu.tensor(data),
    grad: gpu.tensor(grad),
  }));
  const optimizer = optimizerOf(params.slice(0, 2), RULES[0]);
  optimizer.addParamGroup({
    params: params.slice(2),
    nesterov: false,
    weightDecay: 0,
    ...RULES[1],
  });
  return { twins, params, optimizer };
}

type World = Parameters<Case["run"]>[0];

function stepTwins(
  twins: readonly Twin[],
  { gradScale = 1, maxValue, zeroGrad }: StepOptions,
  report: StepReport,
  { traits }: World,
): void {
  twins.forEach((twin, i) => {
    if (!report.skipped) {
      const coefficient = report.clipCoefficients?.[groupOf(i)];
      const inverseScale = 1 / gradScale;
      stepTwin(twin, RULES[groupOf(i)], traits, { inverseScale, coefficient, maxValue });
    }
    if (zeroGrad) twin.grad.fill(0);
  });
}

async function assertSame(
  params: readonly DeviceParameter[],
  twins: readonly Twin[],
  what: string,
): Promise<void> {
  for (const [i, { data, grad }] of params.entries()) {
    assertBits(await data.read(), twins[i].data, `${what}: data ${i}`);
    assertBits(await grad!.read(), twins[i].grad, `${what}: grad ${i}`);
  }
}

/** The norm of gradients, in float64. */
function normOf(arrays: readonly Float32Array[], normType = 2): number {
  const all = arrays.flatMap((array) => Array.from(array, Math.abs));
  if (normType === Infinity) return all.reduce((a, b) => Math.max(a, b), 0);
  const sum = all.reduce((sum, x) => sum + x ** normType, 0);
  return normType === 2 ? Math.sqrt(sum) : sum;
}

/** Norms of float32 sums are so near to those of the host. */
const NEAR = 1e-6;

function assertNear(actual: number, expected: number, what: string): void {
  assert(Math.abs(actual - expected) <= NEAR * expected, `${what}: ${actual}, not ${expected}`);
}

const OPTIONS: readonly StepOptions[] = [
  { gradScale: 1024 },
  { gradScale: 3, checkFinite: false },
  { maxNorm: 1 },
  { maxNorm: 1e6, checkFinite: false },
  { maxNorm: 2, maxNormPer: "group", gradScale: 7 },
  { maxNorm: 40, normType: 1, gradScale: 3 },
  { maxNorm: 0.5, normType: Infinity, maxNormPer: "group" },
  { maxNorm: Infinity },
  { maxValue: 0.5 },
  { checkFinite: true, zeroGrad: true },
  { zeroGrad: true },
  { gradScale: 0.3, maxNorm: 5, maxValue: 0.01, zeroGrad: true },
];

export const OPTION_CASES: readonly Case[] = [
  {
    name: "every option has the bits of a loop, given the coefficient that is reported",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      for (const options of OPTIONS) {
        const { twins, params, optimizer } = make(gpu);
        for (let n = 0; n < 3; n++) {
          const norm = normOf(twins.map(({ grad }) => grad), options.normType) /
            (options.gradScale ?? 1);
          const report = await optimizer.stepAsync(options);
          assertEquals(optimizer.lastStep, report);
          assertEquals(report.skipped, false);
          if (report.gradNorm !== null && norm > 0) assertNear(report.gradNorm, norm, "norm");
          stepTwins(twins, options, report, world);
          if (!options.zeroGrad) continue;
          twins.forEach(({ grad }, i) => {
            grad.set(values(grad.length, n + i));
            params[i].grad!.write(grad);
          });
        }
        await assertSame(params, twins, JSON.stringify(options));
      }
      device.destroy();
    },
  },
  {
    name: "coefficients are those of the reported norms",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const { twins, optimizer } = make(gpu);
      const perGroup = [false, true];
      const cases = [1, 2, Infinity].flatMap((type) => perGroup.map((own) => [type, own] as const));
      for (const [normType, isPerGroup] of cases) {
        const normsOf = (own: typeof twins) => normOf(own.map(({ grad }) => grad), normType);
        const norms = [twins.slice(0, 2), twins.slice(2)].map(normsOf);
        const maxNormPer = isPerGroup ? "group" : "optimizer";
        const report = await optimizer.stepAsync({ maxNorm: 0.5, normType, maxNormPer });
        report.groupNorms!.forEach((norm, i) => assertNear(norm, norms[i], "group"));
        const all = normsOf(twins);
        assertNear(report.gradNorm!, all, "all");
        report.clipCoefficients!.forEach((coefficient, i) =>
          assertNear(coefficient, Math.min(1, 0.5 / (isPerGroup ? norms[i] : all)), "coefficient")
        );
      }
      device.destroy();
    },
  },
  {
    name: "the norm of gradients up to 1e30 is finite, and so is that of tiny ones",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      for (const size of [1e30, 1e-30, 1e35]) {
        const grad = Float32Array.from({ length: 9000 }, (_, i) => i % 3 === 0 ? size / 10 : 0);
        const param = { data: gpu.tensor(9000), grad: gpu.tensor(grad) };
        const optimizer = optimizerOf([param], { lr: 1 });
        const { gradNorm, skipped } = await optimizer.stepAsync({ maxNorm: 1 });
        assertEquals(skipped, false);
        assertNear(gradNorm!, normOf([grad]), `gradients of ${size}`);
        const moved = normOf([await param.data.read()]);
        assertNear(moved, Math.min(1, normOf([grad])), `a step along gradients of ${size}`);
      }
      device.destroy();
    },
  },
  {
    name: "a largest norm that float32 cannot hold clips as on the host",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const grads = [3e38, 1e38, 1, 1e-30, Infinity, NaN].map((x) => new Float32Array(100).fill(x));
      const norms = [3e38, 3.5e38, 1e39, 2.9e39, 3.1e39, 1e45, 2 ** 200, 1e300, Number.MAX_VALUE];
      for (const grad of grads) {
        const params = [{ data: gpu.tensor(100), grad: gpu.tensor(grad) }];
        const optimizer = optimizerOf(params, {});
        const host = new SGD([{ data: new Float32Array(100), grad }], { lr: 0.1, backend: "js" });
        for (const maxNorm of norms) {
          for (const gradScale of [1, 2 ** -30, 8]) {
            const options = { maxNorm, gradScale, checkFinite: false };
            const [own] = (await optimizer.stepAsync(options)).clipCoefficients!;
            host.step(options);
            const [expected] = host.lastStep!.clipCoefficients!;
            const what = `${grad[0]} with ${maxNorm} and ${gradScale}`;
            if (Number.isNaN(expected)) assert(Number.isNaN(own), what);
            else assertNear(own, expected, what);
          }
        }
      }
      device.destroy();
    },
  },
  {
    name: "a norm is the same each time, to the bit",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const norms = new Set<number>();
      for (let n = 0; n < 3; n++) {
        const { optimizer } = make(gpu);
        norms.add((await optimizer.stepAsync({ maxNorm: 1 })).gradNorm!);
      }
      assertEquals(norms.size, 1);
      device.destroy();
    },
  },
  {
    name: "a skipped step leaves everything as it was, except gradients that are to be zeroed",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      for (const bad of [NaN, Infinity, -Infinity]) {
        const { twins, params, optimizer } = make(gpu);
        await optimizer.stepAsync();
        stepTwins(twins, {}, { skipped: false } as StepReport, world);
        twins[3].grad[4999] = bad;
        params[3].grad!.write(twins[3].grad);
        for (const options of [{ checkFinite: true }, { maxNorm: 1, zeroGrad: true }]) {
          const report = await optimizer.stepAsync(options);
          assertEquals(report.skipped, true);
          stepTwins(twins, options, report, world);
        }
        await assertSame(params, twins, `skipped for ${bad}`);
        for (const [i, param] of params.entries()) {
          assertBits(await bufferOf(optimizer, param)!.read(), twins[i].buffer!, "momentum");
        }
      }
      device.destroy();
    },
  },
  {
    name: "a first step that is skipped is not a first step, although nobody has waited",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      for (const unmeasured of [false, true]) {
        const { twins, params, optimizer } = make(gpu);
        params[0].grad!.write(new Float32Array(10).fill(NaN));
        optimizer.step({ maxNorm: 1 }); // skipped, which the host does not know
        assertEquals(optimizer.lastStep, null);
        params[0].grad!.write(twins[0].grad);
        optimizer.step(unmeasured ? undefined : { checkFinite: true }); // the first one
        optimizer.step();
        const taken = { skipped: false } as StepReport;
        for (let n = 0; n < 2; n++) stepTwins(twins, {}, taken, world);
        await assertSame(params, twins, "after one skipped and two taken");
        const { state } = await optimizer.stateDictAsync();
        for (const [i, { buffer }] of twins.entries()) {
          assertBits(state[i].momentum_buffer as Float32Array, buffer!, "momentum");
        }
      }
      device.destroy();
    },
  },
  {
    name: "the state has no momentum buffers as long as every step was skipped",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const { params, optimizer } = make(gpu);
      params[0].grad!.write(new Float32Array(10).fill(NaN));
      optimizer.step({ checkFinite: true });
      optimizer.step({ checkFinite: true });
      assertEquals((await optimizer.stateDictAsync()).state, {});
      for (const param of params) assertEquals(bufferOf(optimizer, param), null);
      device.destroy();
    },
  },
  {
    name: "groups change while only the device knows whether a step was taken",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      for (const isSkipped of [true, false]) {
        const { twins, params, optimizer } = make(gpu);
        const rules = twins.map((_, i) => RULES[groupOf(i)]);
        const step = (...numbers: number[]) => {
          for (const i of numbers) stepTwin(twins[i], rules[i], world.traits);
        };
        if (isSkipped) params[0].grad!.write(new Float32Array(10).fill(NaN));
        else step(0, 1, 2, 3);
        optimizer.step({ checkFinite: true });
        params[0].grad!.write(twins[0].grad);
        optimizer.moveParameter(params[0], 1);
        rules[0] = RULES[1];
        optimizer.step({ checkFinite: true });
        step(0, 1, 2, 3);
        optimizer.moveParameter(params[2], 0);
        rules[2] = RULES[0];
        optimizer.removeParamGroup(1);
        optimizer.step();
        step(1, 2);
        await assertSame(params, twins, `after groups have changed, skipped: ${isSkipped}`);
        const { state } = await optimizer.stateDictAsync();
        for (const [row, i] of [1, 2].entries()) {
          assertBits(state[row].momentum_buffer as Float32Array, twins[i].buffer!, "momentum");
        }
        optimizer.resetState();
        assertEquals((await optimizer.stateDictAsync()).state, {});
        optimizer.step();
        for (const i of [1, 2]) twins[i].buffer = null;
        step(1, 2);
        await assertSame(params, twins, "after a reset");
      }
      device.destroy();
    },
  },
  {
    name: "a state dict is of the time of the call, whatever is stepped meanwhile",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const { params, optimizer } = make(gpu);
      params[0].grad!.write(new Float32Array(10).fill(NaN));
      optimizer.step({ checkFinite: true });
      const before = optimizer.stateDictAsync({ parameters: true });
      params[0].grad!.write(values(10));
      optimizer.step({ checkFinite: true });
      const dict = await before;
      assertEquals(dict.state, {});
      assertBits(dict.parameters![1].data as Float32Array, values(300, 1), "parameter");
      assert(bufferOf(optimizer, params[0]) !== null, "it has been written since");
      const { state } = await optimizer.stateDictAsync();
      assertEquals(Object.keys(state), ["0", "1", "2", "3"]);
      device.destroy();
    },
  },
  {
    name: "GradScaler steps by stepAsync, and all that takes arrays only names what to use instead",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const { twins, params, optimizer } = make(gpu);
      const scaler = new GradScaler({ initScale: 8 });
      const why = assertThrows(() => scaler.step(optimizer), TypeError);
      assert(why.message.includes("stepAsync"), why.message);
      const other = assertThrows(
        () => clipGradNorm(params as unknown as Parameter[], 1),
        TypeError,
      );
      assert(other.message.includes("step({ maxNorm })"), other.message);
      const list = params as unknown as Parameter[];
      const value = assertThrows(() => clipGradValue(list, 1), TypeError);
      assert(value.message.includes("step({ maxValue })"), value.message);
      const unscaled = assertThrows(() => scaler.unscale(optimizer), TypeError);
      assert(unscaled.message.includes("stepAsync of the scaler"), unscaled.message);
      const report = await scaler.stepAsync(optimizer);
      stepTwins(twins, { gradScale: 8 }, report as StepReport, world);
      await assertSame(params, twins, "one step of the scaler");
      device.destroy();
    },
  },
  {
    name: "gradients on two devices, or on a device and the host, are not measured together",
    async run(world) {
      const [one, two] = [await openGpu(world), await openGpu(world)];
      const a = { data: one.gpu.tensor(3), grad: one.gpu.tensor(values(3)) };
      const b = { data: two.gpu.tensor(3), grad: two.gpu.tensor(values(3)) };
      const host = { data: new Float32Array(3), grad: new Float32Array(3) };
      for (const other of [b, host]) {
        const optimizer = optimizerOf([a], { lr: 1 });
        optimizer.addParamGroup({ params: [other as typeof a] });
        assertThrows(() => optimizer.step({ maxNorm: 1 }), TypeError);
        await assertRejects(() => optimizer.stepAsync({ checkFinite: true }), TypeError);
        optimizer.step(); // without a measure, each goes where it is
        await optimizer.stepAsync({ maxValue: 1 });
      }
      one.device.destroy();
      two.device.destroy();
    },
  },
  {
    name: "an empty tensor has a first step of its own",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const params: DeviceParameter[] = [0, 3, 0].map((length) => ({
        data: gpu.tensor(length),
        grad: gpu.tensor(new Float32Array(length).fill(Infinity)),
      }));
      const optimizer = optimizerOf(params, { momentum: 0.5 });
      const stepped = async () => Object.keys((await optimizer.stateDictAsync()).state);
      optimizer.step({ checkFinite: true }); // is skipped
      const [first, second, third] = params;
      const grads = [first.grad, third.grad];
      [first.grad, third.grad] = [null, null];
      (second.grad as WebGpuTensor<"float32", GPUBuffer>).write(values(3));
      optimizer.step({ checkFinite: true });
      assertEquals(await stepped(), ["1"]);
      first.grad = grads[0];
      optimizer.step({ checkFinite: true });
      assertEquals(await stepped(), ["0", "1"]);
      assertEquals(bufferOf(optimizer, first)!.length, 0);
      device.destroy();
    },
  },
];
