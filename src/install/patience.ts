/** Gives up waiting for bytes that do not come. */

import { outOfRange, refusal } from "../core/validate.ts";

/** Bytes that have to come in each span of time. */
const ENOUGH = 1 << 16;
/** The most seconds that a timer takes. */
const LONGEST = 2_147_483;

/** Seconds to wait for 64 KiB where nobody says how many. */
export const DEFAULT_TIMEOUT = 30;

/**
 * Checks a time limit.
 *
 * @throws {TypeError} If it is not a number.
 * @throws {RangeError} If it is out of range.
 */
export function checkTimeout(seconds: unknown): asserts seconds is number {
  if (typeof seconds !== "number") {
    const shown = typeof seconds;
    throw new TypeError(refusal("set timeout", "it must be a number of seconds", shown));
  }
  if (!(seconds > 0 && seconds <= LONGEST)) {
    throw outOfRange("set timeout", `it must be > 0 and <= ${LONGEST} seconds`, seconds);
  }
}

/** Waits for others as long as 64 KiB come in each span of so many seconds, from the start on. */
export class Patience {
  readonly #seconds: number;
  readonly #controller = new AbortController();
  #fail: (error: Error) => void = () => {};
  readonly #end = new Promise<never>((_, reject) => this.#fail = reject);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #received = 0;
  /** Bytes since the span began. */
  #inSpan = 0;

  /** @param seconds The length of a span. */
  constructor(seconds: number) {
    this.#seconds = seconds;
    this.#end.catch(() => {}); // it may end while nobody waits
    this.#begin();
  }

  /** Is aborted at the end. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Bytes in all. */
  get received(): number {
    return this.#received;
  }

  /** Why it has come to its end; undefined before. */
  get reason(): string | undefined {
    return this.signal.aborted ? `fewer than 64 KiB came in ${this.#seconds} s` : undefined;
  }

  /** Waits for a promise, but not beyond the end; then it is rejected. */
  race<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#end]);
  }

  /** Takes note of bytes that came. */
  count(bytes: number): void {
    this.#received += bytes;
    this.#inSpan += bytes;
    if (this.#inSpan >= ENOUGH) this.#begin();
  }

  /** Waits no more; must be called, as a timer keeps a program running. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  #begin(): void {
    this.stop();
    this.#inSpan = 0;
    this.#timer = setTimeout(() => {
      this.#controller.abort();
      this.#fail(new Error(this.reason));
    }, 1000 * this.#seconds);
  }
}
