/** What error messages call an array of a parameter. */

import { label } from "./parameter.ts";

/** The arrays of a parameter. */
export type ArrayName = "data" | "grad" | "momentum buffer" | "master weight";

/** Such as `grad of parameter 3 ("w")`. */
export function nameArray(
  parameter: { readonly name?: string },
  index: number,
  array: ArrayName,
): string {
  return `${array} of ${label(parameter, index)}`;
}
