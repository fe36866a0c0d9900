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
  /** The names of all parameters, in order; undefined where there is none. */
  readonly #names: (string | undefined)[] = [];
  /** The places in the order by index; null if each index is its own place, as Descent writes it. */
  readonly #places: ReadonlyMap<number, number> | null;
  /** The index of the parameter of a name. */
  readonly #indices = new Map<string, number>();
  /** The names that several tensors would have. */
  readonly #doubled = new Set<string>();

  /** @param groups The groups. */
  constructor(groups: readonly CheckedGroup[]) {
    const all: number[] = [];
    for (const { params, names } of groups) {
      for (let i = 0; i < params.length; i++) {
        const name = names?.[i] ?? undefined;
        all.push(params[i]);
        this.#names.push(name);
        if (name === undefined) continue;
        const before = this.#indices.size;
        this.#indices.set(name, params[i]);
        if (this.#indices.size === before) this.#doubled.add(name);
      }
    }
    const isOrdered = all.every((index, place) => index === place);
    this.#places = isOrdered ? null : new Map(all.map((index, place) => [index, place]));
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
    const place = this.#placeOf(index);
    if (place === undefined) return undefined;
    const name = this.#names[place];
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
    if (slot === null) return undefined;
    const place = this.#placeOf(slot.index);
    if (place === undefined) return undefined;
    const isTaken = slot.kind === "parameter" && this.#names[place] !== undefined;
    return isTaken ? undefined : slot;
  }

  #placeOf(index: number): number | undefined {
    if (this.#places !== null) return this.#places.get(index);
    return index < this.#names.length ? index : undefined;
  }
}
