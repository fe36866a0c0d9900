/** Which tensor of a file is what of which parameter. */

import type { CheckedGroup } from "./state_dict.ts";

/** What a tensor of a file is. */
export interface Slot {
  readonly kind: "buffer" | "master" | "parameter";
  /** The index of its parameter. */
  readonly index: number;
}

/** The names that Descent gives. */
const OWN =
  /^(?:state\.(0|[1-9][0-9]*)\.(?:(momentum_buffer)|master_weight)|param\.(0|[1-9][0-9]*))$/;

/**
 * The tensors that a dict of some groups may hold. Names are made and found one at a time: a list of
 * all that might be there would be many times as long as that of those that are.
 */
export class Slots {
  /** Names by index; undefined for a parameter that has none. */
  readonly #names = new Map<number, string | undefined>();
  /** The index of the parameter of a name; null if there are several. */
  readonly #indices = new Map<string, number | null>();

  /** @param groups The groups. */
  constructor(groups: readonly CheckedGroup[]) {
    for (const { params, names } of groups) {
      for (const [i, index] of params.entries()) {
        const name = names?.[i] ?? undefined;
        this.#names.set(index, name);
        if (name !== undefined) this.#indices.set(name, this.#indices.has(name) ? null : index);
      }
    }
  }

  /** The name of a tensor; undefined if no group has the parameter. */
  nameOf(kind: Slot["kind"], index: number): string | undefined {
    if (!this.#names.has(index)) return undefined;
    if (kind === "buffer") return `state.${index}.momentum_buffer`;
    if (kind === "master") return `state.${index}.master_weight`;
    return this.#names.get(index) ?? `param.${index}`;
  }

  /** What a tensor is; undefined if nothing has its name, null if several have. */
  find(name: string): Slot | null | undefined {
    const index = this.#indices.get(name);
    const own = this.#findOwn(name);
    if (index === undefined) return own;
    return index === null || own !== undefined ? null : { kind: "parameter", index };
  }

  /** The names that several have. */
  doubled(): string[] {
    return [...this.#indices.keys()].filter((name) => this.find(name) === null);
  }

  #findOwn(name: string): Slot | undefined {
    if (!name.startsWith("state.") && !name.startsWith("param.")) return undefined;
    const match = OWN.exec(name);
    if (match === null) return undefined;
    const [, ofState, isBuffer, ofParameter] = match;
    const index = Number(ofState ?? ofParameter);
    if (!this.#names.has(index)) return undefined;
    if (ofState !== undefined) return { kind: isBuffer === undefined ? "master" : "buffer", index };
    return this.#names.get(index) === undefined ? { kind: "parameter", index } : undefined;
  }
}
