/** What the adapter refuses, in words. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import type { DescentOptimizerOptions } from "@descent/sgd/tfjs";
import { testOn } from "./libraries.ts";
import type { Tf } from "./libraries.ts";

type ErrorClass = new (message: string) => Error;

/** Options that are refused when an optimizer is made. */
const OPTIONS: readonly (readonly [object, ErrorClass, string])[] = [
  [{}, TypeError, "Cannot create the optimizer as lr is missing"],
  [{ lr: -1 }, RangeError, "Cannot set lr as it must be finite and >= 0: current value is -1"],
  [{ lr: 1, momentums: 1 }, TypeError, 'Cannot read option "momentums" as it does not exist'],
  [
    { lr: 1, memory: "views" },
    TypeError,
    'Cannot set memory as it must be "copy" or "view": current value is "views"',
  ],
  [
    { lr: 1, variables: 3 },
    TypeError,
    "Cannot use variables as it must be iterable: current value is 3",
  ],
  [
    { lr: 1, variables: [{}] },
    TypeError,
    "Cannot use variables as each must be a variable of tfjs: current value is an object",
  ],
  [
    { lr: 1, variables: [] },
    RangeError,
    "Cannot use variables as there must be one at least: there is none",
  ],
  [
    { lr: 1, stepOptions: 3 },
    TypeError,
    "Cannot set stepOptions as it must be an object: current value is 3",
  ],
  [{ lr: 1, stepOptions: { clip: 1 } }, TypeError, 'Cannot read option "clip"'],
  [{ lr: 1, stepOptions: { maxNorm: -1 } }, RangeError, "Cannot set maxNorm as it must be >= 0"],
  [
    { lr: 1, stepOptions: { zeroGrad: true } },
    TypeError,
    "Cannot set zeroGrad in stepOptions as tfjs computes new gradients for every step",
  ],
];

testOn("cpu", "options are checked when the optimizer is made", (tf) => {
  for (const [options, type, message] of OPTIONS) {
    assertThrows(
      () => new DescentOptimizer(tf, options as DescentOptimizerOptions),
      type,
      message,
    );
  }
  assertThrows(
    () => new DescentOptimizer({} as Tf, { lr: 1 }),
    TypeError,
    "Cannot create the optimizer as tf must be the module of tfjs",
  );
});

testOn("cpu", "gradients are refused that have no variable of float32", (tf) => {
  const optimizer = new DescentOptimizer(tf, { lr: 1 });
  const whole = tf.variable(tf.tensor1d([1], "int32"), true, "whole");
  const half = tf.variable(tf.tensor1d([1]), true, "half");
  const gradient = tf.tensor1d([1]);
  assertThrows(
    () => optimizer.applyGradients({ nobody: gradient }),
    RangeError,
    'Cannot apply the gradients as tfjs must have a variable of each name: it has none of name "nobody"',
  );
  assertThrows(
    () => optimizer.applyGradients(["half", "half"].map((name) => ({ name, tensor: gradient }))),
    RangeError,
    'Cannot apply the gradients as a variable must have one gradient: "half" has several',
  );
  assertThrows(
    () => optimizer.applyGradients([{ name: whole.name, tensor: gradient }]),
    TypeError,
    'Cannot use variable "whole" as it must be float32: current value is "int32"',
  );
  assertThrows(
    () => optimizer.applyGradients({ [half.name]: tf.tensor1d([1], "int32") }),
    TypeError,
    'Cannot use the gradient of "half" as it must be float32: current value is "int32"',
  );
  assertThrows(
    () => new DescentOptimizer(tf, { lr: 1, variables: [whole] }),
    TypeError,
    'Cannot use variable "whole" as it must be float32',
  );
  assertThrows(
    () => optimizer.applyGradients(3 as never),
    TypeError,
    "Cannot apply the gradients as they must be an object or an array: current value is 3",
  );
  assertEquals([optimizer.iterations, optimizer.sgd], [0, null]);
});

testOn("cpu", "gradients are refused that are not like their variables", (tf) => {
  const w = tf.variable(tf.ones([2, 3]), true, "like");
  const gone = tf.ones([2, 3]);
  gone.dispose();
  const optimizer = new DescentOptimizer(tf, { lr: 1 });
  const cases: [gradients: unknown, type: ErrorClass, message: string][] = [
    [
      { like: 3 },
      TypeError,
      'the gradient of "like" as it must be a tensor of tfjs: current value is 3',
    ],
    [{ like: gone }, Error, 'Cannot use the gradient of "like" as it has been disposed'],
    [
      { like: tf.ones([3, 2]) },
      RangeError,
      'Cannot use the gradient of "like" as its shape must be [2, 3], like that of the variable: current ' +
      "shape is [3, 2]",
    ],
    [{ like: tf.scalar(1) }, RangeError, "current shape is []"],
    [[null], TypeError, "Cannot apply the gradients as each must be an object { name, tensor }"],
  ];
  for (const [gradients, type, message] of cases) {
    assertThrows(() => optimizer.applyGradients(gradients as never), type, message);
  }
  assertEquals([optimizer.sgd, optimizer.iterations], [null, 0]);
  w.dispose();
  assertThrows(
    () => new DescentOptimizer(tf, { lr: 1, variables: [w] }),
    Error,
    'Cannot use variable "like" as it has been disposed',
  );
});

