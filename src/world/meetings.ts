/**
 * Meetings: before ranks do something together, each says what it is about to do. If all say the same
 * they do it; otherwise all of them throw the same error, and nothing has been done.
 */

import type { Fact, Turn } from "../core/exchange.ts";
import { hashOfTexts } from "../core/hash.ts";
import type { Hash } from "../core/hash.ts";
import { cannot } from "../core/validate.ts";
import { explain, hasEnded } from "./details.ts";
import type { Details } from "./details.ts";
import { WorldError } from "./errors.ts";
import { agree, HEADER, sizesIn, writeHeader } from "./header.ts";
import type { Operation } from "./header.ts";
import type { Link } from "./link.ts";
import { bytesOfText, textOf } from "./texts.ts";

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
  /** Whether the others may take as long as they like. */
  readonly isPatient?: boolean;
  /** Why this rank cannot do it, although it has come. */
  readonly obstacle?: string;
  /** What `hold` has given. */
  readonly turn?: Turn;
}

/** Why a meeting has to wait. */
const RUNNING = "ranks are exchanging: await the promise of stepAsync first";

/** The meetings of one rank with the others. */
export class Meetings {
  /** Steps that have been taken. */
  step = 0;
  readonly #link: Link;
  /** The headers of a meeting on another thread, which has not been heard of yet; null without one. */
  #running: Uint32Array | null = null;
  /** Who alone may hold meetings; null if everybody may. */
  #turn: Turn | null = null;
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
  meet(intent: Intent): Uint32Array<ArrayBuffer> {
    const { operation, hash, bytes = 0, isPatient = false } = intent;
    this.#check(intent);
    const facts = listOf(intent);
    const own = hash ?? hashOfTexts(facts().flatMap(({ what, text }) => [what, text]));
    this.#exchange(operation, own, bytes, isPatient);
    if (agree(this.#all)) return sizesIn(this.#all);
    this.#disagree(intent);
  }

  /**
   * Keeps everybody else from meeting until `release`.
   *
   * @param reason Why the others cannot meet: the words after "as".
   * @throws {WorldError} If there is nobody to meet.
   * @throws {Error} If ranks are exchanging.
   */
  hold(doing: string, reason: string = RUNNING): Turn {
    this.#check({ doing });
    return this.#turn = { reason };
  }

  /** Lets everybody meet again. */
  release(turn: Turn): void {
    if (this.#turn === turn) this.#turn = null;
  }

  /**
   * Meets the others on another thread. Until that is over no other meeting can be held.
   *
   * @param run Exchanges the headers, and does what all have met for; returns whether they agree.
   * @returns How many bytes each rank gives to the others.
   * @throws {WorldError} As `meet`.
   */
  async meetLater(
    intent: Intent & { readonly hash: Hash },
    run: (
      headers: { own: Uint8Array<ArrayBuffer>; all: Uint8Array<ArrayBuffer> },
    ) => Promise<boolean>,
  ): Promise<Uint32Array<ArrayBuffer>> {
    this.#check(intent);
    const { operation, hash, bytes = 0 } = intent;
    // These are read after this rank may have ended, which takes headers of its own.
    const [header, headers] = [new Uint32Array(HEADER), new Uint32Array(this.#all.length)];
    writeHeader(header, operation, { step: this.step, hash, bytes });
    const [own, all] = [header, headers].map(({ buffer }) => new Uint8Array(buffer));
    this.#running = headers;
    let agreed: boolean;
    try {
      agreed = await run({ own, all });
    } finally {
      this.#running = null;
    }
    if (agreed) return sizesIn(headers);
    this.#check(intent);
    this.#disagree(intent);
  }

  #check({ doing, turn }: Pick<Intent, "doing" | "turn">): void {
    if (this.#ended !== null) throw new WorldError(cannot(doing, this.#ended));
    if (this.#turn !== null && this.#turn !== turn) {
      throw new Error(cannot(doing, this.#turn.reason));
    }
    if (this.#running !== null) throw new Error(cannot(doing, RUNNING));
  }

  /**
   * Says goodbye, and waits until the others have heard it.
   *
   * @param failure The message of the error with which this rank ends, if it fails.
   */
  end(failure?: string): void {
    if (this.#ended !== null) return;
    let differs = this.#differsLater();
    if (!differs) {
      this.#exchange("end", hashOfTexts([failure ?? ""]), 0, true);
      differs = !agree(this.#all);
    }
    this.#ended = "this rank has ended";
    if (differs) this.#tell({ doing: null, step: this.step, failure, facts: 0 });
  }

  /** Whether the others wait for details of what differed in a meeting on another thread. */
  #differsLater(): boolean {
    if (this.#running === null) return false;
    this.#link.wait();
    return !agree(this.#running);
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

  /** Finds out together with the others what differs. All ranks do the same here. */
  #disagree(intent: Intent): never {
    const { doing, obstacle } = intent;
    const facts = listOf(intent)();
    const all = this.#tell({ doing, step: this.step, obstacle, facts: facts.length });
    const finding = explain(all, facts);
    let next = finding.next();
    while (!next.done) next = finding.next(this.#say(next.value));
    const message = next.value;
    if (hasEnded(all)) this.#ended = message.slice(message.indexOf(" as ") + 4);
    throw new WorldError(message);
  }

  #tell(details: Details): Details[] {
    return this.#say(JSON.stringify(details)).map((text) => JSON.parse(text));
  }

  /** Tells the others a text, and hears theirs. */
  #say(text: string): string[] {
    const bytes = bytesOfText(text);
    this.#exchange("end", [0, 0], bytes.length, true);
    return this.gather(bytes, sizesIn(this.#all)).map(textOf);
  }

  /** Gives bytes to the others, and returns those of all ranks in order. */
  gather(bytes: Uint8Array<ArrayBuffer>, sizes: Uint32Array<ArrayBuffer>): Uint8Array[] {
    const received = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
    this.#link.gather(bytes, received, sizes);
    let end = 0;
    return Array.from(sizes, (size) => received.subarray(end, end += size));
  }
}

function listOf({ facts }: Intent): () => readonly Fact[] {
  return typeof facts === "function" ? facts : () => facts;
}
