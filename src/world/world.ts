/** The ranks of a job, as a program sees them. */

import { registerExchange, verifiableOf } from "../core/exchange.ts";
import { lengthOf } from "../core/intrinsics.ts";
import {
  cannot,
  checkNumber,
  checkString,
  checkWord,
  outOfRange,
  WHOLE,
  wrongType,
} from "../core/validate.ts";
import { arrayOf, bytesOf } from "./arrays.ts";
import type { WorldArray } from "./arrays.ts";
import { whyNoForeign } from "../native/foreign.ts";
import { watchEnd } from "./ending.ts";
import { WorldError, WorldUnavailableError } from "./errors.ts";
import { createExchange } from "./exchange.ts";
import { goodbyeOf } from "./goodbye.ts";
import { hashOfBytes } from "./header.ts";
import type { Link } from "./link.ts";
import { Meetings } from "./meetings.ts";
import { SHARED_DTYPES, SharedMemory } from "./shared.ts";
import type { SharedArrays } from "./shared.ts";
import { bytesOfText, textOf } from "./texts.ts";

/** Makes a world of a link, or one of a single rank. */
export let createWorld: (link: Link | null) => World;

/**
 * The ranks of a job, of which this process is one: `openWorld` makes it.
 *
 * All ranks call the same methods in the same order, with arrays of the same type and length. If they do
 * not, all of them throw the same `WorldError`, which says how they differ, and nothing has been written.
 *
 * @category World
 */
export class World {
  /** The number of this process, from 0 on. */
  readonly rank: number;
  /** How many processes there are. */
  readonly size: number;
  /** The number of this process among those of its machine. */
  readonly localRank: number;
  /** How many processes there are on this machine. */
  readonly localSize: number;
  /** The library of MPI and its version, such as `MPICH 4.0.2`; `none` without a launcher. */
  readonly engine: string;
  readonly #link: Link | null;
  readonly #meetings: Meetings | null;
  readonly #memory: SharedMemory;
  readonly #unwatch: () => void;
  #closed = false;

  static {
    createWorld = (link) => new World(link);
  }

