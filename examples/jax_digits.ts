/**
 * Trains on handwritten digits: jax-js computes loss and gradients, Descent takes the steps.
 *
 *     deno run -A examples/jax_digits.ts [--webgpu] [CHECKPOINT]
 *
 * On WebAssembly the parameters are arrays. With --webgpu they stay where jax-js has them on its device, and
 * Descent steps them there, without a copy. The run is saved after every epoch, and resumed from its file.
 */

import { getWebGPUDevice, jit, nn, numpy as np, valueAndGrad } from "@jax-js/jax";
import { loadState, saveState, SGD } from "@descent/sgd";
import { cosineAnnealingLR, LRScheduler } from "@descent/sgd/schedules";
import { adoptDevice, type WebGpuTensor } from "@descent/sgd/webgpu";
import { createWeights, readBatches, startJax, toArray, valueOf } from "./digits/jax.ts";

const EPOCHS = 10;
const path = Deno.args.find((arg) => !arg.startsWith("--")) ?? "jax_digits.safetensors";
const isOnGpu = Deno.args.includes("--webgpu");
await startJax(isOnGpu ? "webgpu" : "wasm");

// Each use of an array of jax-js consumes it; `ref` keeps it.
function lossOf([w1, b1, w2, b2]: np.Array[], x: np.Array, y: np.Array): np.Array {
  const scores = np.dot(nn.relu(np.dot(x, w1).add(b1)), w2).add(b2);
  return nn.logSoftmax(scores).mul(y).sum(-1).mean().neg();
}
const lossAndGrad = jit(valueAndGrad(lossOf));

const batches = await readBatches(32);
const weights = createWeights();
const saved = await Deno.stat(path).then(() => loadState(path), () => null);
if (saved) weights.forEach((w, i) => w.data.set(saved.parameters![i].data as Float32Array));

const gpu = isOnGpu ? adoptDevice(getWebGPUDevice()) : null;
const arrays = gpu && weights.map(toArray); // on the device; its tensors are in the same buffers
const tensorOf = (a: np.Array) => gpu!.tensor(a.ref.gpuBufferSync(), { length: a.size });
type Data = Float32Array | WebGpuTensor;
const params = weights.map(({ name, shape, data }, i) => {
  return { name, shape, data: arrays ? tensorOf(arrays[i]) : data, grad: null as Data | null };
});
const optimizer = new SGD<Data>(params, { lr: 0.1, momentum: 0.9, weightDecay: 1e-4 });
const scheduler = new LRScheduler(optimizer, cosineAnnealingLR({ tMax: EPOCHS }));
if (saved) optimizer.loadStateDict(saved);
if (saved) scheduler.loadStateDict(saved.lr_scheduler!);
const inputs = () => arrays?.map((array) => array.ref) ?? weights.map(toArray);

for (let epoch = scheduler.lastEpoch + 1; epoch <= EPOCHS; epoch++) {
  let total = np.array(0);
  for (const { x, y, share } of batches.train(epoch)) {
    const [loss, grads] = lossAndGrad(inputs(), x, y);
    grads.forEach((grad, i) => { // `await grad.data()` takes over ten times as long on WebAssembly
      params[i].grad = gpu ? tensorOf(grad) : grad.dataSync() as Float32Array;
    });
    optimizer.step({ maxNorm: 5 });
    if (gpu) grads.forEach((grad) => grad.dispose());
    total = total.add(loss.mul(share)); // nothing waits for the value before the epoch ends
  }
  scheduler.step();
  const { x, y } = batches.test();
  const [loss, test] = [await valueOf(total), await valueOf(lossOf(inputs(), x, y))];
  console.log(`epoch ${epoch}/${EPOCHS}  loss ${loss.toFixed(6)}  test ${test.toFixed(6)}`);
  await saveState(path, optimizer, { parameters: true, scheduler });
}
