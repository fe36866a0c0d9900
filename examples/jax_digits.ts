/**
 * Trains on handwritten digits: jax-js computes loss and gradients, Descent takes the steps.
 *
 *     deno run -A examples/jax_digits.ts [--webgpu] [CHECKPOINT]
 *
 * On WebAssembly the parameters are arrays. With --webgpu they stay where jax-js has them on its device, and
 * Descent steps them there, without a copy. The run is saved after every epoch, and resumed from its file.
 */

import {
  defaultDevice,
  getWebGPUDevice,
  init,
  jit,
  nn,
  numpy as np,
  valueAndGrad,
} from "@jax-js/jax";
import { loadState, saveState, SGD } from "@descent/sgd";
import { cosineAnnealingLR, LRScheduler } from "@descent/sgd/schedules";
import { adoptDevice, type WebGpuTensor } from "@descent/sgd/webgpu";
import { CLASSES, type Dataset, PIXELS, readDigits, split } from "./digits/dataset.ts";
import { Network } from "./digits/network.ts";
import { openStream, permutation, STREAM } from "./digits/random.ts";

const [EPOCHS, BATCH, SEED] = [10, 32, 1];
const device = Deno.args.includes("--webgpu") ? "webgpu" : "wasm";
const path = Deno.args.find((arg) => !arg.startsWith("--")) ?? "jax_digits.safetensors";
if (!(await init(device)).includes(device)) throw new Error(`jax-js cannot use ${device} here`);
defaultDevice(device);

// Each use of an array of jax-js consumes it; `ref` keeps it.
function lossOf([w1, b1, w2, b2]: np.Array[], x: np.Array, y: np.Array): np.Array {
  const scores = np.dot(nn.relu(np.dot(x, w1).add(b1)), w2).add(b2);
  return nn.logSoftmax(scores).mul(y).sum(-1).mean().neg();
}
const lossAndGrad = jit(valueAndGrad(lossOf));

const { train, test } = split(await readDigits(), openStream(SEED, STREAM.split));
const sizes = { inputs: PIXELS, hidden: 64, outputs: CLASSES };
const weights = new Network(sizes, openStream(SEED, STREAM.weights)).parameters; // those of the demo
const saved = await Deno.stat(path).then(() => loadState(path), () => null);
weights.forEach(({ data }, i) => saved && data.set(saved.parameters![i].data as Float32Array));

const gpu = device === "webgpu" ? adoptDevice(getWebGPUDevice()) : null;
const arrays = gpu && weights.map(({ data, shape }) => toArray(data, shape));
const tensorOf = (array: np.Array) =>
  gpu!.tensor(array.ref.gpuBufferSync(), { length: array.size });
type Data = Float32Array | WebGpuTensor;
const params = weights.map(({ name, shape, data }, i) => {
  return { name, shape, data: arrays ? tensorOf(arrays[i]) : data, grad: null as Data | null };
});
const optimizer = new SGD<Data>(params, { lr: 0.1, momentum: 0.9, weightDecay: 1e-4 });
const scheduler = new LRScheduler(optimizer, cosineAnnealingLR({ tMax: EPOCHS }));
if (saved) optimizer.loadStateDict(saved);
if (saved) scheduler.loadStateDict(saved.lr_scheduler!);

/** The parameters as jax-js takes them: its own arrays, or copies of ours. */
const inputs = () =>
  arrays?.map((array) => array.ref) ?? weights.map((w) => toArray(w.data, w.shape));

for (let epoch = scheduler.lastEpoch + 1; epoch <= EPOCHS; epoch++) {
  const order = permutation(openStream(SEED, STREAM.epoch(epoch)), train.length);
  let total = np.array(0);
  for (let from = 0; from < order.length; from += BATCH) {
    const rows = order.subarray(from, from + BATCH);
    const [loss, grads] = lossAndGrad(inputs(), ...batchOf(train, rows));
    grads.forEach((grad, i) => params[i].grad = gpu ? tensorOf(grad) : dataOf(grad));
    optimizer.step({ maxNorm: 5 });
    if (gpu) grads.forEach((grad) => grad.dispose());
    total = total.add(loss.mul(rows.length)); // nothing waits for the value before the epoch ends
  }
  scheduler.step();
  const testLoss = lossOf(inputs(), ...batchOf(test, Uint32Array.from(test.labels.keys())));
  const losses = [await numberOf(total) / train.length, await numberOf(testLoss)];
  console.log(
    `epoch ${epoch}/${EPOCHS}  loss ${losses[0].toFixed(6)}  test ${losses[1].toFixed(6)}`,
  );
  await saveState(path, optimizer, { parameters: true, scheduler });
}

/** The pixels of some images, [images, 64], and their digits as ones among zeros, [images, 10]. */
function batchOf({ images, labels }: Dataset, rows: Uint32Array): [x: np.Array, y: np.Array] {
  const x = new Float32Array(rows.length * PIXELS);
  const y = new Float32Array(rows.length * CLASSES);
  rows.forEach((row, i) => {
    x.set(images.subarray(row * PIXELS, (row + 1) * PIXELS), i * PIXELS);
    y[i * CLASSES + labels[row]] = 1;
  });
  return [toArray(x, [rows.length, PIXELS]), toArray(y, [rows.length, CLASSES])];
}

/** A gradient as an array. `await grad.data()` takes more than ten times as long on WebAssembly in Deno. */
function dataOf(grad: np.Array): Float32Array {
  return grad.dataSync() as Float32Array;
}

/** A number, for which nobody has to block on a GPU. */
async function numberOf(array: np.Array): Promise<number> {
  return (gpu ? await array.data() : array.dataSync())[0];
}

function toArray(data: Float32Array, shape: readonly number[]): np.Array {
  return np.array(data as Float32Array<ArrayBuffer>).reshape([...shape]);
}