  private constructor(link: Link | null) {
    const alone = { rank: 0, size: 1, localRank: 0, localSize: 1 };
    const { rank, size, localRank, localSize } = link?.position ?? alone;
    this.rank = rank;
    this.size = size;
    this.localRank = localRank;
    this.localSize = localSize;
    this.engine = link?.engine ?? "none";
    this.#link = link;
    const peers = size === 1 ? null : link;
    this.#meetings = peers === null ? null : new Meetings(peers);
    this.#memory = new SharedMemory(peers);
    const exchange = peers === null ? null : createExchange(peers, this.#meetings!, this.#memory);
    registerExchange(this, exchange);
    this.#unwatch = link === null ? () => {} : watchEnd({
      end: () => this.#end(),
      fail: (message) => this.#fail(message),
      prepare: (message) => this.#prepare(link, message),
    });
  }

  /**
   * Waits until all ranks have called it.
   *
   * @throws {WorldError} If one does something else, or has ended.
   */
  barrier(): void {
    this.#check("wait at a barrier");
    this.#meetings?.meet({ operation: "barrier", doing: "wait at a barrier", facts: [] });
  }

  /**
   * Gives the elements of one rank's array to all others.
   *
   * @param array Its elements are replaced on all ranks but that one.
   * @param from The rank whose elements all get.
   * @returns The array.
   * @throws {TypeError} If it is not a typed array of numbers.
   * @throws {RangeError} If there is no such rank.
   * @throws {WorldError} If the arrays of the ranks differ in type or length.
   */
  broadcast<A extends WorldArray>(array: A, from = 0): A {
    const doing = "broadcast";
    this.#check(doing);
    const { bytes, facts } = arrayOf(array, doing);
    if (typeof from !== "number") throw wrongType(doing, "from must be a rank", from);
    if (!(Number.isInteger(from) && from >= 0 && from < this.size)) {
      throw outOfRange(doing, `from must be a rank from 0 to ${this.size - 1}`, from);
    }
    const source = { what: "", text: `takes the elements of rank ${from}` };
    if (this.#meetings === null) return array;
    this.#meetings.meet({ operation: "broadcast", doing, facts: [...facts, source] });
    this.#link?.broadcast(bytes, from);
    return array;
  }

  /**
   * Replaces each element by the sum over all ranks, added up in the order of the ranks: the bits are
   * the same on all ranks, and do not depend on the library of MPI.
   *
   * @returns The array.
   * @throws {TypeError} If it is neither a Float32Array nor a Float64Array.
   * @throws {WorldError} If the arrays of the ranks differ in type or length.
   */
  sum<A extends Float32Array | Float64Array>(array: A): A {
    const doing = "sum";
    this.#check(doing);
    const { facts, view, dtype } = arrayOf(array, doing);
    if (dtype === null) {
      throw wrongType(doing, "there must be a Float32Array or a Float64Array", array);
    }
    if (this.#meetings === null) return array;
    this.#meetings.meet({ operation: "sum", doing, facts });
    if (lengthOf(view) > 0) this.#link?.sum(view as Float32Array<ArrayBuffer>, dtype);
    return array;
  }

  /**
   * Gives a text of each rank to all, for losses and logs.
   *
   * @returns The texts, in the order of the ranks.
   * @throws {TypeError} If it is not a string.
   * @throws {WorldError} If a rank does something else, or has ended.
   */
  gather(text: string): string[] {
    const doing = "gather";
    this.#check(doing);
    checkString(doing, text, "the text");
    const meetings = this.#meetings;
    if (meetings === null) return [text];
    const bytes = bytesOfText(text);
    const sizes = meetings.meet({ operation: "gather", doing, facts: [], bytes: bytes.length });
    return meetings.gather(bytes, sizes).map(textOf);
  }

  /**
   * Makes an array of zeros in memory that the ranks of a machine share. Each rank has an array of its
   * own there. Where all ranks are on one machine, an optimizer whose `grad` and `data` all are such arrays,
   * or parts of them, sends nothing: each rank reads the others' gradients where they are, and with
   * `exchange: "shards"` writes the parameters that it has stepped into the others' arrays. Bits are the
   * same as with other arrays.
   *
   * The memory is not given back before the process ends, so make arrays once. With one rank it is an
   * ordinary array. Deno gives a program such memory with `--allow-ffi` only, without a path.
   *
   * @param length How many elements the array has.
   * @throws {TypeError} If the dtype does not exist, or the length is not a number.
   * @throws {RangeError} If the length is not a whole number >= 0.
   * @throws {WorldError} If the arrays of the ranks differ in dtype or length, or a machine has too little
   * shared memory; the same on all ranks.
   * @throws {WorldUnavailableError} If this program may not have such memory.
   *
   * @example
   * ```ts ignore
   * import { SGD } from "@descent/sgd";
   * import { openWorld } from "@descent/sgd/mpi";
   *
   * using world = openWorld();
   * const w = { data: world.zeros(1000, "float32"), grad: world.zeros(1000, "float32") };
   * const optimizer = new SGD([w], { lr: 0.1, world, exchange: "shards" });
   * w.grad.fill(1);
   * optimizer.step();
   * ```
   */
  zeros<D extends keyof SharedArrays>(length: number, dtype: D): SharedArrays[D] {
    const doing = "make shared arrays";
    this.#check(doing);
    checkNumber("length", length, WHOLE);
    checkWord("dtype", dtype, Object.keys(SHARED_DTYPES));
    if (this.size > 1) {
      const reason = whyNoForeign();
      if (reason !== null) throw new WorldUnavailableError(cannot(doing, reason));
    }
    const facts = [
      { what: "the dtype of the array", text: `is ${dtype}` },
      { what: "the length of the array", text: `is ${length}` },
    ];
    this.#meetings?.meet({ operation: "zeros", doing, facts });
    return this.#memory.make(length, dtype);
  }

  /**
   * Checks that an optimizer has the same bits on all ranks: its parameters, and with exchange
   * `"gradients"` also its state. Steps keep them equal; this finds programs that write into them. It
   * reads all of them once.
   *
   * @param optimizer An `SGD`.
   * @throws {TypeError} If it is not one.
   * @throws {WorldError} If they are not equal; it names the first array that differs.
   *
   * @example
   * ```ts ignore
   * import { SGD } from "@descent/sgd";
   * import { openWorld } from "@descent/sgd/mpi";
   *
   * using world = openWorld();
   * const w = { data: new Float32Array([world.rank]), grad: null };
   * const optimizer = new SGD([w], { lr: 0.1, world });
   * world.verify(optimizer); // all ranks have rank 0's values
   * ```
   */
  verify(optimizer: object): void {
    const doing = "verify";
    this.#check(doing);
    const list = verifiableOf(optimizer);
    this.#meetings?.meet({
      operation: "verify",
      doing,
      facts: list.map(({ what, array }) => {
        const hash = hashOfBytes(bytesOf(array, doing)).map((word) =>
          word.toString(16).padStart(8, "0")
        ).join("");
        return { of: "values", what, text: `has the hash ${hash}` };
      }),
    });
  }

  /**
   * Ends all ranks at once, with exit code 1, after it has printed a message. It waits for nobody, also
   * while a `stepAsync` exchanges.
   */
  abort(message: string): never {
    console.error(message);
    if (this.#link !== null && !this.#closed) this.#link.abort(1);
    return exitProcess(1);
  }

  /**
   * Leaves the job. It waits until all other ranks have heard of it; those who still wanted to do
   * something together with this one throw a `WorldError`.
   */
  [Symbol.dispose](): void {
    this.#end();
  }

  #check(doing: string): void {
    if (this.#closed) throw new WorldError(cannot(doing, "the world has been left"));
  }

  #end(failure?: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch();
    this.#meetings?.end(failure);
    this.#link?.close();
  }

  /** Others may be busy or stuck: the message is printed first, and they are not waited for without limit. */
  #fail(message: string): void {
    if (this.#closed) return;
    console.error(`Rank ${this.rank} has failed: ${message}`);
    this.#link?.hurry();
    this.#end(message);
  }

  /** Leaves to the end of the process what others are to hear then. */
  #prepare(link: Link, message: string | null): boolean {
    const meetings = this.#meetings;
    if (meetings === null || message === null) return link.leaveWords(null);
    if (!meetings.isOver) return link.leaveWords(goodbyeOf(message, meetings.step));
    this.#end(); // the others know
    return true;
  }
}

function exitProcess(code: number): never {
  if (typeof Deno !== "undefined") return Deno.exit(code);
  return process.exit(code) as never;
}
