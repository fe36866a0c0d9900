/** Which tensor of a file is what of which parameter. */

import type { CheckedGroup } from "../state/dict.ts";
import { parameterName, parseName, stateName } from "../state/tensor_names.ts";
import type { TensorKind } from "../state/tensor_names.ts";

/** What a tensor of a file is. */
export interface Slot {
  readonly kind: TensorKind;
  /** The index of its parameter. */
  readonly index: number;
}

/**
 * The tensors that a dict of some groups may hold. Names are made and found one at a time: a list of
 * all that might be there would be many times as long as that of those that are.
 */
export class Slots {
  /** Names by index; undefined for a parameter that has none. */
  readonly #names = new Map<number, string | undefined>();
  /** The index of the parameter of a name. */
  readonly #indices = new Map<string, number>();
  /** The names that several tensors would have. */
  readonly #doubled = new Set<string>();

  /** @param groups The groups. */
  constructor(groups: readonly CheckedGroup[]) {
    for (const { params, names } of groups) {
      for (let i = 0; i < params.length; i++) {
        const name = names?.[i] ?? undefined;
        this.#names.set(params[i], name);
        if (name === undefined) continue;
        const before = this.#indices.size;
        this.#indices.set(name, params[i]);
        if (this.#indices.size === before) this.#doubled.add(name);
      }
    }
    for (const name of this.#indices.keys()) {
      if (this.#findOwn(name) !== undefined) this.#doubled.add(name);
    }
  }

  /** The names that several tensors would have. */
  get doubled(): ReadonlySet<string> {
    return this.#doubled;
  }

  /** The name of a tensor; undefined if no group has the parameter. */
  nameOf(kind: Slot["kind"], index: number): string | undefined {
    const name = this.#names.get(index);
    if (name === undefined && !this.#names.has(index)) return undefined;
    return kind === "parameter" ? parameterName(name, index) : stateName(kind, index);
  }

  /** What a tensor is; undefined if nothing has its name, null if several have. */
  find(name: string): Slot | null | undefined {
    if (this.#doubled.size > 0 && this.#doubled.has(name)) return null;
    const own = this.#findOwn(name);
    if (own !== undefined) return own;
    const index = this.#indices.get(name);
    return index === undefined ? undefined : { kind: "parameter", index };
  }

  #findOwn(name: string): Slot | undefined {
    const slot = parseName(name);
    if (slot === null || !this.#names.has(slot.index)) return undefined;
    const isTaken = slot.kind === "parameter" && this.#names.get(slot.index) !== undefined;
    return isTaken ? undefined : slot;
  }
}
