/**
 * What goes wrong on a device, which WebGPU tells later: it is caught where the work is queued, and kept
 * until something of Descent's can be rejected with it.
 */

import { cannot, failure } from "../core/validate.ts";
import type { Gpu, Loss } from "./api.ts";

/** What is caught. */
const FILTERS = ["internal", "out-of-memory", "validation"] as const;

/** The first thing that went wrong with some work; null if nothing has. */
type Outcome = Promise<string | null>;

/** Work that nobody waits for. */
interface Unclaimed {
  /** The first failure that is known. */
  first: string | null;
  /** The error scopes that have not been read yet. */
  readonly pending: Set<Promise<void>>;
}

/** Every runtime has it, but it is not among the types of the language. */
const { setTimeout } = globalThis as unknown as { setTimeout(run: () => void): void };

/** Lets everything run that is due. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** The failures of one device. */
export class Failures {
  readonly #gpu: Gpu;
  /** What is queued since the last call that waits for the device. */
  #unclaimed: Unclaimed = { first: null, pending: new Set() };
  #loss: string | null = null;

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

  /** Runs what uses the device, and nobody waits for. What goes wrong is for the next call that waits. */
  guard<Result>(body: () => Result): Result {
    const unclaimed = this.#unclaimed;
    const { result, outcome } = this.watch(body);
    const pending = outcome.then((error) => {
      unclaimed.pending.delete(pending);
      unclaimed.first ??= error;
    });
    unclaimed.pending.add(pending);
    return result;
  }

  /** Runs what uses the device. What goes wrong is for the caller alone, who hands it to `wait`. */
  watch<Result>(body: () => Result): { readonly result: Result; readonly outcome: Outcome } {
    for (const filter of FILTERS) this.#gpu.pushErrorScope(filter);
    let result: Result;
    try {
      result = body();
    } catch (error) {
      this.#popScopes();
      throw error;
    }
    return { result, outcome: this.#popScopes() };
  }

  #popScopes(): Outcome {
    return firstOf(FILTERS.map(() => this.#gpu.popErrorScope()));
  }

  /**
   * Waits for a promise of the device. It is rejected by what went wrong with the work that it waits for,
   * and with what was queued before this call and nobody has waited for.
   *
   * @param own What `watch` says of the work of the promise.
   */
  async wait<Result>(
    doing: string,
    promise: Promise<Result>,
    own: Outcome = NOTHING,
  ): Promise<Result> {
    const before = this.#unclaimed;
    this.#unclaimed = { first: null, pending: new Set() };
    let result: Result;
    try {
      result = await promise;
    } catch (error) {
      await nextTask(); // the loss of a device is told after what it fails
      await this.#settle(doing, before, own);
      throw new Error(failure(doing, (error as Error).message), { cause: error });
    }
    await this.#settle(doing, before, own);
    return result;
  }

  async #settle(doing: string, before: Unclaimed, own: Outcome): Promise<void> {
    await Promise.all(before.pending);
    const first = before.first ?? await own;
    if (first !== null) {
      throw new Error(cannot(doing, "the device refused some of the work", first));
    }
    this.checkThere(doing);
  }
}

const NOTHING: Outcome = Promise.resolve(null);

/** Reads error scopes. Those of a device that is lost are rejected; the loss is known by itself. */
async function firstOf(
  scopes: readonly Promise<{ readonly message: string } | null>[],
): Outcome {
  for (const scope of await Promise.allSettled(scopes)) {
    if (scope.status === "fulfilled" && scope.value !== null) return scope.value.message;
  }
  return null;
}