testOn("cpu", "options of steps are checked when they are used", (tf) => {
  const w = tf.variable(tf.tensor1d([1]), true, "stepped");
  const optimizer = new DescentOptimizer(tf, { lr: 1, variables: [w] });
  const gradient = tf.tensor1d([1]);
  const cases: [stepOptions: unknown, message: string][] = [
    [null, "Cannot set stepOptions as it must be an object: current value is null"],
    [{ zeroGrad: true }, "Cannot set zeroGrad in stepOptions as tfjs computes new gradients"],
    [{ clip: 1 }, 'Cannot read option "clip" as it does not exist'],
  ];
  for (const [stepOptions, message] of cases) {
    optimizer.stepOptions = stepOptions as never;
    assertThrows(() => optimizer.applyGradients({ stepped: gradient }), TypeError, message);
  }
  assertEquals([...w.dataSync(), ...gradient.dataSync()], [1, 1]);
});

testOn("cpu", "a disposed optimizer cannot be used", async (tf) => {
  const optimizer = new DescentOptimizer(tf, { lr: 1 });
  optimizer.dispose();
  const message = "as the optimizer has been disposed";
  assertThrows(() => optimizer.applyGradients({}), Error, message);
  await assertRejects(() => optimizer.getWeights(), Error, message);
  await assertRejects(() => optimizer.setWeights([]), Error, message);
});

testOn("cpu", "weights of other optimizers, and of other variables, are refused", async (tf) => {
  const [a, b, c] = ["one", "two", "three"].map((name) =>
    tf.variable(tf.tensor1d([1]), true, name)
  );
  const gradient = tf.tensor1d([1]);
  const peer = tf.train.momentum(0.1, 0.9);
  peer.applyGradients([{ name: a.name, tensor: gradient }]);
  const optimizer = new DescentOptimizer(tf, { lr: 1, momentum: 0.9 });
  await assertRejects(
    async () => await optimizer.setWeights(await peer.getWeights()),
    TypeError,
    "Cannot set the weights as they must be those of a DescentOptimizer",
  );
  optimizer.applyGradients({ [a.name]: gradient });
  const weights = await optimizer.getWeights();
  const other = new DescentOptimizer(tf, { lr: 1, momentum: 0.9, variables: [b, c] });
  await assertRejects(
    () => other.setWeights(weights),
    RangeError,
    "Cannot load the state as it must be of 2 variables, like the optimizer: current number is 1",
  );
});

/** tfjs with another backend object, as another version of it might have. */
function withBackend(tf: Tf, change: (backend: object) => object): Tf {
  const backend = change(tf.backend());
  return { ...tf, backend: () => backend } as Tf;
}

/** An object that has everything of another but some members. */
function without(object: object, ...names: string[]): object {
  return new Proxy(object, {
    get: (target, name) => {
      const value = names.includes(name as string) ? undefined : Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value; // as its own methods see it
    },
  });
}

const NO_VIEW =
  'Cannot step with memory "view" as this version of tfjs does not show the memory of its backend ';

for (
  const [name, change] of [
    ["has no typedArrayFromHeap", (it: object) => without(it, "typedArrayFromHeap")],
    ["has no dataIdMap", (it: object) => without(it, "dataIdMap")],
    ["has no wasm", (it: object) => without(it, "wasm")],
    ["keeps packed weights", (it: object) =>
      new Proxy(it, {
        get: (target, name) =>
          name === "wasm"
            ? { tfjs: { disposeData: () => {}, registerTensor: () => {} } }
            : Reflect.get(target, name),
      })],
  ] as const
) {
  testOn("wasm", `views are refused if the backend ${name}`, (tf) => {
    const a = tf.variable(tf.tensor1d([1]), true);
    const changed = withBackend(tf, change);
    const count = tf.memory().numTensors;
    const make = (memory: "copy" | "view") =>
      new DescentOptimizer(changed, { lr: 1, memory, variables: [a] });
    assertThrows(() => make("view"), Error, `${NO_VIEW}wasm: use memory "copy"`);
    assertEquals(tf.memory().numTensors, count);
    make("copy").applyGradients({ [a.name]: tf.tensor1d([1]) });
    assertEquals([...a.dataSync()], [0]);
  });
}

for (const name of ["tensorMap", "uploadToGPU", "endComputePassEncoder", "submitQueue"]) {
  testOn("webgpu", `views are refused if the backend has no ${name}`, async (tf) => {
    const a = tf.variable(tf.tensor1d([1]), true);
    const changed = withBackend(tf, (backend) => without(backend, name));
    const count = tf.memory().numTensors;
    const make = (memory: "copy" | "view") =>
      new DescentOptimizer(changed, { lr: 1, memory, variables: [a] });
    assertThrows(() => make("view"), Error, `${NO_VIEW}webgpu: use memory "copy"`);
    assertEquals(tf.memory().numTensors, count);
    make("copy").applyGradients({ [a.name]: tf.tensor1d([1]) });
    assertEquals([...await a.data()], [0]);
  });
}

testOn("cpu", 'memory "view" is refused on other backends', (tf) => {
  const a = tf.variable(tf.tensor1d([1]), true);
  const changed = { ...tf, getBackend: () => "webgl" } as Tf;
  assertThrows(
    () => new DescentOptimizer(changed, { lr: 1, memory: "view", variables: [a] }),
    Error,
    'Cannot step with memory "view" as the backend of tfjs must be cpu, wasm or webgpu: ' +
      "current backend is webgl",
  );
});

testOn("wasm", "views stay with the backend that they began on", async (tf) => {
  const a = tf.variable(tf.tensor1d([1]), true);
  const optimizer = new DescentOptimizer(tf, { lr: 1, memory: "view", variables: [a] });
  await tf.setBackend("cpu");
  assertThrows(
    () => optimizer.applyGradients({ [a.name]: tf.tensor1d([1]) }),
    Error,
    "Cannot step as the backend of tfjs must stay wasm, on which the optimizer began: " +
      "current backend is cpu",
  );
});
