/**
 * Meetings: before ranks do something together, each says what it is about to do. If all say the same
 * they do it; otherwise all of them throw the same error, and nothing has been done.
 */

import type { Fact } from "../core/exchange.ts";
import { cannot } from "../core/validate.ts";
import { decodeDetails, encodeDetails, explain, hasEnded } from "./details.ts";
import type { Details } from "./details.ts";
import { WorldError } from "./errors.ts";
import { agree, hashOfTexts, HEADER, sizesIn, writeHeader } from "./header.ts";
import type { Hash, Operation } from "./header.ts";
import type { Link } from "./link.ts";

/** What a rank is about to do. */
export interface Intent {
  readonly operation: Operation;
  /** The words after "Cannot". */
  readonly doing: string;
  /** A hash of what has to be equal on all ranks. @default that of the facts */
  readonly hash?: Hash;
  /** What has to be equal. A function is called if something is not. */
  readonly facts: readonly Fact[] | (() => readonly Fact[]);
  /** Bytes that this rank gives to the others. */
  readonly bytes?: number;
}

/** The meetings of one rank with the others. */
export class Meetings {
  /** Steps that have been taken. */
  step = 0;
  readonly #link: Link;
  /** Whether the headers are those of a meeting on another thread, which has not been heard of yet. */
  #isRunning = false;
  /** Why no further meeting can be held; null while one can. */
  #ended: string | null = null;
  readonly #own: Uint32Array<ArrayBuffer> = new Uint32Array(HEADER);
  readonly #all: Uint32Array<ArrayBuffer>;

  constructor(link: Link) {
    this.#link = link;
    this.#all = new Uint32Array(HEADER * link.position.size);
  }

  /** Whether some rank has ended, so that there is nobody to meet. */
  get isOver(): boolean {
    return this.#ended !== null;
  }

  /**
   * Meets the others.
   *
   * @returns How many bytes each rank gives to the others.
   * @throws {WorldError} If they are about to do something else, or have ended.
   */
  meet({ operation, doing, hash, facts, bytes = 0 }: Intent): Uint32Array<ArrayBuffer> {
    this.#check(doing);
    const list = () => typeof facts === "function" ? facts() : facts;
    const own = hash ?? hashOfTexts(list().flatMap(({ what, text }) => [what, text]));
    this.#exchange(operation, own, bytes, false);
    if (agree(this.#all)) return sizesIn(this.#all);
    this.#disagree({ doing, step: this.step, facts: list() });
  }

  /**
   * Meets the others on another thread. Until that is over no other meeting can be held.
   *
   * @param run Exchanges the headers, and does what all have met for; returns whether they agree.
   * @throws {WorldError} As `meet`.
   */
  async meetLater(
    { operation, doing, hash, facts }: Intent & { readonly hash: Hash },
    run: (
      headers: { own: Uint8Array<ArrayBuffer>; all: Uint8Array<ArrayBuffer> },
    ) => Promise<boolean>,
  ): Promise<void> {
    this.#check(doing);
    writeHeader(this.#own, operation, { step: this.step, hash, bytes: 0 });
    const [own, all] = [this.#own, this.#all].map(({ buffer }) => new Uint8Array(buffer));
    this.#isRunning = true;
    let agreed: boolean;
    try {
      agreed = await run({ own, all });
    } finally {
      this.#isRunning = false;
    }
    if (agreed) return;
    this.#check(doing); // this rank may have ended meanwhile
    const list = typeof facts === "function" ? facts() : facts;
    this.#disagree({ doing, step: this.step, facts: list });
  }

  #check(doing: string): void {
    if (this.#ended !== null) throw new WorldError(cannot(doing, this.#ended));
    if (!this.#isRunning) return;
    throw new Error(cannot(doing, "ranks are exchanging: await the promise of stepAsync first"));
  }

  /**
   * Says goodbye, and waits until the others have heard it.
   *
   * @param failure The message of the error with which this rank ends, if it fails.
   */
  end(failure?: string): void {
    if (this.#ended !== null) return;
    if (this.#isAwaited()) this.#exchange("end", hashOfTexts([failure ?? ""]), 0, true);
    this.#ended = "this rank has ended";
    if (!agree(this.#all)) this.#tell({ doing: null, step: this.step, failure, facts: [] });
  }

  /** Whether the others have yet to hear of the end, instead of waiting for details of what differed. */
  #isAwaited(): boolean {
    if (!this.#isRunning) return true;
    this.#link.wait();
    return agree(this.#all);
  }

  #exchange(
    operation: Operation,
    hash: Hash,
    bytes: number,
    patient: boolean,
  ): void {
    writeHeader(this.#own, operation, { step: this.step, hash, bytes });
    const [own, all] = [this.#own, this.#all].map(({ buffer }) => new Uint8Array(buffer));
    this.#link.meet(own, all, patient);
  }

  #disagree(details: Details): never {
    const all = this.#tell(details);
    const message = explain(all);
    if (hasEnded(all)) this.#ended = message.slice(message.indexOf(" as ") + 4);
    throw new WorldError(message);
  }

  /** Tells the others the details, and hears theirs. */
  #tell(details: Details): Details[] {
    const text = encodeDetails(details);
    this.#exchange("end", [0, 0], text.length, true);
    return this.gather(text, sizesIn(this.#all)).map(decodeDetails);
  }

  /** Gives bytes to the others, and returns those of all ranks in order. */
  gather(bytes: Uint8Array<ArrayBuffer>, sizes: Uint32Array<ArrayBuffer>): Uint8Array[] {
    const received = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    this.#link.gather(bytes, received, sizes);
    let end = 0;
    return Array.from(sizes, (size) => received.subarray(end, end += size));
  }
}
