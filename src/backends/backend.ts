/** What a backend does. */

import type { NormType } from "../core/device.ts";
import type { BackendName } from "../core/hyperparameters.ts";
import type { HostArray } from "../core/host_array.ts";
import type { HyperGradients, Pullback } from "./pullback.ts";
import type { AverageUpdate } from "../plan/averages.ts";
import type { Plan } from "../plan/plan.ts";
import type { RuleOptions } from "../core/rule.ts";
import type { CallOptions, CallRow, Gradients } from "../plan/layout.ts";
import type { Room } from "./js/wasm/workspace.ts";

/** What is measured of gradients. */
export interface Measure {
  /** What they are multiplied by before. */
  readonly inverseScale: number;
  /** Which norm is taken: its sum of magnitudes or of squares, or the largest magnitude. */
  readonly normType: NormType;
}

/** What is done to gradients, besides clipping their norm. */
export type Changes = Pick<CallOptions, "inverseScale" | "maxValue">;

/** An implementation of the rule over the tables of a plan. */
export interface Backend {
  readonly name: BackendName;
  /** Where an array's bytes begin, on a scale on which arrays that share memory overlap. */
  address(array: HostArray | Uint32Array<ArrayBuffer>): number;
  /** Makes memory of zeros for arrays of the optimizer's own, where its steps are fast. */
  allocate(bytes: number): Room<ArrayBufferLike>;
  /**
   * One step of the rows `from <= row < to` of a refreshed plan.
   *
   * @param call The plan's call row: what it and the groups' coefficients do to gradients. Null if there
   * is nothing to do to them, and no random bits are drawn.
   */
  step(plan: Plan, from: number, to: number, call: CallRow | null): void;
  /**
   * As `step` with the plan's call row, on another thread if the backend has one. The memory of all
   * arrays that are stepped stays alive until the promise settles.
   */
  stepAsync(plan: Plan, from: number, to: number): Promise<void>;
  /** How it measures and prepares gradients; null if TypeScript does that for it. */
  readonly norms: Norms | null;
  /** How it goes back through a step; null if TypeScript does that for it. */
  readonly goBack: GoBack | null;
  /** How it updates averages outside a step; null if TypeScript does that for it. */
  readonly average: UpdateAverages | null;
}

/** Averages of parameters, as a native call takes them. */
export interface AverageTable {
  /** The tensor table of the parameters. */
  readonly rows: BigUint64Array<ArrayBuffer>;
  readonly count: number;
  /** For each row the address of its average, or 0. */
  readonly words: BigUint64Array<ArrayBuffer>;
}

/** Updates the averages of a table. */
export type UpdateAverages = (table: AverageTable, update: AverageUpdate) => void;

/**
 * What is done to gradients outside a step's pass. Backends that leave it to TypeScript do not import
 * it, so that a bundle without such calls does not have it: `backends/norms.ts`.
 */
export interface Norms {
  /**
   * Measures gradients times `inverseScale`: `sums[2g]` becomes that of group g and what it was before,
   * as a norm of that type puts parts together. `sums[2g + 1]` becomes 1 if one of them is infinite or
   * NaN, before or after the multiplication.
   */
  norm(gradients: Gradients, measure: Measure, sums: Float64Array<ArrayBuffer>): void;
  /**
   * As `norm`, on another thread if the backend has one.
   *
   * @param checkAttached Throws if an array has been detached. It is called between the native calls, as
   * the user's code can run there.
   */
  normAsync(
    plan: Plan,
    measure: Measure,
    sums: Float64Array<ArrayBuffer>,
    checkAttached: () => void,
  ): Promise<void>;
  /**
   * Multiplies gradients, in place, by `inverseScale` and by the coefficient of their group, and clamps
   * them to magnitudes of at most `maxValue`.
   */
  prepare(gradients: Gradients, changes: Changes): void;
}

/** Differentiates one step of some tensors; returns the derivatives with respect to its options. */
export type GoBack = (
  pullbacks: readonly Pullback[],
  h: Readonly<RuleOptions>,
) => HyperGradients;
