/**
 * Times steps on a device of WebGPU: how long the device takes, next to copies within it, and what a queued
 * step costs the host, next to an empty dispatch by hand.
 */

import { SGD } from "@descent/sgd";
import { adoptDevice } from "@descent/sgd/webgpu";
import type { WebGpuTensor } from "@descent/sgd/webgpu";
import { formatTable, formatTime } from "./text.ts";
import { sizeOf } from "./workloads.ts";
import type { Shape, Workload } from "./workloads.ts";

type Tensor = WebGpuTensor<"float32", GPUBuffer>;

/** Elements of each tensor: what the device computes is to be next to nothing. */
const LENGTH = 10;

/** Steps or copies in the queue at a time: so many that the host does not matter. */
const QUEUED = 5;

/** Calls of each kind that are timed on the host. */
const HOST_ROUNDS = 400;

/** Rounds that are not timed. */
const WARM_UP = 20;

const SHADER = `
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(64) fn main() { if arrayLength(&x) == 0u { x[0] = 0.0; } }`;

/** Bytes that a step moves per float32 element: reads of three, writes of two. */
const STEP_BYTES = 20;

/** Bytes of a copy, which reads and writes as many: what a buffer of any device can have. */
const COPY_BYTES = 2 ** 26;

/** Prints the tables, or why there are none. */
export async function reportWebGpu(
  workloads: readonly Workload[],
  rounds: number,
): Promise<void> {
  const adapter = await navigator.gpu?.requestAdapter() ?? null;
  if (adapter === null) return console.log("\nWebGPU was not timed: it finds no adapter");
  const device = await adapter.requestDevice();
  const { description, vendor } = adapter.info;
  const name = `WebGPU (${description || vendor})`;
  console.log(`\nSteps on ${name}, by the clock of the host, least of ${rounds}:`);
  const rows: string[][] = [];
  for (const { name, shapes, elements } of workloads) {
    const [step, copy] = await timeDevice(device, shapes, rounds);
    const rates = [STEP_BYTES * elements / step, 2 * COPY_BYTES / copy];
    const share = `${(100 * rates[0] / rates[1]).toFixed(0)} %`;
    rows.push([name, formatTime(step), ...rates.map((rate) => rate.toFixed(1)), share]);
  }
  console.log(formatTable(["workload", "step", "GB/s", "copy GB/s", "share of it"], rows));
  await reportHost(device, name, HOST_ROUNDS);
  device.destroy();
}

async function reportHost(device: GPUDevice, name: string, rounds: number): Promise<void> {
  const calls = {
    "empty dispatch, by hand": emptyDispatch(device),
    "2 tensors": step(device, 2, false),
    "161 tensors in shared buffers": step(device, 161, true),
    "161 tensors in 322 buffers": step(device, 161, false),
    "161 in shared buffers, clipped": step(device, 161, true, { maxNorm: 1 }),
  };
  const times = await timeInTurn(device, calls, rounds);
  const [[, empty]] = times;
  console.log(`\nWhat a queued step costs the host on ${name}, least and median:`);
  console.log(formatTable(
    ["call", "least", "median", "empty dispatches"],
    times.map(([name, [least, median]]) => [
      ...[name, formatTime(least), formatTime(median)],
      `${(least / empty[0]).toFixed(1)} / ${(median / empty[1]).toFixed(1)}`,
    ]),
  ));
}

/** Nanoseconds of a step of these shapes, and of a copy, timed in turn. */
async function timeDevice(
  device: GPUDevice,
  shapes: readonly Shape[],
  rounds: number,
): Promise<[step: number, copy: number]> {
  const gpu = adoptDevice(device);
  const params = shapes.map((shape) => ({
    data: gpu.tensor(sizeOf(shape)),
    grad: gpu.tensor(sizeOf(shape)),
  }));
  const optimizer = new SGD<Tensor>(params, { lr: 1e-3, momentum: 0.9, nesterov: true });
  const [from, to] = [4, 8].map((usage) => device.createBuffer({ size: COPY_BYTES, usage }));
  const copy = () => {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(from, 0, to, 0, COPY_BYTES);
    device.queue.submit([encoder.finish()]);
  };
  const least = [Infinity, Infinity];
  for (let round = 0; round < rounds + 2; round++) {
    for (const [i, call] of [() => optimizer.step(), copy].entries()) {
      const start = performance.now();
      for (let n = 0; n < QUEUED; n++) call();
      await device.queue.onSubmittedWorkDone();
      const ns = (performance.now() - start) * 1e6 / QUEUED;
      if (round >= 2) least[i] = Math.min(least[i], ns);
    }
  }
  for (const { data, grad } of params) [data, grad].forEach((each) => each[Symbol.dispose]());
  [from, to].forEach((buffer) => buffer.destroy());
  return [least[0], least[1]];
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
