/**
 * The loops over elements, of which each dtype has a text of its own.
 *
 * V8 compiles a function for the types of values that its text has met so far. A loop that has met
 * arrays of two dtypes, or a rule that has met two arithmetics, is 2 to 8 times slower from then on,
 * for as long as the process lives. Closures do not help, as all that come from one place in a text
 * share what V8 has learned there; nor may a page with a content security policy make text at run
 * time. So the loops of float32 are written by hand, `deno task loops` copies them for the other
 * dtypes, with `src/core/rule.ts`, and a test holds the copies equal.
 */

import type { Dtype, WideDtype } from "../../../core/dtype.ts";
import type { FloatArray } from "../../../core/host_array.ts";
import type { Factors, Lines } from "../../../core/rule.ts";
import type { Preparation } from "../preparation.ts";
import * as bfloat16 from "./bfloat16/step.ts";
import * as float16 from "./float16/step.ts";
import { add as add32 } from "./float32/gradients.ts";
import * as step32 from "./float32/step.ts";
import { add as add64 } from "./float64/gradients.ts";
import * as step64 from "./float64/step.ts";

/** The loops of a step. Those of 16-bit types round every operation, and take values as float32. */
export interface StepLoops {
  /** Steps one tensor, whose momentum buffer begins at element `at` of an array. */
  step(
    lines: Lines,
    f: Factors<number>,
    data: FloatArray,
    grad: FloatArray,
    buffer: FloatArray | null,
    at: number,
  ): void;
  /** Writes prepared gradients to an array that is at least as long, with each product rounded. */
  prepare(grad: FloatArray, out: FloatArray, preparation: Preparation): void;
}

/** The loops of a dtype that is computed in as it is. */
export interface WideLoops extends StepLoops {
  /** Adds an array to another of the same length. */
  add(sum: FloatArray, term: FloatArray): void;
}

const WIDE32 = { ...step32, add: add32 } as WideLoops;

const WIDE64 = { ...step64, add: add64 } as WideLoops;

/** The loops of a dtype. Steps of small tensors ask often: comparing names is faster than a table. */
export function loopsOf(dtype: WideDtype): WideLoops;

export function loopsOf(dtype: Dtype): StepLoops;

export function loopsOf({ name }: Dtype): StepLoops {
  if (name === "float32") return WIDE32;
  if (name === "float64") return WIDE64;
  return (name === "float16" ? float16 : bfloat16) as StepLoops;
}
