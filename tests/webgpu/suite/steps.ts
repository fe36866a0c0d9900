/** Steps: every option of the rule, any layout of memory, and what changes between steps. */

import { assert, assertEquals } from "@std/assert";
import { sgd } from "@descent/sgd";
import { adoptTuned } from "../../../src/webgpu/adopt.ts";
import { stepTwin } from "./reference.ts";
import { assertBits } from "../../gpu/reference.ts";
import type { Reference as Twin } from "../../gpu/reference.ts";
import type { Options } from "./reference.ts";
import { LAYOUTS, makePairs, SIZES } from "./layouts.ts";
import type { Layout, Pair } from "./layouts.ts";
import { bufferOf, makeBuffer, openGpu, optimizerOf, values } from "./world.ts";
import type { Case, Gpu, World } from "./world.ts";

const RULES: readonly Options[] = [
  { lr: 0.1 },
  { lr: 0.1, weightDecay: 0.3, maximize: true },
  { lr: 0.07, momentum: 0.9 },
  { lr: 0.07, momentum: 0.9, dampening: 0.4, weightDecay: 0.01 },
  { lr: 0.07, momentum: 0.75, nesterov: true, weightDecay: 0.5, maximize: true },
  { lr: 0.001, momentum: 0.9, sign: true, weightDecay: 0.1 },
  { lr: 0.001, sign: true },
  { lr: 0.1, weightDecay: 0.3, decoupledWeightDecay: true },
  { lr: 0.07, momentum: 0.9, nesterov: true, weightDecay: 0.5, decoupledWeightDecay: true },
];

const STEPS = 12;

/** Compares data and momentum with the reference, bit for bit. */
async function assertSame(
  optimizer: ReturnType<typeof optimizerOf>,
  pairs: readonly Pair[],
  what: string,
): Promise<void> {
  for (const [i, { param, twin }] of pairs.entries()) {
    assertBits(await param.data.read(), twin.data, `${what}: data ${i}`);
    const buffer = bufferOf(optimizer, param);
    assertEquals(buffer === null, twin.buffer === null, `${what}: buffer ${i} is there, or not`);
    if (buffer !== null) assertBits(await buffer.read(), twin.buffer!, `${what}: buffer ${i}`);
  }
}

/** Steps with every rule; each time the gradients are others. */
async function runRules(
  world: World,
  device: GPUDevice,
  gpu: Gpu,
  layout: Layout,
  sizes = SIZES,
) {
  for (const rule of RULES) {
    const pairs = makePairs(device, gpu, layout, sizes);
    const optimizer = optimizerOf(pairs.map(({ param }) => param), rule);
    for (let n = 0; n < STEPS; n++) {
      for (const [i, { param, twin }] of pairs.entries()) {
        const grad = values(sizes[i], 100 * n + i);
        param.grad!.write(grad);
        twin.grad.set(grad);
      }
      optimizer.step();
      for (const { twin } of pairs) stepTwin(twin, rule, world.traits);
    }
    await assertSame(optimizer, pairs, JSON.stringify(rule));
  }
}

const layoutCases = Object.entries(LAYOUTS).map(([name, layout]): Case => ({
  name: `every rule has the bits of a loop: ${name}`,
  async run(world) {
    const { device, gpu } = await openGpu(world);
    await runRules(world, device, gpu, layout);
    await gpu.synchronize();
    device.destroy();
  },
}));

/** Windows and chunks so small that every tensor is cut. */
const TINY = { windowBytes: 256, chunkElements: 24 };

