/** Sees to it that the arrays of a step stay as they are while it runs. */

import type { Tensor } from "./parameter.ts";
import type { Entry } from "./entry.ts";
import type { Plan } from "./plan.ts";

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
  return { checkAll, checkAttached };
}

function holdEntry(entry: Entry, values: Tensor | null): Held[] {
  const { data, grad, buffer, master, length, parameter, state } = entry;
  const held = [hold(entry.name("data"), data!, length, () => parameter.data)];
  if (values !== null) {
    const then = parameter.grad;
    const now = () => parameter.grad;
    held.push({ name: entry.name("grad"), length: values.length, array: values, now, then });
  } else if (grad !== null) {
    held.push(hold(entry.name("grad"), grad, length, () => parameter.grad));
  }
  if (buffer !== null && state.momentumBuffer === buffer) {
    const name = entry.name("momentum buffer");
    held.push(hold(name, buffer, length, () => state.momentumBuffer));
  }
  if (master !== null && state.masterWeight === master) {
    held.push(hold(entry.name("master weight"), master, length, () => state.masterWeight));
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
