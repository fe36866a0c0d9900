/** A device of WebGPU, for the network: in Deno or in a browser. */

import { adoptDevice } from "@descent/sgd/webgpu";
import type { WebGpuTensor } from "@descent/sgd/webgpu";
import { UsageError } from "../options.ts";
import type { Compute, View } from "./compute.ts";

type Tensor = WebGpuTensor<"float32", GPUBuffer>;

/** Lets the network compute on it. */
export function onWebGpu(device: GPUDevice): Compute<Tensor> {
  const gpu = adoptDevice(device);
  return {
    offsetAlignment: device.limits.minStorageBufferOffsetAlignment,
    tensor: (content) => typeof content === "number" ? gpu.tensor(content) : gpu.tensor(content),
    kernel(code) {
      const module = device.createShaderModule({ code });
      const compute = { module, entryPoint: "main" };
      const pipeline = device.createComputePipeline({ layout: "auto", compute });
      const layout = pipeline.getBindGroupLayout(0);
      return (tensors, workgroups) => {
        const entries = tensors.map((tensor, binding) => ({ binding, resource: bind(tensor) }));
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
        pass.dispatchWorkgroups(workgroups);
        pass.end();
        device.queue.submit([encoder.finish()]);
      };
    },
  };
}

function bind(tensor: Tensor | View<Tensor>): GPUBufferBinding {
  const { tensor: whole, offset = 0, length } = "tensor" in tensor
    ? tensor
    : { tensor, length: tensor.length };
  return { buffer: whole.buffer, offset: 4 * (whole.offset + offset), size: 4 * length };
}

/** A device of WebGPU, and the name of its adapter. */
export interface OpenDevice {
  readonly device: GPUDevice;
  readonly name: string;
  readonly compute: Compute<Tensor>;
}

/**
 * Opens the device that WebGPU prefers.
 *
 * @throws {UsageError} If there is none.
 */
export async function openWebGpu(): Promise<OpenDevice> {
  const adapter = await navigator.gpu?.requestAdapter() ?? null;
  if (adapter === null) throw new UsageError("Cannot train as WebGPU finds no adapter");
  const device = await adapter.requestDevice();
  const { description, vendor, architecture } = adapter.info;
  const name = description || `${vendor} ${architecture}`.trim() || "a GPU";
  return { device, name, compute: onWebGpu(device) };
}
