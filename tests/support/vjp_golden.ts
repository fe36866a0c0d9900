/** Reads what torch's autograd made of steps, for the tests of `sgdVjp` and `SGD.backward`. */

import { assertEquals } from "@std/assert";
import type { FloatArray, GroupOptions, SgdFunctionOptions } from "@descent/sgd";
import { fromHex, generate } from "./golden.ts";
import type { DtypeName } from "./golden.ts";

/** Some steps of one parameter. `golden/make_vjp.py` writes these. */
export interface VjpCase {
  readonly dtype: DtypeName;
  readonly seed: number;
  /** Whether the first of the steps is the parameter's first. */
  readonly first: boolean;
  readonly options: GroupOptions & { lr: number };
  readonly param: string;
  readonly buffer: string | null;
  readonly grads: readonly string[];
  readonly lr: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
}

const [{ size, steps }, ...read] = Deno
  .readTextFileSync(new URL("../golden/vjp.jsonl", import.meta.url))
  .trim().split("\n").map((line) => JSON.parse(line)) as [
    { size: number; steps: number },
    ...VjpCase[],
  ];

/** All of them. */
export const vjpCases: readonly VjpCase[] = read;

/** How many steps each has. */
export const STEPS = steps;

const OFF = { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false };

/** The options in full. */
export const fullOptions = (c: VjpCase): SgdFunctionOptions => ({ ...OFF, ...c.options });

/** The inputs, made again. */
export function inputs(c: VjpCase) {
  const make = (tensor: number, step: number) =>
    generate(c.dtype, "ordinary", [c.seed, tensor, step], size);
  const buffered = (c.options.momentum ?? 0) !== 0;
  return {
    param: make(0, 0),
    grads: Array.from({ length: steps }, (_, i) => make(0, i + 1)),
    buffer: buffered && !c.first ? make(1, 0) : null,
    paramCotangent: make(2, 0),
    bufferCotangent: buffered ? make(3, 0) : null,
  };
}

/** Compares with torch's result: to a few units of the dtype of values that reach about 100. */
export function assertNear(
  c: VjpCase,
  actual: FloatArray | number | null,
  golden: string | number | null,
  what: string,
): void {
  if (actual === null || golden === null) return assertEquals(actual, golden, what);
  const expected = typeof golden === "string" ? [...fromHex(c.dtype, golden)] : [golden];
  const tolerance = c.dtype === "float32" ? 4e-6 : 1e-14;
  const values = typeof actual === "number" ? [actual] : [...actual];
  assertEquals(values.length, expected.length);
  values.forEach((x, i) => {
    const close = Math.abs(x - expected[i]) <= tolerance * (10 + Math.abs(expected[i]));
    if (!close) assertEquals(x, expected[i], `${what}: ${JSON.stringify(c.options)} ${c.dtype}`);
  });
}
