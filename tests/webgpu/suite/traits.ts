/** Finds out how a device of WebGPU computes, as far as WGSL leaves it open. */

import { habitsOf, OPERANDS, PROBE } from "../../gpu/reference.ts";
import type { Habits } from "../../gpu/reference.ts";

/** Bytes of the results. */
const BYTES = 12;

/** Finds out how a device computes. */
export async function probe(device: GPUDevice): Promise<Habits> {
  const operands = device.createBuffer({ size: 4 * OPERANDS.length, usage: 8 | 128 });
  const results = device.createBuffer({ size: BYTES, usage: 4 | 128 });
  const copy = device.createBuffer({ size: BYTES, usage: 1 | 8 });
  device.queue.writeBuffer(operands, 0, Float32Array.from(OPERANDS));
  const compute = { module: device.createShaderModule({ code: PROBE }), entryPoint: "main" };
  const pipeline = device.createComputePipeline({ layout: "auto", compute });
  const bindGroup = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [operands, results].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, bindGroup);
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(results, 0, copy, 0, BYTES);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(1);
  return habitsOf(new Float32Array(copy.getMappedRange().slice(0)));
}
