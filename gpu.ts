/**
 * Parameters, gradients and momentum on a GPU (Vulkan, Metal or DX12, through wgpu).
 *
 * Your own shaders write the gradients. A step is queued behind them and returns at once; only
 * reading a tensor waits.
 *
 * | | |
 * | --- | --- |
 * | {@linkcode openGpu} | opens a GPU; needs the native library |
 * | {@linkcode Gpu.tensor} | a {@linkcode GpuTensor}: uploaded values, or zeros |
 * | {@linkcode Gpu.kernel} | a {@linkcode GpuKernel}: a WGSL shader of yours |
 * | {@linkcode GpuTensor.read} | downloads the values |
 * | {@linkcode Gpu.info} | adapter, limits, and whether float16 is available |
 * | {@linkcode GpuUnavailableError} | thrown where there is no GPU; names the adapters it saw |
 *
 * Guide: [on the GPU](https://github.com/descent/sgd/blob/main/docs/gpu.md).
 *
 * @example A step on a GPU
 * ```ts
 * import { SGD } from "@descent/sgd";
 * import { GpuUnavailableError, openGpu } from "@descent/sgd/gpu";
 *
 * try {
 *   using gpu = openGpu();
 *   const w = gpu.tensor(new Float32Array([1, 2, 3]));
 *   const optimizer = new SGD([{ data: w, grad: gpu.tensor(new Float32Array([1, 1, 1])) }], {
 *     lr: 0.5,
 *   });
 *   optimizer.step(); // queued; returns at once
 *   console.log(await w.read()); // Float32Array(3) [ 0.5, 1.5, 2.5 ]
 * } catch (error) {
 *   if (!(error instanceof GpuUnavailableError)) throw error;
 *   console.log(error.message);
 * }
 * ```
 *
 * @module
 */

export { openGpu } from "./src/gpu/gpu.ts";
export type { Gpu, GpuMemory, GpuOptions } from "./src/gpu/gpu.ts";
export { GpuUnavailableError } from "./src/gpu/device.ts";
export type { GpuArrays, GpuDtype } from "./src/core/gpu_dtype.ts";
export type { GpuInfo, GpuLimits } from "./src/gpu/info.ts";
export type { GpuKernel, GpuView } from "./src/gpu/kernel.ts";
export type { GpuTensor } from "./src/gpu/tensor.ts";
