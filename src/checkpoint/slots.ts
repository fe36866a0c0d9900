/** Which tensor of a file is what of which parameter. */

import type { CheckedGroup } from "../state/dict.ts";
import {
  averageName,
  parameterName,
  parseAverageName,
  parseName,
  stateName,
} from "../state/tensor_names.ts";
import type { TensorKind } from "../state/tensor_names.ts";

/** What a tensor of a file is. */
export interface Slot {
  readonly kind: TensorKind;
  /** The index of its parameter, or of an average. */
  readonly index: number;
  /** The place of its parameter in the order of the groups; of an average its index. */
  readonly place: number;
}

/**
 * The tensors that a dict of some groups may hold. Names are made and found one at a time: a list of
 * all that might be there would be many times as long as that of those that are.
 */
export class Slots {
  /** The names of all parameters, in order; undefined where there is none. */
  readonly #names: (string | undefined)[] = [];
  /** The index of each, in the same order. */
  readonly indices: readonly number[];
  /** The places in the order by index; null if each index is its own place, as Descent writes it. */
  readonly #places: ReadonlyMap<number, number> | null;
  /** The place of the parameter of a name. */
  readonly #byName = new Map<string, number>();
  /** The names that several tensors would have. */
  readonly #doubled = new Set<string>();
  readonly #averages: number;

  /**
   * @param groups The groups.
   * @param averages How many averages there are.
   */
  constructor(groups: readonly CheckedGroup[], averages: number = 0) {
    this.#averages = averages;
    const all: number[] = [];
    this.indices = all;
    for (const { params, names } of groups) {
      for (let i = 0; i < params.length; i++) {
        const name = names?.[i] ?? undefined;
        all.push(params[i]);
        this.#names.push(name);
        if (name === undefined) continue;
        const before = this.#byName.size;
        this.#byName.set(name, all.length - 1);
        if (this.#byName.size === before) this.#doubled.add(name);
      }
    }
    const isOrdered = all.every((index, place) => index === place);
    this.#places = isOrdered ? null : new Map(all.map((index, place) => [index, place]));
    for (const name of this.#byName.keys()) {
      if (this.#findOwn(name) !== undefined) this.#doubled.add(name);
    }
  }

  /** The names that several tensors would have. */
  get doubled(): ReadonlySet<string> {
    return this.#doubled;
  }

  /** The name of a tensor; undefined if no group has the parameter. */
  nameOf(kind: Slot["kind"], index: number): string | undefined {
    if (kind === "average") return averageName(index);
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
    const place = this.#byName.get(name);
    if (place === undefined) return undefined;
    return { kind: "parameter", index: this.indices[place], place };
  }

  #findOwn(name: string): Slot | undefined {
    const average = this.#averages > 0 ? parseAverageName(name) : null;
    if (average !== null && average < this.#averages) {
      return { kind: "average", index: average, place: average };
    }
    const parsed = parseName(name);
    if (parsed === null) return undefined;
    const { kind, index } = parsed;
    const place = this.#placeOf(index);
    if (place === undefined) return undefined;
    const isTaken = kind === "parameter" && this.#names[place] !== undefined;
    return isTaken ? undefined : { kind, index, place };
  }

  #placeOf(index: number): number | undefined {
    if (this.#places !== null) return this.#places.get(index);
    return index < this.#names.length ? index : undefined;
  }
}
