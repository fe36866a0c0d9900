/** How a checkpoint is written from an optimizer without a copy of its arrays. */

import type { StatePart } from "../core/exchange.ts";
import type { StateDict } from "./dict.ts";
import type { RankOwner } from "./rank_owner.ts";
import type { StateDictOptions } from "./take.ts";

/** What is saved: the state as it is, with its momentum decoded, or the parameters alone. */
export type Saved = "stored" | "float32" | "weights";

/** Why a rank could not save. */
export interface RankFailure {
  readonly rank: number;
  readonly text: string;
}

/** A save in which all ranks of a world take part. */
export interface JointSave {
  readonly rank: number;
  /** Which rank's momentum this rank saves, where each has its own; null if rank 0 alone saves. */
  readonly owner: RankOwner | null;
  /** Whether rank 0 has a part of the state only, and gets the rest by `read`. */
  readonly isRead: boolean;
  /**
   * Reads parts of the state of all ranks, on rank 0. The other ranks give them while they wait in `meet`.
   *
   * @throws {WorldError} If a rank has ended.
   */
  read(parts: readonly StatePart[]): Promise<void>;
  /**
   * Waits until all ranks have come as far, however long they take.
   *
   * @param failure Why this rank cannot go on; null if it can.
   * @returns The first failure of a rank, the same on all ranks; null if there is none.
   * @throws {WorldError} If a rank has ended.
   */
  meet(failure: string | null): Promise<RankFailure | null>;
  /** Ends it, however it went. */
  end(): void;
}

/** The state of an optimizer as it is now. */
export interface StateSource {
  /**
   * A state dict that shares the optimizer's arrays, and has copies of tensors on devices.
   *
   * @param hasState Whether it has the state of parameters. @default {true}
   */
  dict(options?: StateDictOptions, hasState?: boolean): Promise<StateDict>;
  /**
   * Begins a save; null if other ranks of a world, if there are any, have no part in it.
   *
   * @throws {WorldError} If another rank does something else.
   */
  join?(what: Saved): JointSave | null;
  /** A number that is another one after every change that the optimizer makes. */
  revision(): number;
  /** How many steps have begun, also those that were skipped. */
  steps(): number;
}

const lives = new WeakMap<object, StateSource>();

/** Makes an optimizer's state known; only the optimizer itself calls this. */
export function registerStateSource(optimizer: object, live: StateSource): void {
  lives.set(optimizer, live);
}

/** The state of an optimizer; undefined if the value is none. */
export function stateSourceOf(value: object): StateSource | undefined {
  return lives.get(value);
}
