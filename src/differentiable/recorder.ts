/** What `differentiable: true` keeps of each step, so that gradients can flow back through it. */

import { copyOf } from "../core/intrinsics.ts";
import { describe } from "../core/validate.ts";
import { isSixteenBit } from "../core/dtype.ts";
import { label } from "../core/parameter.ts";
import type { FloatArray } from "../core/host_array.ts";
import type { Parameter } from "../core/parameter.ts";
import type { WideDtype } from "../core/dtype.ts";
import type { RowView } from "../plan/row_view.ts";
import type { Plan } from "../plan/plan.ts";
import type { RuleOptions } from "../core/rule.ts";

/** What one step read of one parameter: copies. */
export interface RecordedTensor {
  readonly parameter: Parameter;
  /** What error messages call the parameter. */
  readonly name: string;
  readonly dtype: WideDtype;
  readonly data: FloatArray;
  readonly grad: FloatArray;
  /** Null at a first step. */
  readonly buffer: FloatArray | null;
}

/** One group in one step. */
export interface RecordedGroup {
  readonly options: Readonly<RuleOptions>;
  /** Those of its parameters that had a gradient; null if the group was not differentiable. */
  readonly tensors: readonly RecordedTensor[] | null;
}

/** One step: its groups, in their order. */
export type RecordedStep = readonly RecordedGroup[];

/** The steps that have been recorded, oldest first, up to a limit. */
export class Recorder {
  readonly steps: RecordedStep[] = [];
  readonly #limit: number;
  #goingBack = false;

  /** @param limit The most steps to keep; those before them are forgotten. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Copies what a step is about to read, if any of its groups is differentiable.
   *
   * @param plan Refreshed, and not stepped yet.
   * @throws {TypeError} If a gradient is sparse, on a device or of a 16-bit type.
   */
  record(plan: Plan): RecordedStep | null {
    const { groups } = plan;
    for (let i = 0; i < groups.length; i++) {
      if (groups[i].differentiable) return copyAll(plan);
    }
    return null;
  }

  /** Keeps a step that has been taken. */
  keep(step: RecordedStep): void {
    this.steps.push(step);
    if (this.steps.length > this.#limit) this.steps.shift();
  }

  /** Runs what goes back through the steps, and forgets them if it succeeds. */
  goBack<Result>(through: (steps: readonly RecordedStep[]) => Result): Result {
    this.assertNotInBackward("backward");
    this.#goingBack = true;
    try {
      const result = through(this.steps);
      this.steps.length = 0;
      return result;
    } finally {
      this.#goingBack = false;
    }
  }

  /**
   * Refuses what would change the steps while they are being gone through.
   *
   * @param method The method of `SGD` that would.
   * @throws {Error} If called within `goBack`.
   */
  assertNotInBackward(method: string): void {
    if (!this.#goingBack) return;
    throw new Error(
      `Cannot call ${method} as backward is going back through the recorded steps: ` +
        "call it when backward has returned",
    );
  }
}

function copyAll(plan: Plan): RecordedStep {
  return plan.groups.map((group, index): RecordedGroup => {
    const { lr, momentum, dampening, weightDecay, nesterov, maximize, sign } = group;
    const options = { lr, momentum, dampening, weightDecay, nesterov, maximize, sign };
    if (!group.differentiable) return { options, tensors: null };
    const stepping = [...plan.rowViews()].filter((entry) =>
      entry.group === index && entry.gradientKind !== "none"
    );
    return { options, tensors: stepping.map(copy) };
  });
}

function copy(entry: RowView): RecordedTensor {
  const { grad, gradientKind, dtype, index } = entry;
  const parameter = entry.parameter as Parameter;
  if (gradientKind === "sparse") throw refusal(entry, "sparse");
  if (gradientKind === "device") throw refusal(entry, "on a GPU");
  if (isSixteenBit(dtype)) throw refusal(entry, dtype.name);
  return {
    parameter,
    // Read later, as a getter could take away what the step has been checked to have.
    get name() {
      return label(parameter, index);
    },
    dtype: dtype as WideDtype,
    data: copyOf(entry.data as FloatArray),
    grad: copyOf(grad as FloatArray),
    buffer: entry.isFirst ? null : copyOf(entry.buffer as FloatArray),
  };
}

function refusal(entry: RowView, what: string): TypeError {
  return new TypeError(
    `Cannot use ${entry.name("grad")} as it must be an array of float32 or float64 where ` +
      `differentiable is true: ` +
      `it is ${what}`,
  );
}

/**
 * Checks the limit of a recorder.
 *
 * @throws {TypeError} If it is no number.
 * @throws {RangeError} If it is no whole number >= 1 and not Infinity.
 */
export function checkLimit(value: unknown): asserts value is number {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot set recordSteps as it must be a number: current value is ${describe(value)}`,
    );
  }
  if (!(value >= 1 && (Number.isInteger(value) || value === Infinity))) {
    throw new RangeError(
      `Cannot set recordSteps as it must be a whole number >= 1 or Infinity: ` +
        `current value is ${value}`,
    );
  }
}
