/** Where the cases of the suite run: in Deno and in a browser. */

import { SGD } from "@descent/sgd";
import type { GroupOptions, Parameter } from "@descent/sgd";
import { adoptDevice } from "@descent/sgd/webgpu";
import type { GpuDtype } from "@descent/sgd/gpu";
import type { AdoptedGpu, WebGpuTensor } from "@descent/sgd/webgpu";
import type { Habits } from "../../gpu/reference.ts";

/** A case: it throws if something is wrong. */
export interface Case {
  readonly name: string;
  /** A feature without which it cannot run. */
  readonly feature?: GPUFeatureName;
  /** Whether the software driver of a browser would take a minute. */
  readonly isSlow?: boolean;
  run(world: World): void | Promise<void>;
}

/** What a case runs on. */
export interface World {
  /** How its devices compute. */
  readonly traits: Habits;
  /** A device of the case's own. */
  open(): Promise<GPUDevice>;
}

/** A parameter on a device. */
export type DeviceParameter<D extends GpuDtype = "float32"> = Parameter<WebGpuTensor<D, GPUBuffer>>;

export type Gpu = AdoptedGpu<GPUBuffer>;

/** Opens a device of a case, on an adapter of its own: browsers give out one device for each. */
export async function openDevice(): Promise<GPUDevice> {
  const adapter = (await navigator.gpu.requestAdapter())!;
  const requiredFeatures = (["shader-f16"] as const).filter((name) => adapter.features.has(name));
  return await adapter.requestDevice({ requiredFeatures });
}

/** A device that is adopted. */
export async function openGpu(world: World): Promise<{ device: GPUDevice; gpu: Gpu }> {
  const device = await world.open();
  return { device, gpu: adoptDevice(device) };
}

/** All that a buffer of a tensor can need. */
export const ALL_USAGES = 4 | 8 | 128;

/** A buffer of the case's own. */
export function makeBuffer(device: GPUDevice, bytes: number, usage = ALL_USAGES): GPUBuffer {
  return device.createBuffer({ size: bytes, usage });
}

/** Deterministic values of both signs. */
export function values(length: number, seed = 1): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, (_, i) => Math.sin(i * 1.7 + seed * 0.37) * (1 + i % 7));
}

/** An optimizer that does not look for a native library. */
export function optimizerOf<D extends GpuDtype = "float32">(
  params: readonly DeviceParameter<D>[],
  options: GroupOptions,
): SGD<WebGpuTensor<D, GPUBuffer>> {
  return new SGD<WebGpuTensor<D, GPUBuffer>>(params, { lr: 0.1, ...options, backend: "js" });
}

/** The momentum buffer of a parameter; null before it has one. */
export function bufferOf<D extends GpuDtype>(
  optimizer: SGD<WebGpuTensor<D, GPUBuffer>>,
  param: DeviceParameter<D>,
): WebGpuTensor<D, GPUBuffer> | null {
  return optimizer.state.get(param)!.momentumBuffer as WebGpuTensor<D, GPUBuffer> | null;
}
