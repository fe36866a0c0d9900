/** The names of an optimizer's parameters: each identifies one, also in a file. */

import { checkString, refusal } from "../core/validate.ts";
import { isReserved } from "./tensor_names.ts";

/** The most UTF-16 units of a name: the header of a file holds each name twice. */
const MAX_LENGTH = 65_535;

/** A parameter that has no name yet, or any other value that somebody gave as one. */
type Nameable = { readonly name?: unknown } | null | undefined;

/**
 * Reads the names of parameters that are to be added, once: what the parameters call themselves later
 * does not change which state is theirs.
 *
 * @param added The parameters, which need not have been checked.
 * @param known The parameters that there are.
 * @param names Their names.
 * @returns The names of those to be added, in order; undefined where there is none.
 * @throws {TypeError} If a name is not a string.
 * @throws {RangeError} If two parameters have the same name, or no file could hold one.
 */
export function readNames(
  added: readonly unknown[],
  known: readonly unknown[],
  names: readonly (string | undefined)[],
): (string | undefined)[] {
  const read = added.map((parameter, i) => readName(parameter, known.length + i));
  const all = [...names, ...read];
  const owner = (index: number) =>
    index < known.length ? known[index] : added[index - known.length];
  const holders = new Map<string, number>();
  for (const [index, name] of all.entries()) {
    if (name === undefined) continue;
    const holder = holders.get(name);
    if (holder === undefined) holders.set(name, index);
    // A parameter that is given twice is refused as such, later.
    else if (owner(holder) !== owner(index)) throw doubled(holder, index, name);
  }
  return read;
}

function readName(parameter: unknown, index: number): string | undefined {
  const name = (parameter as Nameable)?.name;
  if (name === undefined) return undefined;
  checkString(`use parameter ${index}`, name, "name");
  if (name.length > MAX_LENGTH) {
    throw refuse(index, `have at most ${MAX_LENGTH} UTF-16 units`, name.length, "length");
  }
  if (!name.isWellFormed()) throw refuse(index, "have no lone surrogates", shown(name));
  if (isReserved(name)) {
    throw refuse(index, "not be one that checkpoint files use for tensors of Descent", shown(name));
  }
  return name;
}

function doubled(first: number, second: number, name: string): RangeError {
  return refuse(second, `differ from that of parameter ${first}`, shown(name));
}

function refuse(index: number, what: string, shown: string | number, kind?: string): RangeError {
  return new RangeError(refusal(`use parameter ${index}`, `name must ${what}`, shown, kind));
}

function shown(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 79)}…` : name);
}
