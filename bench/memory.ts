/** The arrays that the benchmarks step, filled with numbers that stay ordinary ones. */

import { BFloat16Array } from "@descent/sgd";
import type { Parameter } from "@descent/sgd";
import type { DtypeName } from "./rows.ts";
import { sizeOf, type Workload } from "./workloads.ts";

const ARRAYS = {
  float16: (length: number, value: number) => new Float16Array(length).fill(value),
  bfloat16: (length: number, value: number) => new BFloat16Array<ArrayBuffer>(length).fill(value),
  float32: (length: number, value: number) => new Float32Array(length).fill(value),
  float64: (length: number, value: number) => new Float64Array(length).fill(value),
};

type ArrayOf<D extends DtypeName> = ReturnType<(typeof ARRAYS)[D]>;

/** Makes the parameters of a workload, each with arrays of its own. */
export function createParameters<D extends DtypeName>(
  { shapes }: Workload,
  dtype: D,
): Parameter<ArrayOf<D>>[] {
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
): ArrayOf<D> {
  return ARRAYS[dtype](length, scale) as ArrayOf<D>;
}

/** Frees what is no longer used, where Deno runs with --expose-gc. */
export function collectGarbage(): void {
  (globalThis as { gc?: () => void }).gc?.();
}
