/** The arrays that the benchmarks step, filled with numbers that stay ordinary ones. */

import type { FloatArray, Parameter } from "@descent/sgd";
import type { DtypeName } from "./rows.ts";
import { sizeOf, type Workload } from "./workloads.ts";

const ARRAYS = { float32: Float32Array, float64: Float64Array };

/** Makes the parameters of a workload, each with arrays of its own. */
export function createParameters({ shapes }: Workload, dtype: DtypeName): Parameter[] {
  return shapes.map((shape, i) => ({
    data: createArray(dtype, sizeOf(shape), 0.05),
    grad: createArray(dtype, sizeOf(shape), 0.01),
    name: `tensor ${i}`,
    shape,
  }));
}

/**
 * Makes an array in which every page has been written: a page that never was is read from one
 * shared page of zeros, which no real model is. No value is 0 or becomes subnormal in a step.
 */
export function createArray<D extends DtypeName>(
  dtype: D,
  length: number,
  scale: number,
): InstanceType<(typeof ARRAYS)[D]>;
export function createArray(dtype: DtypeName, length: number, scale: number): FloatArray {
  return new ARRAYS[dtype](length).fill(scale);
}

/** Frees what is no longer used, where Deno runs with --expose-gc. */
export function collectGarbage(): void {
  (globalThis as { gc?: () => void }).gc?.();
}
