/** What the programs of this folder share. */

/** The options of all optimizers. */
export const OPTIONS = { lr: 1e-3, momentum: 0.9, weightDecay: 1e-4 };

/** Steps that a sample is the median of, after one that is not timed; `torch_gloo.py` takes as many. */
export const STEPS = 5;

/** The row of a step of one element, which is as good as nothing but messages. */
export const ONE_ELEMENT = "one element";

/** The row of the 64 bytes that ranks exchange before anything that they do together. */
export const HEADER = "a step's header";

/** Rows of what is too short to be compared with torch's step. */
export const TINY: readonly string[] = [ONE_ELEMENT, HEADER];

/** The median of some numbers. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
