/**
 * What goes wrong on a device, which WebGPU tells later: it is caught where the work is queued, and kept
 * until something of Descent's can be rejected with it.
 */

import { cannot, failure } from "../core/validate.ts";
import type { Gpu, Loss } from "./api.ts";

/** What is caught. */
const FILTERS = ["internal", "out-of-memory", "validation"] as const;

/** Every runtime has it, but it is not among the types of the language. */
const { setTimeout } = globalThis as unknown as { setTimeout(run: () => void): void };

/** Lets everything run that is due. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** The failures of one device. */
export class Failures {
  readonly #gpu: Gpu;
  /** The first one that nobody has been told of. */
  #first: string | null = null;
  #loss: string | null = null;
  /** The error scopes that have not been read yet. */
  readonly #pending = new Set<Promise<void>>();

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
    gpu.lost.then(({ message }: Loss) => this.#loss = message || "no reason was given");
  }

  /**
   * Refuses work for a device that is known to be lost.
   *
   * @throws {Error} If it is.
   */
  checkThere(doing: string): void {
    if (this.#loss !== null) throw new Error(cannot(doing, "the device is lost", this.#loss));
  }

  /** Runs what uses the device. What goes wrong with it later is kept. */
  guard<Result>(body: () => Result): Result {
    for (const filter of FILTERS) this.#gpu.pushErrorScope(filter);
    try {
      return body();
    } finally {
      for (let i = 0; i < FILTERS.length; i++) this.#keep(this.#gpu.popErrorScope());
    }
  }

  #keep(scope: Promise<{ readonly message: string } | null>): void {
    const pending = scope.then((error) => {
      this.#pending.delete(pending);
      if (error !== null) this.#first ??= error.message;
    }, () => { // of a device that is lost
      this.#pending.delete(pending);
    });
    this.#pending.add(pending);
  }

  /**
   * Waits for what is known of the work so far.
   *
   * @throws {Error} If some of it has failed and nobody has been told.
   */
  async settle(doing: string): Promise<void> {
    await Promise.all(this.#pending);
    const first = this.#first;
    this.#first = null;
    if (first !== null) {
      throw new Error(cannot(doing, "the device refused some of the work", first));
    }
    this.checkThere(doing);
  }

  /** Waits for a promise of the device; the failure of earlier work is the reason if it is rejected. */
  async wait<Result>(doing: string, promise: Promise<Result>): Promise<Result> {
    let result: Result;
    try {
      result = await promise;
    } catch (error) {
      await nextTask(); // the loss of a device is told after what it fails
      await this.settle(doing);
      throw new Error(failure(doing, (error as Error).message), { cause: error });
    }
    await this.settle(doing);
    return result;
  }
}
