/** `Float16Array`, which not every runtime has. */

import { cannot } from "./validate.ts";

/**
 * The class.
 *
 * @throws {TypeError} If this runtime has none.
 */
export function float16ArrayClass(): typeof Float16Array {
  if (typeof Float16Array !== "undefined") return Float16Array;
  const instead = "use a newer one, such as Node.js 24";
  throw new TypeError(cannot("use float16", "this runtime has no Float16Array", instead));
}
