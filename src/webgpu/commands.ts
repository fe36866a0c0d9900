/**
 * Records dispatches, in as few command buffers as there can be: within one, wgpu aborts the process where
 * two dispatches use a buffer that the user has destroyed. Of several command buffers, a submit is
 * refused as a whole, with an error.
 */

import type { Buffer, Encoder, Gpu, Opaque, Pass } from "./api.ts";
import type { Kernel } from "./kernels.ts";

/** A dispatch, as far as its command buffer goes. */
export interface Dispatch {
  readonly group: Opaque;
  readonly workgroups: number;
  /** Whether it uses a buffer that one before it uses in the same command buffer. */
  readonly isApart: boolean;
}

/** Finds out which dispatches begin a command buffer, in their order. */
export class Splitter {
  /** Buffers that only Descent destroys. */
  readonly #kept: WeakSet<Buffer>;
  readonly #used = new Set<Buffer>();

  constructor(kept: WeakSet<Buffer>) {
    this.#kept = kept;
  }

  /** Whether the next dispatch does, which uses these buffers. */
  next(buffers: readonly Buffer[]): boolean {
    const exposed = buffers.filter((buffer) => !this.#kept.has(buffer));
    const isApart = exposed.some((buffer) => this.#used.has(buffer));
    if (isApart) this.#used.clear();
    for (const buffer of exposed) this.#used.add(buffer);
    return isApart;
  }
}

/** The command buffers of one submit. */
export class Commands {
  readonly #gpu: Gpu;
  readonly #finished: Opaque[] = [];
  #open: { readonly encoder: Encoder; readonly pass: Pass } | null = null;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** Records a dispatch. */
  add({ pipeline }: Kernel, { group, workgroups, isApart }: Dispatch): void {
    if (isApart) this.#end();
    const { pass } = this.#open ??= this.#begin();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(workgroups);
  }

  /** All of them. */
  finish(): readonly Opaque[] {
    this.#end();
    return this.#finished;
  }

  #begin(): { readonly encoder: Encoder; readonly pass: Pass } {
    const encoder = this.#gpu.createCommandEncoder();
    return { encoder, pass: encoder.beginComputePass() };
  }

  #end(): void {
    if (this.#open === null) return;
    const { encoder, pass } = this.#open;
    this.#open = null;
    pass.end();
    this.#finished.push(encoder.finish());
  }
}
