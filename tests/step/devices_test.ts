/** Steps with options and asynchronous steps of tensors on a device: one that computes nothing. */

import { assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { clipGradNorm, GradScaler, SGD, WeightAverage } from "@descent/sgd";
import type { DeviceTensor, Parameter } from "@descent/sgd";
import { registerDeviceTensor } from "../../src/core/dtype.ts";
import type { DeviceReport } from "../../src/core/device.ts";
import type { ElementType } from "../../src/core/dtype.ts";
import { stateOf } from "../../src/plan/layout.ts";
import { testOnBackends } from "../support/backends.ts";

const TAKEN: DeviceReport = { skipped: false, groupNorms: [3, 4], clipCoefficients: [0.5, 0.25] };

const SKIPPED: DeviceReport = { ...TAKEN, skipped: true };

/** A device that writes down what it is asked for, and says what the test wants it to say. */
function createDevice(code: number) {
  const log: string[] = [];
  /** The states of the rows of each step. */
  const states: number[][] = [];
  const answers = { report: TAKEN, written: new Set<DeviceTensor>() };
  const tensors: DeviceTensor[] = [];
  const type: ElementType = {
    code,
    bytes: 4,
    name: "float32",
    zeros: (length) => tensor(length),
    device: {
      name: "gpu",
      address: (tensor) => 2 ** 48 + 2 ** 20 * code + 1024 * tensors.indexOf(tensor),
      step({ rows, rowCount, from, to }, request) {
        const halves = new Uint32Array(rows.buffer);
        states.push(Array.from({ length: rowCount }, (_, row) => stateOf(halves, row)));
        const asked = Object.entries(request ?? {}).filter(([name]) => name in ASKED)
          .filter(([name, value]) => value !== ASKED[name]).map(([name]) => ` ${name}`);
        log.push(`step ${from} to ${to}${asked.join("")}`);
      },
      report: () => Promise.resolve(answers.report),
      written: (buffers) => Promise.resolve(buffers.map((each) => answers.written.has(each))),
      writtenSync: (buffers) => buffers.map((each) => answers.written.has(each)),
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
      read: () => Promise.resolve(new Float32Array(length)),
      readSync: () => new Float32Array(length),
      write: () => {},
    };
    registerDeviceTensor(made, type);
    tensors.push(made);
    return made;
  }
  return { log, states, answers, tensor, device: type.device! };
}

/** What a request says that asks for nothing. */
const ASKED: Record<string, unknown> = {
  inverseScale: 1,
  checkFinite: false,
  maxNorm: null,
  maxValue: Infinity,
  zeroGrad: false,
};

function make(code = 16) {
  const { log, states, answers, tensor, device } = createDevice(code);
  const w: Parameter<DeviceTensor> = { data: tensor(8), grad: tensor(8), name: "w" };
  const host = { data: new Float32Array([1]), grad: new Float32Array([1]) };
  return { log, states, answers, tensor, w, host, device };
}

/** Each option, and what a device is asked for. */
const OPTIONS = [
  [{ gradScale: 2, checkFinite: false }, " inverseScale"],
  [{ maxValue: 1 }, " maxValue"],
  [{ zeroGrad: true }, " zeroGrad"],
  [{ maxNorm: 1 }, " maxNorm checkFinite"],
  [{ gradScale: 2 }, " inverseScale checkFinite"],
] as const;

testOnBackends("options reach the device, and only a measured step has no report", (backend) => {
  for (const [options, asked] of OPTIONS) {
    const { log, w } = make();
    const optimizer = new SGD([w], { lr: 1, backend });
    optimizer.step(options);
    assertEquals([log.length, new Set(log[0].split(" "))], [
      1,
      new Set(`step 0 to 1${asked}`.split(" ")),
    ]);
    assertEquals(optimizer.lastStep === null, asked.includes("checkFinite"));
    optimizer.step();
    assertEquals([log[1], optimizer.lastStep!.skipped], ["step 0 to 1", false]);
  }
});

testOnBackends("a measured step is one call, whatever foreach says", (backend) => {
  const { log, tensor, w } = make();
  const params = [w, { data: tensor(3), grad: tensor(3) }];
  const optimizer = new SGD(params, { lr: 1, foreach: false, backend });
  optimizer.step({ checkFinite: true });
  optimizer.step({ maxValue: 1 });
  const calls = ["step 0 to 2 checkFinite", "step 0 to 1 maxValue", "step 1 to 2 maxValue"];
  assertEquals(log, calls);
});

testOnBackends(
  "one place decides whether a step is skipped, so mixtures are refused",
  (backend) => {
    for (const options of [{ gradScale: 2 }, { maxNorm: 1 }, { checkFinite: true }]) {
      const [{ log, w, host }, { w: other }] = [make(), make(20)];
      const [option] = Object.keys(options);
      const optimizer = new SGD<DeviceTensor>([host, w], { lr: 1, backend });
      const text =
        `Cannot step with ${option} as all gradients must be arrays, or all of them tensors of`;
      assertThrows(() => optimizer.step(options), TypeError, text);
      assertThrows(
        () => optimizer.step(options),
        TypeError,
        "grad of parameter 0 is an array, grad of ",
      );
      const two = new SGD([w, { ...other, name: "v" }], { lr: 1, backend });
      assertThrows(() => two.step(options), TypeError, 'grad of parameter 1 ("v") on another');
      assertEquals([log, host.data[0]], [[], 1]);
      w.grad = null;
      optimizer.step(options);
      assertEquals([optimizer.lastStep!.skipped, host.data[0] < 1], [false, true]);
    }
  },
);

testOnBackends("devices without gradients are not asked for a measured step", async (backend) => {
  const [{ log, w }, { log: otherLog, w: other, device }] = [make(), make(20)];
  device.check = () => {
    throw new Error("Cannot step as the device is lost");
  };
  const optimizer = new SGD([w, { ...other, name: "v" }], { lr: 1, backend });
  assertThrows(() => optimizer.step(), Error, "is lost");
  await assertRejects(() => optimizer.stepAsync(), Error, "is lost");
  assertThrows(() => optimizer.zeroGrad(), Error, "is lost");
  assertEquals([log, otherLog], [[], []]);
  optimizer.paramGroups[0].params[1].grad = null;
  optimizer.step({ maxNorm: 1 });
  await optimizer.stepAsync({ maxNorm: 1 });
  const step = "step 0 to 2 maxNorm checkFinite";
  assertEquals([log, otherLog], [[step, step], []]);
  const host = { data: new Float32Array([1]), grad: new Float32Array([1]) };
  const mixed = new SGD<DeviceTensor>([host, { ...other, grad: null }], { lr: 1, backend });
  mixed.step({ maxNorm: 1 });
  await mixed.stepAsync({ maxNorm: 1 });
  assertEquals([otherLog, host.data[0] < 0], [[], true]);
});

testOnBackends("what needs a report at once is refused, and names what to use", async (backend) => {
  const { log, answers, w } = make();
  const params = [w] as unknown as Parameter[];
  const clip = () => clipGradNorm(params, 1, { backend });
  assertThrows(clip, TypeError, "it is on a GPU: use step({ maxNorm }) of the optimizer");
  const optimizer = new SGD([w], { lr: 1, backend });
  const scaler = new GradScaler();
  assertThrows(
    () => scaler.step(optimizer),
    TypeError,
    "they are on a GPU: use stepAsync of the scaler",
  );
  assertEquals(log, []);
  answers.report = SKIPPED;
  assertEquals((await scaler.stepAsync(optimizer)).skipped, true);
  scaler.update();
  assertEquals(scaler.getScale(), 2 ** 15);
  optimizer.step({ checkFinite: true });
});

testOnBackends("stepAsync has the device's report", async (backend) => {
  const { answers, w } = make();
  const optimizer = new SGD([w], { lr: 1, backend });
  for (const report of [TAKEN, SKIPPED]) {
    answers.report = report;
    const found = await optimizer.stepAsync({ maxNorm: 1 });
    assertEquals(found, { ...report, gradNorm: 5 });
    assertStrictEquals(optimizer.lastStep, found);
    assertEquals((await optimizer.stepAsync({ checkFinite: true })).clipCoefficients, null);
  }
});

const MOMENTUM = { lr: 1, momentum: 0.5 };

testOnBackends("until it is known, a first step may have been skipped", (backend) => {
  for (const written of [true, false]) {
    const { states, answers, w } = make();
    const optimizer = new SGD([w], { ...MOMENTUM, backend });
    optimizer.step({ maxNorm: 1 });
    optimizer.step({ maxNorm: 1 });
    const buffer = bufferOf(optimizer, w);
    assertStrictEquals(buffer, null); // asked, the device says that it has written nothing
    if (written) answers.written.add(w.data);
    optimizer.step();
    optimizer.step();
    assertEquals(states, [[1], [3], [1], [2]]);
  }
});

testOnBackends("what was written stays, and is later from then on", (backend) => {
  const { states, answers, device, w } = make();
  device.writtenSync = (buffers) => buffers.map(() => true);
  const optimizer = new SGD([w], { ...MOMENTUM, backend });
  optimizer.step({ maxNorm: 1 });
  const buffer = bufferOf(optimizer, w);
  optimizer.step({ maxNorm: 1 });
  assertStrictEquals(bufferOf(optimizer, w), buffer);
  assertEquals([buffer === null, answers.written.size, states], [false, 0, [[1], [2]]]);
});

testOnBackends("a step without measures ends the doubt, unless it has no momentum", (backend) => {
  const { states, w } = make();
  const optimizer = new SGD([w], { ...MOMENTUM, backend });
  optimizer.step({ maxNorm: 1 });
  optimizer.paramGroups[0].momentum = 0;
  optimizer.step();
  optimizer.paramGroups[0].momentum = 0.5;
  for (let i = 0; i < 2; i++) optimizer.step();
  assertEquals(states, [[1], [3], [3], [2]]);
});

testOnBackends(
  "other gradients do not end the doubt, and an asynchronous step does",
  async (backend) => {
    const { states, answers, w } = make();
    const grads = [w.grad!, make().w.grad!];
    const optimizer = new SGD([w], { ...MOMENTUM, backend });
    for (let i = 0; i < 3; i++) {
      optimizer.step({ maxNorm: 1 });
      w.grad = grads[0];
    }
    answers.report = SKIPPED;
    await optimizer.stepAsync({ maxNorm: 1 });
    answers.report = TAKEN;
    for (let i = 0; i < 2; i++) await optimizer.stepAsync({ maxNorm: 1 });
    assertEquals(states, [[1], [3], [3], [3], [3], [2]]);
  },
);

testOnBackends("a first step that was skipped is first again", async (backend) => {
  const { states, answers, w } = make();
  const optimizer = new SGD([w], { ...MOMENTUM, backend });
  answers.report = SKIPPED;
  for (let i = 0; i < 2; i++) await optimizer.stepAsync({ maxNorm: 1 });
  assertEquals([states, bufferOf(optimizer, w)], [[[1], [1]], null]);
});

function bufferOf(optimizer: SGD<DeviceTensor>, w: Parameter<DeviceTensor>) {
  return optimizer.state.get(w)!.momentumBuffer;
}

testOnBackends("gradients on a GPU are zeroed by its step", (backend) => {
  const { log, w, host } = make();
  new SGD<DeviceTensor>([host, w], { lr: 1, backend }).step({ zeroGrad: true });
  assertEquals([log, host], [["step 0 to 2 zeroGrad"], {
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
  assertEquals([log, host.data[0]], [["step 0 to 2 zeroGrad", "synchronize"], 0]);
});

testOnBackends("a step that a device ends keeps the momentum of what it has stepped", (backend) => {
  const { w, host, device } = make();
  const last = { data: new Float32Array([1]), grad: new Float32Array([1]) };
  const { step } = device;
  device.step = ({ from }) => {
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

testOnBackends(
  "nothing is added to gradients on a device, nor is a tensor of one added",
  (backend) => {
    const { w, host, tensor, log } = make();
    const mixed = new SGD<DeviceTensor>([host, w], { lr: 1, backend });
    assertThrows(
      () => mixed.step({ addGradients: [[new Float32Array([1]), null]] }),
      TypeError,
      'Cannot step with addGradients as grad of parameter 1 ("w") must be an array: it is on a GPU',
    );
    const optimizer = new SGD([host], { lr: 1, backend });
    assertThrows(
      () => optimizer.step({ addGradients: [[tensor(1) as unknown as Float32Array]] }),
      TypeError,
      "in list 0 of addGradients as it must be float32, like the gradient",
    );
    assertEquals([host.data, log], [new Float32Array([1]), []]);
  },
);

testOnBackends(
  "a step averages arrays beside tensors of a device, which may not skip it",
  (backend) => {
    const { w, host, log } = make();
    const averaged = { data: host.data, grad: host.grad as Float32Array | null };
    const optimizer = new SGD<DeviceTensor>([w, averaged], { lr: 1, backend });
    assertThrows(
      () => new WeightAverage(optimizer.paramGroups, { decay: 0.5, backend }),
      TypeError,
      'Cannot average data of parameter 0 ("w") as it must be an array: it is on a GPU',
    );
    const average = new WeightAverage([averaged], { decay: 0.5, backend });
    optimizer.step({ average });
    assertEquals([average.count, average.stateDict().averages[0].data[0]], [1, 0]);
    const steps = log.length;
    averaged.grad = null;
    assertThrows(
      () => optimizer.step({ average, maxNorm: 1 }),
      TypeError,
      "Cannot step with average as the host must know whether the step is skipped",
    );
    assertEquals([average.count, log.length], [1, steps]);
  },
);
