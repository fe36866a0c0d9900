/**
 * Parameters, gradients and momentum in buffers of a `GPUDevice`: your own, or one that another library
 * computes on. It runs wherever WebGPU does, in browsers too, and needs no native library.
 *
 * A step is submitted to the queue of the device, behind your own work, and returns at once; only
 * reading waits.
 *
 * | | |
 * | --- | --- |
 * | {@linkcode adoptDevice} | lets optimizers step on a device |
 * | {@linkcode AdoptedGpu.tensor} | a {@linkcode WebGpuTensor}: a buffer of yours or a range of it, uploaded values, or zeros |
 * | {@linkcode WebGpuTensor.read} | downloads the values |
 *
 * Guide: [WebGPU](https://github.com/descent/sgd/blob/main/docs/webgpu.md).
 *
 * @example A step on a device
 * ```ts
 * import { SGD } from "@descent/sgd";
 * import { adoptDevice } from "@descent/sgd/webgpu";
 *
 * const adapter = await navigator.gpu.requestAdapter();
 * if (adapter !== null) { // null where there is no GPU
 *   const device = await adapter.requestDevice();
 *   const gpu = adoptDevice(device);
 *   const w = gpu.tensor(new Float32Array([1, 2, 3]));
 *   const g = gpu.tensor(new Float32Array([1, 1, 1]));
 *   const optimizer = new SGD([{ data: w, grad: g }], { lr: 0.5 });
 *   optimizer.step(); // queued; returns at once
 *   console.log(await w.read()); // Float32Array(3) [ 0.5, 1.5, 2.5 ]
 *   device.destroy();
 * }
 * ```
 *
 * @module
 */

export { adoptDevice } from "./src/webgpu/adopt.ts";
export type { AdoptedGpu, TensorRange } from "./src/webgpu/adopt.ts";
export type { WebGpuBuffer, WebGpuDevice } from "./src/webgpu/api.ts";
export type { WebGpuTensor } from "./src/webgpu/tensor.ts";
