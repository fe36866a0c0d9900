/** What an optimizer needs of other processes. `@descent/sgd/mpi` has it; nothing here loads that. */

import type { NormType } from "./device.ts";
import { wrongType } from "./validate.ts";

/**
 * The ranks of a job, as `openWorld` of `@descent/sgd/mpi` makes them.
 *
 * @category Optimizer
 */
export interface SGDWorld {
  /** The number of this process, from 0 on. */
  readonly rank: number;
  /** How many processes there are. */
  readonly size: number;
}

/** Something that has to be equal on all ranks. */
export interface Fact {
  /** What it is about, such as `parameter 3 ("w")`; empty if it is about the rank itself. */
  readonly what: string;
  /** What holds for it on this rank, such as `has 10007 elements`. */
  readonly text: string;
  /** What differs if this does: `parameters`. */
  readonly of?: string;
  /** What to do about it. */
  readonly remedy?: string;
}

/** Numbers that have to be equal on all ranks, with what they mean. */
export interface Topic {
  readonly numbers: Uint32Array | Float64Array;
  /** How many of them belong to one thing. */
  readonly stride: number;
  /**
   * What the numbers of a thing say. It is called if ranks differ, and runs none of the user's code: a rank
   * that failed here would leave the others with half of an answer.
   *
   * @param at The number of the thing.
   */
  readonly facts: (at: number) => readonly Fact[];
}

/** Holds the ranks together from one meeting to the next; no other meeting can be held meanwhile. */
export interface Turn {
  /** Why others have to wait: the words after "as". */
  readonly reason: string;
}

/** What all ranks are about to do. */
export interface Plans {
  /** The words after "Cannot". */
  readonly doing: string;
  /** Everything that has to be equal on all ranks. */
  readonly topics: readonly Topic[];
  /** Why this rank cannot do it. The others hear that. */
  readonly obstacle?: string;
  /** What `Exchange.hold` has given. */
  readonly turn?: Turn;
}

/** The tables of a step, as the native library takes them. */
export interface ExchangeTables {
  readonly rows: BigUint64Array<ArrayBuffer>;
  readonly count: number;
  readonly groupRows: Float64Array<ArrayBuffer>;
  readonly groupCount: number;
  readonly call: Float64Array<ArrayBuffer>;
  /** Whether all ranks see the arrays, so that nothing has to be sent. */
  readonly inPlace: boolean;
}

/** Where an array lies in memory that all ranks share; equal on all of them. */
export interface Place {
  /** The number of the memory, from 1 on. */
  readonly number: number;
  /** Bytes before the array. */
  readonly offset: number;
}

/**
 * What ranks give to each other: sums of gradients, parameters of which each steps a part, or signs.
 */
export type ExchangeMode = "gradients" | "shards" | "signs";

/** How the sums of gradients are measured. */
export interface ExchangeMeasure {
  /** What they are multiplied by before. */
  readonly scale: number;
  readonly normType: NormType;
}

/** What ranks do together once they have met. */
export interface ExchangeWork {
  readonly what: "step" | "measure" | "apply";
  readonly tables: ExchangeTables;
  readonly measure: ExchangeMeasure;
  /** As those of `Exchange.measure`. */
  readonly sums: Float64Array<ArrayBuffer>;
  readonly mode: ExchangeMode;
}

/** The same on another thread. */
export interface LaterWork extends ExchangeWork {
  /** Arrays on all buffers whose addresses are in the tables. */
  readonly pins: readonly ArrayBufferView[];
}

/** The addresses of gradients that are added to those of rows. */
export interface AddedWords {
  /** So many words for each row. */
  readonly count: number;
  readonly words: BigUint64Array<ArrayBuffer>;
}

/** Some consecutive elements of what belongs to a row besides its gradient. */
export interface StatePart {
  readonly row: number;
  /** Of momentum, 0; of the scales of momentum in 8 bits, 1; of the master weight or correction, 2. */
  readonly array: number;
  /** The first element of the parameter. */
  readonly from: number;
  /** The one after the last; elements that the row does not have are left out. */
  readonly to: number;
  /** Where rank 0 gets the bytes; null on the others. */
  readonly into: Uint8Array<ArrayBuffer> | null;
}

/** What ranks meet for with an optimizer. */
export type Meeting =
  | ("construct" | "load" | "save" | "take" | "arrange")
  | ("step" | "complete" | "unscale");

