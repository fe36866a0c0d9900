/**
 * Records what each step reads if `differentiable` is true, so that it can be differentiated later.
 */

import { copyOf } from "../core/intrinsics.ts";
import { cannot, checkNumber, refusal } from "../core/validate.ts";
import type { Limit } from "../core/validate.ts";
import { isSixteenBit } from "../core/dtype.ts";
import { label } from "../core/parameter.ts";
import type { FloatArray } from "../core/host_array.ts";
import type { Parameter } from "../core/parameter.ts";
import type { WideDtype } from "../core/dtype.ts";
import type { RowView } from "../plan/row_view.ts";
import type { Plan } from "../plan/plan.ts";
import type { RuleOptions } from "../core/rule.ts";

const RECORD_STEPS: Limit = {
  text: "a whole number >= 1 or Infinity",
  holds: (value) => value >= 1 && (Number.isInteger(value) || value === Infinity),
};

/** Copies of what one step read of one parameter. */
export interface RecordedTensor {
  readonly parameter: Parameter;
  /** The parameter's name in error messages. */
  readonly name: string;
  readonly dtype: WideDtype;
  readonly data: FloatArray;
  readonly grad: FloatArray;
  /** The momentum buffer; null at a parameter's first step. */
  readonly buffer: FloatArray | null;
}

/** One group in one step. */
export interface RecordedGroup {
  readonly options: Readonly<RuleOptions>;
  /** Its parameters that had a gradient; null if the group was not differentiable. */
  readonly tensors: readonly RecordedTensor[] | null;
}

/** The groups of one step, in order. */
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
   * @param plan The plan, refreshed and not yet stepped.
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

  /** Runs a function on the steps, and forgets the steps if it succeeds. */
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
   * Refuses what recorded steps would not fit after.
   *
   * @throws {Error} If steps are recorded.
   */
  assertEmpty(doing: string): void {
    const { length } = this.steps;
    if (length === 0) return;
    const what = length === 1 ? "1 step is recorded" : `${length} steps are recorded`;
    throw new Error(cannot(doing, "no step may be recorded", `${what}. Call backward first`));
  }

  /**
   * Refuses a method that would change the steps while `goBack` runs.
   *
   * @param method The method of `SGD`.
   * @throws {Error} If called within `goBack`.
   */
  assertNotInBackward(method: string): void {
    if (!this.#goingBack) return;
    throw new Error(
      cannot(
        `call ${method}`,
        "backward is going back through the recorded steps",
        "call it when backward has returned",
      ),
    );
  }
}

function copyAll(plan: Plan): RecordedStep {
  return plan.groups.map((group, index): RecordedGroup => {
    const { lr, momentum, dampening, weightDecay, decoupledWeightDecay } = group;
    const { nesterov, maximize, sign } = group;
    const options = {
      ...{ lr, momentum, dampening, weightDecay, decoupledWeightDecay },
      ...{ nesterov, maximize, sign },
    };
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
  if (gradientKind === "sparse") throw notRecordable(entry, "sparse");
  if (gradientKind === "device") throw notRecordable(entry, "on a GPU");
  if (isSixteenBit(dtype)) {
    const reason = "differentiable needs float32 or float64";
    throw new TypeError(refusal(`use ${entry.name("data")}`, reason, dtype.name, "type"));
  }
  return {
    parameter,
    // The name is read later, because a getter could undo what the checks before the step have found.
    get name() {
      return label(parameter, index);
    },
    dtype: dtype as WideDtype,
    data: copyOf(entry.data as FloatArray),
    grad: copyOf(grad as FloatArray),
    buffer: entry.isFirst ? null : copyOf(entry.buffer as FloatArray),
  };
}

function notRecordable(entry: RowView, what: string): TypeError {
  return new TypeError(
    cannot(
      `use ${entry.name("grad")}`,
      "it must be an array of float32 or float64 where differentiable is true",
      `it is ${what}`,
    ),
  );
}

/**
 * Checks the limit of a recorder.
 *
 * @throws {TypeError} If it is not a number.
 * @throws {RangeError} If it is neither a whole number >= 1 nor Infinity.
 */
export function checkRecordSteps(value: unknown): asserts value is number {
  checkNumber("recordSteps", value, RECORD_STEPS);
}
