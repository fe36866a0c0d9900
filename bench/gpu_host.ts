/** Times what a queued step costs the host on a device of WebGPU, next to an empty dispatch by hand. */

import { SGD } from "@descent/sgd";
import { adoptDevice } from "@descent/sgd/webgpu";
import type { WebGpuTensor } from "@descent/sgd/webgpu";
import { formatTable, formatTime } from "./text.ts";

type Tensor = WebGpuTensor<"float32", GPUBuffer>;

/** Elements of each tensor: what the device computes is to be next to nothing. */
const LENGTH = 10;

/** Rounds that are not timed. */
const WARM_UP = 20;

const SHADER = `
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(64) fn main() { if arrayLength(&x) == 0u { x[0] = 0.0; } }`;

/** Prints the table, or why there is none. */
export async function reportWebGpu(rounds: number): Promise<void> {
  const adapter = await navigator.gpu?.requestAdapter() ?? null;
  if (adapter === null) return console.log("\nWebGPU was not timed: it finds no adapter");
  const device = await adapter.requestDevice();
  const { description, vendor } = adapter.info;
  const calls = {
    "empty dispatch, by hand": emptyDispatch(device),
    "2 tensors": step(device, 2, false),
    "161 tensors in shared buffers": step(device, 161, true),
    "161 tensors in 322 buffers": step(device, 161, false),
    "161 in shared buffers, clipped": step(device, 161, true, { maxNorm: 1 }),
  };
  const times = await timeInTurn(device, calls, rounds);
  const [[, empty]] = times;
  console.log(
    `\nWhat a queued step costs the host on WebGPU (${description || vendor}), least and median:`,
  );
  console.log(formatTable(
    ["call", "least", "median", "empty dispatches"],
    times.map(([name, [least, median]]) => [
      ...[name, formatTime(least), formatTime(median)],
      `${(least / empty[0]).toFixed(1)} / ${(median / empty[1]).toFixed(1)}`,
    ]),
  ));
  device.destroy();
}

function emptyDispatch(device: GPUDevice): () => void {
  const module = device.createShaderModule({ code: SHADER });
  const compute = { module, entryPoint: "main" };
  const pipeline = device.createComputePipeline({ layout: "auto", compute });
  const buffer = device.createBuffer({ size: 16, usage: 128 });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer } }],
  });
  return () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(1);
    pass.end();
    device.queue.submit([encoder.finish()]);
  };
}

function step(
  device: GPUDevice,
  count: number,
  isShared: boolean,
  options?: { maxNorm: number },
): () => void {
  const gpu = adoptDevice(device);
  const make = (): Tensor[] => {
    if (!isShared) return Array.from({ length: count }, () => gpu.tensor(LENGTH));
    const buffer = device.createBuffer({ size: 4 * LENGTH * count, usage: 128 });
    return Array.from({ length: count }, (_, i) => {
      return gpu.tensor(buffer, { offset: i * LENGTH, length: LENGTH });
    });
  };
  const [datas, grads] = [make(), make()];
  const params = datas.map((data, i) => ({ data, grad: grads[i] }));
  const optimizer = new SGD<Tensor>(params, { lr: 1e-3, momentum: 0.9, nesterov: true });
  return () => optimizer.step(options);
}

/** The least and the median of each call, in nanoseconds. The calls take turns, and find the queue empty. */
async function timeInTurn(
  device: GPUDevice,
  calls: Readonly<Record<string, () => void>>,
  rounds: number,
): Promise<[name: string, times: [least: number, median: number]][]> {
  const times = Object.entries(calls).map(([name, call]) => ({ name, call, list: [] as number[] }));
  for (let round = 0; round < rounds + WARM_UP; round++) {
    for (const { call, list } of times) {
      const start = performance.now();
      call();
      if (round >= WARM_UP) list.push((performance.now() - start) * 1e6);
      await device.queue.onSubmittedWorkDone();
    }
  }
  return times.map(({ name, list }) => {
    list.sort((a, b) => a - b);
    return [name, [list[0], list[list.length >> 1]]];
  });
}