/** Steps of all ranks together. */
export interface Exchange {
  readonly rank: number;
  readonly size: number;
  /** Whether there is memory that all ranks share. */
  readonly sharesMemory: boolean;
  /** Whether this rank or another one has ended. */
  readonly isOver: boolean;
  /** How many optimizers all ranks have made. */
  readonly optimizers: number;
  /** All ranks have made one more. */
  countOptimizer(): void;
  /** Where an array lies in memory that all ranks share; null if it does not. */
  placeOf(array: ArrayBufferView): Place | null;
  /**
   * Meets the others, who are about to do the same.
   *
   * @throws {WorldError} If they are not, or have ended; the same on all ranks.
   * @throws {Error} If ranks are exchanging already.
   */
  meet(operation: Meeting, plans: Plans): void;
  /**
   * Keeps everybody else from meeting until `release`: what this optimizer has measured stays what it steps
   * with.
   *
   * @param doing The words after "Cannot".
   * @param reason Why everybody else has to wait: the words after "as".
   * @throws {Error} If ranks are exchanging already.
   */
  hold(doing: string, reason?: string): Turn;
  /** Ends that. */
  release(turn: Turn): void;
  /** Gives rank 0's parameters of some rows to all, and with state also what belongs to them. */
  share(rows: BigUint64Array<ArrayBuffer>, count: number, hasState: boolean): void;
  /**
   * Gives the state that each rank has of its part of the rows to all, or to rank 0 alone.
   */
  collect(rows: BigUint64Array<ArrayBuffer>, count: number, firstOnly: boolean): void;
  /** Gives rank 0 a part of the state of a row, of which each rank has some; all ranks call it. */
  readState(rows: BigUint64Array<ArrayBuffer>, count: number, part: StatePart): void;
  /** Gives the system the memory of momentum that other ranks step; it has any content from then on. */
  giveBack(rows: BigUint64Array<ArrayBuffer>, count: number): void;
  /**
   * Meets the others on another thread, however long they take, also while meetings are held off.
   *
   * @returns The texts of all ranks, in their order.
   * @throws {WorldError} As `meet`.
   */
  gatherLater(plans: Plans, text: string): Promise<string[]>;
  /** Sums up the gradients of all ranks and steps. */
  step(tables: ExchangeTables, mode: ExchangeMode): void;
  /**
   * Sums up the gradients of all ranks, keeps the sums, and adds to two numbers per group what
   * `Backend.norm` does.
   */
  measure(
    tables: ExchangeTables,
    measure: ExchangeMeasure,
    sums: Float64Array<ArrayBuffer>,
  ): void;
  /** Steps with the sums that `measure` has kept. */
  apply(tables: ExchangeTables, mode: ExchangeMode): void;
  /** Steps along the signs that the most ranks have; each updates its own momentum. */
  vote(tables: ExchangeTables): void;
  /** Replaces numbers by their sums over the ranks. */
  sum(values: Float64Array<ArrayBuffer>): void;
  /** The numbers of all ranks, in their order; each gives as many. */
  gather(values: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer>;
  /**
   * Adds further gradients to those of this rank's rows, and writes the sums where `sums` says. Nothing is
   * exchanged.
   *
   * @param sums An address for each row; 0 for none.
   */
  add(
    rows: BigUint64Array<ArrayBuffer>,
    count: number,
    added: AddedWords,
    sums: BigUint64Array<ArrayBuffer>,
  ): void;
  /**
   * Meets the others on another thread, and does there what all have met for.
   *
   * @throws {WorldError} As `meet`.
   */
  later(plans: Plans, work: LaterWork): Promise<void>;
  /** The most pins of that, where up to `wanted` are wanted. */
  maxPins(wanted: number): number;
  /** A step has been taken. */
  countStep(): void;
}

const exchanges = new WeakMap<object, Exchange | null>();

/** Makes a world known. Null stands for a single rank, with which there is nothing to exchange. */
export function registerExchange(world: SGDWorld, exchange: Exchange | null): void {
  exchanges.set(world, exchange);
}

/**
 * What an optimizer exchanges in a world; null if there is nothing.
 *
 * @throws {TypeError} If it is not a world.
 */
export function exchangeOf(world: unknown): Exchange | null {
  if (world === undefined) return null;
  const exchange = typeof world === "object" && world !== null ? exchanges.get(world) : undefined;
  if (exchange !== undefined) return exchange;
  throw wrongType("set world", "it must be made by openWorld of @descent/sgd/mpi", world);
}

/**
 * Whether something has been found on any rank of an optimizer's world.
 *
 * @param found Whether this rank has found it.
 * @param scale What the loss has been multiplied by, which has to be equal on all ranks.
 */
type FindAny = (found: boolean, scale: number) => boolean;

const finders = new WeakMap<object, FindAny>();

/** Makes known how the ranks of an optimizer agree; only the optimizer itself calls this. */
export function registerFinder(optimizer: object, find: FindAny): void {
  finders.set(optimizer, find);
}

/**
 * Whether a gradient that is infinite or NaN has been found on any rank of an optimizer's world, or, without
 * one, on this rank.
 *
 * @throws {WorldError} If other ranks do something else, or have another scale.
 */
export function isFoundAnywhere(optimizer: object, found: boolean, scale: number): boolean {
  return finders.get(optimizer)?.(found, scale) ?? found;
}

/** An array whose values are to be equal on all ranks, and what it is. */
export interface Verifiable {
  readonly what: string;
  readonly array: ArrayBufferView;
}

const verifiable = new WeakMap<object, () => readonly Verifiable[]>();

/** Makes known what of an optimizer is to be equal on all ranks; only the optimizer itself calls this. */
export function registerVerifiable(optimizer: object, list: () => readonly Verifiable[]): void {
  verifiable.set(optimizer, list);
}

/**
 * What of an optimizer is to be equal on all ranks.
 *
 * @throws {TypeError} If it is not an optimizer.
 */
export function verifiableOf(optimizer: unknown): readonly Verifiable[] {
  const isObject = typeof optimizer === "object" && optimizer !== null;
  const list = isObject ? verifiable.get(optimizer) : undefined;
  if (list === undefined) throw wrongType("verify", "there must be an SGD", optimizer);
  return list();
}