export const STEP_CASES: readonly Case[] = [
  ...layoutCases,
  {
    name: "the bits do not depend on how buffers are cut into windows and chunks",
    async run(world) {
      const device = await world.open();
      const gpu = adoptTuned(device, TINY) as unknown as Gpu;
      for (const layout of Object.values(LAYOUTS)) {
        await runRules(world, device, gpu, layout, [10, 0, 65, 300]);
      }
      await gpu.synchronize();
      device.destroy();
    },
  },
  {
    name: "a step writes parameters and momentum, and nothing between them",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const buffer = makeBuffer(device, 4 * 1200);
      const whole = gpu.tensor(buffer);
      const before = values(1200, 9);
      whole.write(before);
      const ranges = [[3, 7], [101, 64], [300, 257]];
      const params = ranges.map(([offset, length]) => ({
        data: gpu.tensor(buffer, { offset, length }),
        grad: gpu.tensor(buffer, { offset: offset + 600, length }),
      }));
      const optimizer = optimizerOf(params, { lr: 1, momentum: 0.5 });
      for (let n = 0; n < 3; n++) optimizer.step();
      const after = await whole.read();
      const isIn = (i: number) => ranges.some(([at, length]) => i >= at && i < at + length);
      after.forEach((x, i) => assertEquals(x === before[i], !isIn(i), `element ${i}`));
      device.destroy();
    },
  },
  {
    name: "momentum may be in the buffer of data, of gradients, or of both",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const rule = { lr: 0.1, momentum: 0.9, nesterov: true };
      for (const [data, grad, momentum] of [[0, 1, 0], [0, 1, 1], [0, 0, 0], [0, 0, 1]]) {
        const buffers = [0, 1].map(() => makeBuffer(device, 4 * 300));
        const tensor = (buffer: number, at: number) =>
          gpu.tensor(buffers[buffer], { offset: 100 * at + 1, length: 97 });
        const param = { data: tensor(data, 0), grad: tensor(grad, 1) };
        const own = tensor(momentum, 2);
        const [p, g, b] = [1, 2, 3].map((seed) => values(97, seed));
        param.data.write(p);
        param.grad.write(g);
        own.write(b);
        const optimizer = optimizerOf([param], rule);
        const state = optimizer.state.get(param) as { momentumBuffer: unknown };
        state.momentumBuffer = own;
        const twin = { data: p, grad: g, buffer: b };
        for (let n = 0; n < 3; n++) {
          optimizer.step();
          stepTwin(twin, rule, world.traits);
        }
        await assertSame(optimizer, [{ param, twin }], `${data} ${grad} ${momentum}`);
      }
      device.destroy();
    },
  },
  {
    name: "a step may need more workgroups than one dispatch can have",
    isSlow: true,
    async run(world) {
      const device = await world.open();
      const gpu = adoptTuned(device, { chunkElements: 1 }) as unknown as Gpu;
      const length = device.limits.maxComputeWorkgroupsPerDimension + 100;
      const param = { data: gpu.tensor(length), grad: gpu.tensor(values(length)) };
      await optimizerOf([param], { lr: 1 }).stepAsync({ maxNorm: Infinity });
      const data = await param.data.read();
      assertEquals(values(length).findIndex((x, i) => data[i] !== -x), -1);
      device.destroy();
    },
  },
  {
    name: "steps that are queued one after the other use their own hyperparameters",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const [pair] = makePairs(device, gpu, LAYOUTS["a buffer for each tensor"], [100]);
      const optimizer = optimizerOf([pair.param], { lr: 1, momentum: 0.5 });
      for (const [lr, sign] of [[1, false], [0.5, false], [0.25, true], [0.125, false]] as const) {
        Object.assign(optimizer.paramGroups[0], { lr, sign });
        optimizer.step();
        stepTwin(pair.twin, { lr, momentum: 0.5, sign }, world.traits);
      }
      await assertSame(optimizer, [pair], "after four steps");
      device.destroy();
    },
  },
  {
    name: "groups, parameters without a gradient, and a group that is added late",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const layout = LAYOUTS["all data in one buffer, all gradients in another"];
      const pairs = makePairs(device, gpu, layout, [5, 70, 33]);
      const [a, b, c] = pairs;
      const grad = b.param.grad;
      b.param.grad = null;
      const rules = [{ lr: 0.5, momentum: 0.9 }, { lr: 0.1, momentum: 0.5, nesterov: true }];
      const optimizer = optimizerOf([a.param, b.param], rules[0]);
      optimizer.step();
      stepTwin(a.twin, rules[0], world.traits);
      b.param.grad = grad;
      optimizer.addParamGroup({ params: [c.param], ...rules[1] });
      for (let n = 0; n < 2; n++) {
        optimizer.step();
        for (const { twin } of [a, b]) stepTwin(twin, rules[0], world.traits);
        stepTwin(c.twin, rules[1], world.traits);
      }
      await assertSame(optimizer, pairs, "after three steps");
      optimizer.zeroGrad();
      for (const { param } of pairs) assert((await param.grad!.read()).every((x) => x === 0));
      device.destroy();
    },
  },
  {
    name: "NaN, infinities and zeros of both signs behave as in the loop",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const odd = [NaN, Infinity, -Infinity, 0, -0, 1, -1, 3e38, -3e38, 1e-38, -1e-38];
      const all = odd.flatMap((x) => odd.map((y) => [x, y]));
      for (const rule of RULES) {
        const twin: Twin = {
          data: Float32Array.from(all, ([x]) => x),
          grad: Float32Array.from(all, ([, y]) => y),
          buffer: null,
        };
        const param = { data: gpu.tensor(twin.data), grad: gpu.tensor(twin.grad) };
        const optimizer = optimizerOf([param], rule);
        for (let n = 0; n < 3; n++) {
          optimizer.step();
          stepTwin(twin, rule, world.traits);
        }
        await assertSame(optimizer, [{ param, twin }], JSON.stringify(rule));
      }
      device.destroy();
    },
  },
  {
    name: "sgd() steps tensors that the caller keeps",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const rule = { lr: 0.1, momentum: 0.9 };
      const twin: Twin = { data: values(70), grad: values(70, 2), buffer: null };
      const [data, grad] = [gpu.tensor(twin.data), gpu.tensor(twin.grad)];
      const options = { weightDecay: 0, dampening: 0, nesterov: false, maximize: false };
      const buffers = [null] as (typeof data | null)[];
      for (let n = 0; n < 2; n++) {
        sgd([data], [grad], buffers, { ...options, ...rule });
        stepTwin(twin, rule, world.traits);
      }
      assertBits(await data.read(), twin.data, "data");
      assertBits(await buffers[0]!.read(), twin.buffer!, "momentum");
      device.destroy();
    },
  },
  {
    name: "the backend of an optimizer says where its parameters are",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const param = { data: gpu.tensor(3), grad: null };
      const optimizer = optimizerOf([param], { lr: 1 });
      assertEquals(optimizer.backend, "webgpu");
      optimizer.addParamGroup({ params: [{ data: new Float32Array(3), grad: null }] });
      assertEquals(optimizer.backend, "js");
      device.destroy();
    },
  },
];
