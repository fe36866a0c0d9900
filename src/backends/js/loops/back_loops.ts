/** Chooses the loop that goes back through a step; `loops.ts` says why each dtype has its own text. */

import type { WideDtype } from "../../../core/dtype.ts";
import type { Factors, Lines } from "../../../core/rule.ts";
import type { Pullback } from "../../pullback.ts";
import * as back32 from "./float32/back.ts";
import * as back64 from "./float64/back.ts";

/** Goes back through some elements, and writes the running sums of the four derivatives. */
export type BackLoop = (
  lines: Lines,
  f: Factors<number>,
  pullback: Pullback,
  from: number,
  to: number,
  lanes: Float64Array,
) => void;

/** The loop of a dtype. */
export function backLoopOf({ name }: WideDtype): BackLoop {
  return name === "float32" ? back32.goBack : back64.goBack;
}
