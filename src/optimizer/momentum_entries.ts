/** Momentum in 8 bits in the lists of the functional form. */

import type { Backend } from "../backends/backend.ts";
import { bufferError, checkBuffer } from "../core/array_checks.ts";
import { deviceOf, isHostArray } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { byteLengthOf, lengthOf, setAll, tagOf } from "../core/intrinsics.ts";
import { scalesCount } from "../core/momentum8.ts";
import { refusal, wrongType } from "../core/validate.ts";
import { assertUnlocked } from "../memory/locks.ts";
import { createSpans, Written } from "../memory/overlap.ts";
import { MOMENTUM8 } from "../memory/stores.ts";
import { blockOf, createState, momentum8On } from "../plan/parameter_state.ts";
import type { Momentum8, ParameterState } from "../plan/parameter_state.ts";

/** Values and scales that the caller made, and the copy on one block of bytes that is stepped. */
interface Foreign {
  readonly name: string;
  readonly given: Momentum8;
  readonly copy: Momentum8;
}

/** An array, and what errors call it. */
interface Named {
  readonly array: HostArray;
  readonly name: string;
}

/** The momentum of one call. */
export class MomentumEntries {
  /** What a plan is given. */
  readonly states: ParameterState[];
  readonly #foreign: Foreign[] = [];

  /**
   * Reads the entries of a list.
   *
   * @throws {TypeError} If values and scales are of other types, detached or resizable.
   * @throws {RangeError} If there are not as many scales as the values need.
   */
  constructor(entries: readonly (Tensor | Momentum8 | null)[]) {
    this.states = entries.map((entry, i) => {
      if (!isMomentum8(entry)) return createState(entry);
      return Object.assign(createState(), { momentum8: this.#readEntry(entry, i) });
    });
  }

  /** An entry that an earlier call has filled in, or a copy of what the caller made. */
  #readEntry(entry: Momentum8, index: number): Momentum8 {
    if (blockOf(entry) !== undefined) return entry;
    const name = nameEntry(index);
    const { values, scales } = entry;
    checkArray(values, "Int8Array", `values of the ${name}`);
    checkArray(scales, "Uint8Array", `scales of the ${name}`);
    const length = lengthOf(values);
    if (lengthOf(scales) !== scalesCount(length)) {
      const reason = `there must be ${scalesCount(length)}, one for each 32 values`;
      throw new RangeError(
        refusal(`use scales of the ${name}`, reason, lengthOf(scales), "length"),
      );
    }
    const copy = momentum8On(MOMENTUM8.zeros(length) as Uint8Array, length);
    const given = { values, scales };
    copyTo(copy, given);
    this.#foreign.push({ name, given, copy });
    return copy;
  }

  /**
   * Checks that the caller's values and scales can be written.
   *
   * @param others What else the step reads and writes, but for the entries of the list.
   * @throws {TypeError} If one has been detached since.
   * @throws {RangeError} If one overlaps another array.
   * @throws {Error} If a step that is running uses one.
   */
  check(backend: Backend, others: readonly (Tensor | null)[]): void {
    if (this.#foreign.length === 0) return;
    const written = this.#checkWritable(backend);
    const arrays: Named[] = others.filter(isArray).map((array) => {
      return { array, name: "an array of the step" };
    });
    arrays.push(...this.#entries());
    const read = spansOf(backend, arrays);
    const at = written.findMeeting(read);
    if (at >= 0) throw written.refusal(read.starts[at], read.ends[at], arrays[at].name);
  }

  #checkWritable(backend: Backend): Written {
    const named = this.#foreign.flatMap(({ name, given, copy }) =>
      (["values", "scales"] as const).map((part): Named => {
        const array = given[part] as unknown as HostArray;
        const what = `${part} of the ${name}`;
        if (lengthOf(array) !== copy[part].length) throw bufferError(array, what);
        assertUnlocked(array, () => what);
        return { array, name: what };
      })
    );
    const spans = spansOf(backend, named);
    const list = Array.from(spans.starts, (start, i) => {
      return { start, end: spans.ends[i], name: named[i].name };
    });
    return new Written(spans, () => list);
  }

  /** The entries that the caller did not make of values and scales. */
  #entries(): Named[] {
    const copies = new Set(this.#foreign.map(({ copy }) => copy));
    return this.states.flatMap(({ momentumBuffer, momentum8 }, i): Named[] => {
      const name = nameEntry(i);
      if (isHostArray(momentumBuffer)) return [{ array: momentumBuffer, name }];
      if (momentum8 === null || copies.has(momentum8)) return [];
      return [{ array: blockOf(momentum8) as unknown as HostArray, name }];
    });
  }

  /** Writes the momentum of a step that has been taken into the caller's values and scales. */
  finish(): void {
    for (const { given, copy } of this.#foreign) copyTo(given, copy);
  }
}

function isMomentum8(entry: unknown): entry is Momentum8 {
  return typeof entry === "object" && entry !== null && "values" in entry && "scales" in entry;
}

function isArray(tensor: Tensor | null): tensor is HostArray {
  return tensor !== null && deviceOf(tensor) === undefined;
}

function nameEntry(index: number): string {
  return `momentum of parameter ${index}`;
}

function checkArray(array: unknown, tag: string, what: string): void {
  if (tagOf(array) !== tag) throw wrongType(`use ${what}`, `they must be of type ${tag}`, array);
  checkBuffer(array as HostArray, what);
}

function copyTo(to: Momentum8, from: Momentum8): void {
  setAll(to.values as unknown as HostArray, from.values);
  setAll(to.scales as unknown as HostArray, from.scales);
}

function spansOf(backend: Backend, arrays: readonly Named[]) {
  const spans = createSpans(arrays.length);
  arrays.forEach(({ array }, i) => {
    const bytes = byteLengthOf(array);
    if (bytes === 0) return;
    spans.starts[i] = backend.address(array);
    spans.ends[i] = spans.starts[i] + bytes;
  });
  return spans;
}
