/** The result of a step: norms, clip coefficients, and whether it was skipped. */

import type { DeviceReport } from "../core/device.ts";
import { joinMeasures, measureOf, normOf } from "../core/norm.ts";
import type { StepRequest } from "./options.ts";

/**
 * What the last step did.
 *
 * @category Optimizer
 */
export interface StepReport {
  /** Whether the step was skipped because a gradient was not finite; nothing was updated then. */
  readonly skipped: boolean;
  /** The norm of all unscaled gradients before clipping; null if it was not measured. */
  readonly gradNorm: number | null;
  /** The norm of each group, in order; null if it was not measured. */
  readonly groupNorms: readonly number[] | null;
  /** The clip coefficient of each group, <= 1; null without `maxNorm`. */
  readonly clipCoefficients: readonly number[] | null;
}

/** The report of a step that measured nothing. */
export const NOTHING_MEASURED: StepReport = Object.freeze({
  skipped: false,
  gradNorm: null,
  groupNorms: null,
  clipCoefficients: null,
});

/** The report of a step that is skipped for what was found before it. */
export const SKIPPED_UNMEASURED: StepReport = Object.freeze({ ...NOTHING_MEASURED, skipped: true });

/**
 * What gradients of this norm are multiplied by, as by torch; NaN if the norm is. Where nothing is to
 * be clipped it is 1 in any case, while torch's is NaN for an infinite norm.
 */
export function clipCoefficient(maxNorm: number, norm: number): number {
  if (maxNorm === Infinity) return 1;
  return Math.min(1, maxNorm / (norm + 1e-6));
}

/** The array that receives what `decide` reads, of so many groups. */
export function sumsOf(
  { groups }: { readonly groups: { readonly length: number } },
): Float64Array<ArrayBuffer> {
  return new Float64Array(2 * groups.length);
}

/**
 * Decides from the norms of `Norms.norm` whether to skip the step, and how to clip.
 *
 * @param sums For each group what its norm is made of, and 1 if something is not finite.
 */
export function decide(
  sums: Float64Array,
  { maxNorm, normType, perGroup, checkFinite }: StepRequest,
): StepReport {
  const groupNorms: number[] = [];
  let all = 0;
  let isFinite = true;
  for (let i = 0; i < sums.length; i += 2) {
    groupNorms.push(normOf(normType, sums[i]));
    all = joinMeasures(normType, all, sums[i]);
    isFinite &&= sums[i + 1] === 0;
  }
  const gradNorm = normOf(normType, all);
  if (maxNorm === null) {
    return { skipped: checkFinite && !isFinite, gradNorm, groupNorms, clipCoefficients: null };
  }
  const clip = (norm: number) => clipCoefficient(maxNorm, perGroup ? norm : gradNorm);
  const skipped = checkFinite && !(isFinite && Number.isFinite(gradNorm));
  return { skipped, gradNorm, groupNorms, clipCoefficients: groupNorms.map(clip) };
}

/** What a device decided, as the report of a step. */
export function reportOf(
  { skipped, groupNorms, clipCoefficients }: DeviceReport,
  { maxNorm, normType }: StepRequest,
): StepReport {
  const measures = groupNorms.map((norm) => measureOf(normType, norm));
  const all = measures.reduce((a, b) => joinMeasures(normType, a, b), 0);
  const gradNorm = normOf(normType, all);
  return {
    ...{ skipped, gradNorm, groupNorms },
    clipCoefficients: maxNorm === null ? null : clipCoefficients,
  };
}
