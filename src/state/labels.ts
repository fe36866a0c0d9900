/** What reports and errors call parameters. */

import { parameterName } from "./tensor_names.ts";

/** Gives a parameter's own name, or what stands for it. */
export type Label = (name: string | null | undefined, index: number) => string;

/**
 * How to call parameters: by their names, and by their indices where they have none. If one of them
 * is named like an index, the others are `param.0` and so on, as in files: no parameter of an
 * optimizer can have such a name.
 *
 * @param names The names of both sides.
 */
export function labelsFor(names: Iterable<string | null | undefined>): Label {
  const isAmbiguous = [...names].some((name) => /^\d+$/.test(name ?? ""));
  return isAmbiguous ? parameterName : (name, index) => name ?? String(index);
}
