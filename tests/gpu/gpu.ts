/** Opens GPUs for tests; where there is none, the tests are reported as skipped, with the reason. */

import { GpuUnavailableError, openGpu } from "@descent/sgd/gpu";
import type { Gpu } from "@descent/sgd/gpu";
import { openTuned } from "../../src/gpu/gpu.ts";
import type { Tuning } from "../../src/gpu/gpu.ts";

/** Why there is no GPU, or undefined if there is one. Any other failure is an error. */
export const absence: string | undefined = tryOpen();

function tryOpen(): string | undefined {
  try {
    openGpu()[Symbol.dispose]();
    return undefined;
  } catch (error) {
    if (error instanceof GpuUnavailableError) return error.message;
    throw error;
  }
}

/** A test on a GPU of its own, with sizes of its own choice. */
export function gpuTest(
  name: string,
  body: (gpu: Gpu) => void | Promise<void>,
  tuning: Tuning = {},
): void {
  const ignore = absence !== undefined;
  Deno.test({
    name: ignore ? `gpu: ${name} (skipped: ${absence})` : `gpu: ${name}`,
    ignore,
    async fn() {
      using gpu = openTuned({}, tuning);
      await body(gpu);
    },
  });
}

/** Blocks of 256 bytes and chunks of 4 elements: every tensor is cut, and into many pieces. */
export const TINY: Tuning = { maxBlockBytes: 256, chunkElements: 4 };

/** Deterministic values of both signs. */
export function values(length: number, seed = 1): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, (_, i) => ((i * 37 + seed * 101) % 211 - 105) / 64);
}

/** A shader over two tensors: `b[i] = a[i] * 2`. */
export const DOUBLE = `
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> b: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if id.x < arrayLength(&b) {
    b[id.x] = a[id.x] * 2.0;
  }
}`;
