/** Steps with options and asynchronous steps of tensors on a device: one that computes nothing. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { clipGradNorm, SGD } from "@descent/sgd";
import type { DeviceTensor, Parameter } from "@descent/sgd";
import { registerDeviceTensor } from "../../src/core/dtype.ts";
import type { ElementType } from "../../src/core/dtype.ts";
import { testOnBackends } from "../support/backends.ts";

/** A device that writes down what it is asked for. */
function createDevice() {
  const log: string[] = [];
  const tensors: DeviceTensor[] = [];
  const type: ElementType = {
    code: 16,
    bytes: 4,
    name: "float32",
    zeros: (length) => tensor(length),
    device: {
      address: (tensor) => 2 ** 48 + 1024 * tensors.indexOf(tensor),
      step: (_rows, _rowCount, from, to) => log.push(`step ${from} to ${to}`),
      zero: (zeroed) => log.push(`zero ${zeroed.map((each) => tensors.indexOf(each))}`),
      synchronize: () => {
        log.push("synchronize");
        return Promise.resolve();
      },
    },
  };
  function tensor(length: number): DeviceTensor {
    const made: DeviceTensor = {
      length,
      byteLength: 4 * length,
      readSync: () => new Float32Array(length),
      write: () => {},
    };
    registerDeviceTensor(made, type);
    tensors.push(made);
    return made;
  }
  return { log, tensor, device: type.device! };
}

function make() {
  const { log, tensor, device } = createDevice();
  const w: Parameter<DeviceTensor> = { data: tensor(8), grad: tensor(8), name: "w" };
  const host = { data: new Float32Array([1]), grad: new Float32Array([1]) };
  return { log, w, host, device };
}

testOnBackends(
  "gradients on a GPU are not unscaled, checked or clipped: that is refused",
  (backend) => {
    for (
      const options of [{ gradScale: 2 }, { maxNorm: 1 }, { maxValue: 1 }, { checkFinite: true }]
    ) {
      const { log, w, host } = make();
      const optimizer = new SGD<DeviceTensor>([host, w], { lr: 1, backend });
      const [option] = Object.keys(options);
      const text = `with ${option} as grad of parameter 1 ("w") must be an array: it is on a GPU`;
      assertThrows(() => optimizer.step(options), TypeError, text);
      assertEquals([log, host.data[0]], [[], 1]);
      w.grad = null;
      optimizer.step(options);
      assertEquals(optimizer.lastStep!.skipped, false);
    }
    const { w } = make();
    const params = [w] as unknown as Parameter[];
    assertThrows(() => clipGradNorm(params, 1, { backend }), TypeError, "it is on a GPU");
  },
);

testOnBackends("gradients on a GPU are zeroed behind the step", (backend) => {
  const { log, w, host } = make();
  new SGD<DeviceTensor>([host, w], { lr: 1, backend }).step({ zeroGrad: true });
  assertEquals([log, host], [["step 0 to 2", "zero 1"], {
    data: new Float32Array([0]),
    grad: new Float32Array([0]),
  }]);
});

testOnBackends("an asynchronous step ends when the device is done", async (backend) => {
  const { log, w, host } = make();
  const optimizer = new SGD<DeviceTensor>([w, host], { lr: 1, backend });
  const running = optimizer.stepAsync({ zeroGrad: true });
  await assertRejects(() => optimizer.stepAsync(), Error, "is running");
  await running;
  assertEquals([log, host.data[0]], [["step 0 to 2", "zero 1", "synchronize"], 0]);
});

testOnBackends("a step that a device ends keeps the momentum of what it has stepped", (backend) => {
  const { w, host, device } = make();
  const last = { data: new Float32Array([1]), grad: new Float32Array([1]) };
  const { step } = device;
  device.step = (_rows, _rowCount, from) => {
    if (from === 1) throw new Error("the device is lost");
  };
  const options = { lr: 1, momentum: 0.5, dampening: 0.25, foreach: false, backend };
  const optimizer = new SGD<DeviceTensor>([host, w, last], options);
  assertThrows(() => optimizer.step(), Error, "the device is lost");
  assertEquals([host.data[0], last.data[0], optimizer.lastStep], [0, 1, null]);
  device.step = step;
  optimizer.step();
  // The first array has taken two steps, and the last one its first, which is not dampened.
  assertEquals([host.data[0], last.data[0]], [-1.25, 0]);
});
