/** What everything on one device shares. */

import { USAGE } from "./api.ts";
import type { Buffer, Gpu } from "./api.ts";
import type { Cuts } from "./chunks.ts";
import { Failures } from "./failures.ts";
import { Kernels } from "./kernels.ts";
import { Started } from "./started.ts";

/** Elements that a workgroup takes at a time, as in the native library. */
const CHUNK_ELEMENTS = 4096;

/** A device, and what Descent has made on it. */
export class Context {
  readonly failures: Failures;
  readonly kernels: Kernels;
  readonly started: Started;
  readonly cuts: Cuts;
  /** Buffers with momentum of several tensors, which only Descent destroys. */
  readonly arenas = new WeakSet<Buffer>();
  /** A buffer to bind where a shader does not read. */
  readonly nothing: Buffer;

  constructor(readonly gpu: Gpu, tuning: Partial<Cuts>) {
    this.failures = new Failures(gpu);
    this.kernels = new Kernels(gpu);
    this.started = new Started(gpu);
    this.cuts = {
      chunkElements: tuning.chunkElements ?? CHUNK_ELEMENTS,
      windowBytes: tuning.windowBytes ?? gpu.limits.maxStorageBufferBindingSize,
    };
    this.nothing = this.table(16);
  }

  /** A buffer for tables. */
  table(bytes: number): Buffer {
    return this.gpu.createBuffer({
      size: Math.max(16, bytes),
      usage: USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST,
    });
  }

  /** How many workgroups take so many rows of a table. */
  workgroups(rows: number): number {
    return Math.min(rows, this.gpu.limits.maxComputeWorkgroupsPerDimension);
  }
}
