/** What goes wrong later: a destroyed buffer, a lost device; and how much work a step is. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import { adoptDevice } from "@descent/sgd/webgpu";
import type { WebGpuTensor } from "@descent/sgd/webgpu";
import { assertBits } from "../../gpu/reference.ts";
import type { Reference } from "../../gpu/reference.ts";
import { stepTwin } from "./reference.ts";
import { bufferOf, makeBuffer, openGpu, optimizerOf, values } from "./world.ts";
import type { Case, DeviceParameter, Gpu } from "./world.ts";

/** A device that counts calls of its methods, and otherwise is the one it is made of. */
function counted(device: GPUDevice) {
  const counts = { dispatches: 0, submits: 0, bindGroups: 0, buffers: 0, writes: 0 };
  const proxy = new Proxy(device, {
    get(target, name) {
      if (name === "queue") {
        return {
          submit(commands: GPUCommandBuffer[]) {
            counts.submits++;
            target.queue.submit(commands);
          },
          writeBuffer(buffer: GPUBuffer, offset: number, data: Uint8Array<ArrayBuffer>) {
            counts.writes++;
            target.queue.writeBuffer(buffer, offset, data);
          },
          onSubmittedWorkDone: () => target.queue.onSubmittedWorkDone(),
        };
      }
      if (name === "createCommandEncoder") {
        return () => {
          const encoder = target.createCommandEncoder();
          const begin = encoder.beginComputePass.bind(encoder);
          encoder.beginComputePass = () => {
            const pass = begin();
            const dispatch = pass.dispatchWorkgroups.bind(pass);
            pass.dispatchWorkgroups = (x: number) => {
              counts.dispatches++;
              dispatch(x);
            };
            return pass;
          };
          return encoder;
        };
      }
      if (name === "createBindGroup") counts.bindGroups++;
      if (name === "createBuffer") counts.buffers++;
      const value = target[name as keyof GPUDevice] as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { gpu: adoptDevice(proxy) as Gpu, counts };
}

/** What the next steps cost. */
function costOf(counts: Record<string, number>, body: () => void): Record<string, number> {
  const before = { ...counts };
  body();
  return Object.fromEntries(Object.entries(counts).map(([name, n]) => [name, n - before[name]]));
}

const NOTHING_NEW = { bindGroups: 0, buffers: 0, writes: 0 };

export const FAILURE_CASES: readonly Case[] = [
  {
    name: "a step is one submit, and one dispatch for all tensors that share buffers",
    async run(world) {
      const device = await world.open();
      const { gpu, counts } = counted(device);
      const [data, grads] = [makeBuffer(device, 4 * 1610), makeBuffer(device, 4 * 1610)];
      const params = Array.from({ length: 161 }, (_, i) => ({
        data: gpu.tensor(data, { offset: 10 * i, length: 10 }),
        grad: gpu.tensor(grads, { offset: 10 * i, length: 10 }),
      }));
      const optimizer = optimizerOf(params, { momentum: 0.9 });
      optimizer.step();
      optimizer.step();
      assertEquals(costOf(counts, () => optimizer.step()), {
        ...{ submits: 1, dispatches: 1, ...NOTHING_NEW },
      });
      optimizer.step({ maxNorm: 1 });
      assertEquals(costOf(counts, () => optimizer.step({ maxNorm: 1 })), {
        ...{ submits: 1, dispatches: 3, ...NOTHING_NEW },
      });
      optimizer.paramGroups[0].lr = 0.05;
      assertEquals(costOf(counts, () => optimizer.step({ maxNorm: 1 })), {
        ...{ submits: 1, dispatches: 3, ...NOTHING_NEW, writes: 1 },
      });
      await gpu.synchronize();
      device.destroy();
    },
  },
  {
    name: "gradients that alternate between a few buffers need nothing new",
    async run(world) {
      const device = await world.open();
      const { gpu, counts } = counted(device);
      const grads = [1, 2, 3, 4, 5, 6].map((seed) => gpu.tensor(values(100, seed)));
      const param = { data: gpu.tensor(100), grad: grads[0] };
      const optimizer = optimizerOf([param], { momentum: 0.9 });
      const round = () => {
        for (const grad of grads) {
          param.grad = grad;
          optimizer.step();
        }
      };
      round();
      round();
      assertEquals(costOf(counts, round), { submits: 6, dispatches: 6, ...NOTHING_NEW });
      await gpu.synchronize();
      device.destroy();
    },
  },
  {
    name: "a buffer that was destroyed rejects the next report, once",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const whole = gpu.tensor(values(10));
      const ruin = () => {
        const buffer = makeBuffer(device, 40);
        const optimizer = optimizerOf([{ data: gpu.tensor(buffer), grad: whole }], {});
        optimizer.step();
        buffer.destroy();
        optimizer.step();
        return optimizer;
      };
      const refused = "as the device refused some of the work: ";
      const error = await assertRejects(() => ruin().stepAsync(), Error);
      assert(error.message.startsWith(`Cannot step ${refused}`), error.message);
      await gpu.synchronize();
      ruin();
      const read = await assertRejects(() => whole.read(), Error);
      assert(read.message.startsWith(`Cannot read the tensor ${refused}`), read.message);
      assertEquals(await whole.read(), values(10));
      const optimizer = optimizerOf([{ data: whole, grad: gpu.tensor(10) }], { momentum: 0.9 });
      optimizer.step();
      ruin();
      const dict = await assertRejects(() => optimizer.stateDictAsync(), Error);
      assert(dict.message.includes(refused), dict.message);
      await optimizer.stateDictAsync();
      device.destroy();
    },
  },
  {
    name: "a failure rejects the next state dict, once, also where no tensor is read for it",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const buffer = makeBuffer(device, 40);
      const optimizer = optimizerOf([{ data: gpu.tensor(buffer), grad: gpu.tensor(10) }], {});
      buffer.destroy();
      optimizer.step();
      const error = await assertRejects(() => optimizer.stateDictAsync(), Error);
      const refused = "Cannot take the state as the device refused some of the work: ";
      assert(error.message.startsWith(refused), error.message);
      assertEquals((await optimizer.stateDictAsync()).state, {});
      device.destroy();
      const lost = await assertRejects(() => optimizer.stateDictAsync(), Error);
      assert(/^Cannot take the state as the device is lost: /.test(lost.message), lost.message);
    },
  },
  {
    name: "a device that has just been lost is the reason for what fails on it",
    async run(world) {
      const device = await world.open();
      device.destroy();
      const gpu = adoptDevice(device);
      const error = await assertRejects(async () => await gpu.tensor(3).read(), Error);
      assert(/^Cannot .* as the device is lost: /.test(error.message), error.message);
    },
  },
  {
    name: "a step whose report is an earlier failure has been taken, and its momentum stays",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const buffer = makeBuffer(device, 40);
      const other = optimizerOf([{ data: gpu.tensor(buffer), grad: gpu.tensor(10) }], {});
      buffer.destroy();
      other.step();
      const twin: Reference = { data: values(10), grad: values(10, 2), buffer: null };
      const param = { data: gpu.tensor(twin.data), grad: gpu.tensor(twin.grad) };
      const optimizer = optimizerOf([param], { momentum: 0.9 });
      await assertRejects(() => optimizer.stepAsync({ checkFinite: true }), Error, "refused some");
      await optimizer.stepAsync({ checkFinite: true });
      for (let n = 0; n < 2; n++) stepTwin(twin, { lr: 0.1, momentum: 0.9 }, world.traits);
      assertBits(await param.data.read(), twin.data, "after two steps");
      device.destroy();
    },
  },
  {
    name: "of calls that wait at once, each is rejected by its own work alone",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const broken = [1, 2].map((seed) => {
        const buffer = makeBuffer(device, 16);
        const tensor = gpu.tensor(buffer);
        tensor.write(values(4, seed));
        return { buffer, tensor };
      });
      const fine = [3, 4].map((seed) => gpu.tensor(values(4, seed)));
      const own = () => ({ data: gpu.tensor(4), grad: fine[0] });
      const optimizers = [own(), own(), { ...own(), data: broken[0].tensor }]
        .map((param) => optimizerOf([param], { momentum: 0.9 }));
      for (const optimizer of optimizers) await optimizer.stepAsync({ maxNorm: 1 });
      for (const { buffer } of broken) buffer.destroy();
      for (const options of [{ maxNorm: 1 }, undefined]) {
        const [good, other, bad] = optimizers;
        const settled = await Promise.allSettled([
          ...[fine[0].read(), broken[0].tensor.read(), good.stepAsync(options)],
          ...[bad.stepAsync(options), fine[1].read(), broken[1].tensor.read()],
          other.stateDictAsync(),
        ]);
        assertEquals(
          settled.map((each) => each.status === "fulfilled"),
          [true, false, true, false, true, false, true],
        );
        for (const each of settled) {
          if (each.status === "fulfilled") continue;
          assert(each.reason.message.includes(" as the device refused some of the work: "));
        }
        assertEquals(optimizers.map(({ lastStep }) => lastStep === null), [false, false, true]);
        if (options !== undefined) {
          assertEquals(good.lastStep!.gradNorm, other.lastStep!.gradNorm);
        }
        assertEquals([await fine[0].read(), await fine[1].read()], [3, 4].map((i) => values(4, i)));
      }
      device.destroy();
    },
  },
  {
    name:
      "a step of which one buffer has been destroyed changes nothing, however many dispatches it is",
    async run(world) {
      for (const ruined of ["data", "grad"] as const) {
        for (const request of [undefined, { checkFinite: true }, { maxNorm: 1 }]) {
          const { device, gpu } = await openGpu(world);
          const buffers = { data: makeBuffer(device, 512), grad: makeBuffer(device, 512) };
          const params = [0, 64].map((offset) => ({
            data: gpu.tensor(buffers.data, { offset, length: 16 }),
            grad: gpu.tensor(buffers.grad, { offset, length: 16 }),
          }));
          const other = { data: gpu.tensor(values(4)), grad: gpu.tensor(values(4)) };
          const optimizer = new SGD<WebGpuTensor<"float32", GPUBuffer>>([
            { params: [params[0], other] },
            { params: [params[1]], weightDecay: 0.1 },
          ], { lr: 0.1, momentum: 0.9, backend: "js" });
          for (let n = 0; n < 2; n++) await optimizer.stepAsync(request);
          const before = await other.data.read();
          buffers[ruined].destroy();
          await assertRejects(
            () => optimizer.stepAsync(request),
            Error,
            "refused some of the work",
          );
          assertEquals(await other.data.read(), before);
          if (ruined === "grad") {
            optimizer.zeroGrad();
            await assertRejects(() => gpu.synchronize(), Error, "refused some of the work");
          }
          device.destroy();
        }
      }
    },
  },
  {
    name: "a tensor that has been disposed is refused by the next step",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const param = { data: gpu.tensor(10), grad: gpu.tensor(10) };
      const optimizer = optimizerOf([param], {});
      optimizer.step();
      param.grad[Symbol.dispose]();
      const message = "Cannot use the tensor as it has been disposed";
      for (const attempt of [() => optimizer.step(), () => optimizer.zeroGrad()]) {
        assertEquals(assertThrows(attempt, TypeError).message, message);
      }
      await gpu.synchronize();
      device.destroy();
    },
  },
  {
    name: "errors of the user's own work are the user's",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const param = { data: gpu.tensor(10), grad: gpu.tensor(10) };
      const optimizer = optimizerOf([param], {});
      device.pushErrorScope("validation");
      device.createBuffer({ size: 16, usage: 1 | 128 }); // a mapped buffer cannot be STORAGE
      optimizer.step();
      const own = await device.popErrorScope();
      assert(own !== null);
      await optimizer.stepAsync();
      device.destroy();
    },
  },
  {
    name: "a lost device rejects what waits, and then refuses work before it is queued",
    async run(world) {
      const { device, gpu } = await openGpu(world);
      const param = { data: gpu.tensor(10), grad: gpu.tensor(10) };
      const optimizer = optimizerOf([param], { momentum: 0.9 });
      optimizer.step();
      device.destroy();
      await assertRejects(() => optimizer.stepAsync({ maxNorm: 1 }), Error);
      await device.lost;
      await Promise.resolve();
      for (const attempt of [() => optimizer.step(), () => gpu.tensor(3)]) {
        const error = assertThrows(attempt, Error);
        assert(/^Cannot .* as the device is lost: /.test(error.message), error.message);
      }
      for (
        const attempt of [
          () => param.data.read(),
          () => optimizer.stateDictAsync(),
          () => optimizer.stepAsync(),
          () => gpu.synchronize(),
        ]
      ) {
        const error = await assertRejects(attempt, Error);
        assert(/^Cannot .* as the device is lost: /.test(error.message), error.message);
      }
    },
  },
  {
    name: "work for two devices is queued on none if one is known to be lost",
    async run(world) {
      const [kept, lost] = [await openGpu(world), await openGpu(world)];
      const params = [kept, lost].map(({ gpu }) => ({
        data: gpu.tensor(values(4)),
        grad: gpu.tensor(values(4, 2)) as DeviceParameter["grad"],
      }));
      const optimizer = optimizerOf(params, { momentum: 0.9 });
      lost.device.destroy();
      await lost.device.lost;
      await new Promise((resolve) => setTimeout(resolve, 1));
      const attempts = [() => optimizer.step(), () => optimizer.zeroGrad()];
      for (const foreach of [true, false]) {
        optimizer.paramGroups[0].foreach = foreach;
        for (const attempt of attempts) assertThrows(attempt, Error, "as the device is lost: ");
      }
      await assertRejects(() => optimizer.stepAsync(), Error, "as the device is lost: ");
      const [own] = params;
      assertEquals(await own.data.read(), values(4));
      assertEquals(await own.grad!.read(), values(4, 2));
      assertEquals(bufferOf(optimizer, own), null);
      params[1].grad = null; // the other device then decides alone
      optimizer.step({ maxNorm: 100 });
      assertEquals((await optimizer.stepAsync({ maxNorm: 100 })).skipped, false);
      kept.device.destroy();
    },
  },
];
