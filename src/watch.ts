/** Sees to it that the arrays of a step stay as they are while it runs. */

import type { Parameter, SparseGrad, Tensor } from "./parameter.ts";
import type { Entry } from "./entry.ts";
import type { Plan } from "./plan.ts";
import { isSparse } from "./sparse.ts";

/** An array of a step, and what it was when the step began. */
interface Held {
  readonly name: string;
  readonly length: number;
  readonly array: Tensor;
  /** What the parameter holds now in its place. */
  readonly now: () => unknown;
  readonly then: unknown;
}

/** What can be asked of the arrays of a step while it runs. */
export interface Watch {
  /** The arrays. */
  readonly arrays: readonly Tensor[];
  /** Throws if one has been replaced, detached or resized. */
  checkAll(): void;
  /** Throws if one has been detached or resized. */
  checkAttached(): void;
}

/**
 * Remembers the arrays of a plan that is about to be stepped, and holds them, so that none is
 * collected.
 */
export function watch({ entries, sparse }: Plan): Watch {
  const values = new Map(sparse.steps.map(({ row, values }) => [row, values]));
  const held = entries.flatMap((entry) => holdEntry(entry, values.get(entry.index) ?? null));
  const checkAttached = () => {
    for (const { name, length, array } of held) {
      if (array.length !== length) throw changeError(name, "detached or resized");
    }
  };
  const checkAll = () => {
    for (const { name, now, then } of held) {
      if (now() !== then) throw changeError(name, "replaced");
    }
    checkAttached();
  };
  return { arrays: held.map(({ array }) => array), checkAll, checkAttached };
}

function holdEntry(entry: Entry, values: Tensor | null): Held[] {
  const { buffer, length, state } = entry;
  const { data, grad }: Parameter<Tensor> | { data: Tensor; grad: SparseGrad } = entry.parameter;
  const held: Held[] = [hold(entry.name("data"), data, length, () => entry.parameter.data)];
  if (grad !== null) {
    const array = isSparse(grad) ? values! : grad;
    const now = () => entry.parameter.grad;
    held.push({ name: entry.name("grad"), length: array.length, array, now, then: grad });
  }
  if (buffer !== null && state.momentumBuffer === buffer) {
    const now = () => state.momentumBuffer;
    held.push(hold(entry.name("momentum buffer"), buffer, length, now));
  }
  const { master } = entry;
  if (master !== null && state.masterWeight === master) {
    const now = () => state.masterWeight;
    held.push(hold(entry.name("master weight"), master, length, now));
  }
  return held;
}

function hold(name: string, array: Tensor, length: number, now: () => unknown): Held {
  return { name, length, array, now, then: array };
}

function changeError(name: string, what: string): Error {
  return new Error(
    `Cannot finish the step as ${name} was ${what} while it ran: await stepAsync before arrays ` +
      "change",
  );
}
