/** How a checkpoint is written from an optimizer without a copy of its arrays. */

import type { StateDict } from "./dict.ts";
import type { RankOwner } from "./rank_owner.ts";
import type { StateDictOptions } from "./take.ts";

/** The state of an optimizer as it is now. */
export interface StateSource {
  /**
   * A state dict that shares the optimizer's arrays, and has copies of tensors on devices. Null if it is for
   * another rank of a world to save it.
   *
   * @param hasState Whether it has the state of parameters. @default {true}
   */
  dict(options?: StateDictOptions, hasState?: boolean): Promise<StateDict | null>;
  /**
   * Which rank's momentum the dict has, where each rank of a world has its own; null elsewhere.
   */
  owner(): RankOwner | null;
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
