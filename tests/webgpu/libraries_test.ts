/** Steps on the devices of other libraries, on tensors that they have made, without a copy. */

import { assert, assertEquals } from "@std/assert";
import { adoptDevice } from "@descent/sgd/webgpu";
import { assertBits } from "../gpu/reference.ts";
import type { Reference as Twin } from "../gpu/reference.ts";
import { stepTwin } from "./suite/reference.ts";

import { probe } from "./suite/traits.ts";
import { optimizerOf, values } from "./suite/world.ts";
import type { DeviceParameter } from "./suite/world.ts";

const RULE = { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 };

const STEPS = 6;

/** How Deno's message begins where the registry cannot be reached, or does not have a package. */
const NOT_FETCHED =
  /^(Failed (loading|caching) |Could not find npm package|npm package .* does not exist)/;

/**
 * Imports packages at run time.
 *
 * @returns Why they cannot be fetched, if they cannot; what else goes wrong is thrown.
 */
async function fetchAll<Module>(...names: string[]): Promise<Module | string> {
  try {
    const modules = await Promise.all(names.map((name) => import(`npm:${name}`)));
    return modules[0] as Module;
  } catch (error) {
    const text = String((error as Error).message);
    if (!NOT_FETCHED.test(text)) throw error;
    return `${names[0]} cannot be fetched: ${text.split("\n")[0]}`;
  }
}

/** What the test uses of jax-js; a method consumes its arrays, and `ref` keeps them. */
interface JaxArray {
  readonly ref: JaxArray;
  mul(other: JaxArray): JaxArray;
  sub(other: JaxArray): JaxArray;
  sum(): JaxArray;
  data(): Promise<Float32Array>;
  dispose(): void;
  gpuBufferSync(): GPUBuffer;
}

interface Jax {
  init(device: string): Promise<string[]>;
  defaultDevice(device: string): void;
  getWebGPUDevice(): GPUDevice;
  grad(f: (w: JaxArray) => JaxArray): (w: JaxArray) => JaxArray;
  numpy: {
    array(values: Float32Array): JaxArray;
    square(x: JaxArray): JaxArray;
  };
}

/** What the test uses of TensorFlow.js. */
interface TfTensor {
  mul(other: TfTensor): TfTensor;
  sub(other: TfTensor): TfTensor;
  square(): TfTensor;
  sum(): TfTensor;
  data(): Promise<Float32Array>;
  dataToGPU(): { buffer: GPUBuffer; tensorRef: { dispose(): void } };
}

interface Tf {
  setBackend(name: string): Promise<boolean>;
  backend(): { device: GPUDevice };
  tensor(source: object, shape: number[], dtype: "float32"): TfTensor;
  grad(f: (w: TfTensor) => TfTensor): (w: TfTensor) => TfTensor;
}

const LENGTH = 300;

const adapter = await navigator.gpu?.requestAdapter() ?? null;
const jax = adapter === null
  ? "WebGPU finds no adapter"
  : await fetchAll<Jax>("@jax-js/jax@0.1.25");
const tf = adapter === null
  ? "WebGPU finds no adapter"
  : await fetchAll<Tf>("@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-webgpu@4.22.0");

/** A test with a library that may be missing. */
function test<Module>(name: string, module: Module | string, body: (m: Module) => Promise<void>) {
  const ignore = typeof module === "string";
  Deno.test({
    name: ignore ? `${name} (skipped: ${module})` : name,
    ignore,
    sanitizeOps: false, // the libraries keep devices open
    sanitizeResources: false,
    fn: () => body(module as Module),
  });
}

/**
 * Descends on `sum((c * (w - target))^2)`, whose gradients a library computes on its device.
 *
 * @param buffer Where the library has the parameter, which begins with zeros.
 * @param gradient Queues the gradient, and lends the buffer that it is in.
 * @returns What the parameter has to be, bit for bit, with these gradients.
 */
async function descend(
  device: GPUDevice,
  buffer: GPUBuffer,
  gradient: () => { buffer: GPUBuffer; free: () => void },
): Promise<Float32Array> {
  const gpu = adoptDevice(device);
  const param: DeviceParameter = {
    data: gpu.tensor(buffer, { length: LENGTH }),
    grad: null,
  };
  const optimizer = optimizerOf([param], RULE);
  const traits = await probe(device);
  const twin: Twin = {
    data: new Float32Array(LENGTH),
    grad: new Float32Array(LENGTH),
    buffer: null,
  };
  for (let n = 0; n < STEPS; n++) {
    const { buffer, free } = gradient();
    param.grad = gpu.tensor(buffer, { length: LENGTH });
    optimizer.step();
    twin.grad.set(await param.grad.read());
    stepTwin(twin, RULE, traits);
    free();
  }
  assertEquals(optimizer.backend, "webgpu");
  assert(twin.grad.some((x) => x !== 0));
  return twin.data;
}

test("jax-js: SGD steps its arrays on its device, without a copy", jax, async (jax) => {
  assert((await jax.init("webgpu")).includes("webgpu"));
  jax.defaultDevice("webgpu");
  const { numpy: np } = jax;
  const [target, c] = [np.array(values(LENGTH, 3)), np.array(values(LENGTH, 5))];
  const w = np.array(new Float32Array(LENGTH));
  const gradOf = jax.grad((w) => np.square(w.sub(target.ref).mul(c.ref)).sum());
  const expected = await descend(jax.getWebGPUDevice(), w.ref.gpuBufferSync(), () => {
    const grad = gradOf(w.ref);
    return { buffer: grad.ref.gpuBufferSync(), free: () => grad.dispose() };
  });
  assertBits(await w.ref.data(), expected, "what jax-js reads");
  w.dispose();
});

test("tfjs: SGD steps its tensors on its device, without a copy of them", tf, async (tf) => {
  assert(await tf.setBackend("webgpu"));
  const { device } = tf.backend();
  const buffer = device.createBuffer({ size: 4 * LENGTH, usage: 4 | 8 | 128 });
  const w = tf.tensor({ buffer, zeroCopy: true }, [LENGTH], "float32");
  const host = (seed: number) => tf.tensor(values(LENGTH, seed), [LENGTH], "float32");
  const [target, c] = [host(3), host(5)];
  const gradOf = tf.grad((w) => w.sub(target).mul(c).square().sum());
  const expected = await descend(device, buffer, () => {
    const { buffer, tensorRef } = gradOf(w).dataToGPU();
    return { buffer, free: () => tensorRef.dispose() };
  });
  assertBits(await w.data(), expected, "what tfjs reads");
});
