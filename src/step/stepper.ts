/** Runs optimizer steps: synchronously, with options, or asynchronously on native threads. */

import type { Backend } from "../backends/backend.ts";
import { memoryOf, stepRows, stepRowsAsync } from "../backends/dispatch.ts";
import type { Precision } from "../core/rounding.ts";
import type { RecordedStep, Recorder } from "../differentiable/recorder.ts";
import { lockMemory } from "../memory/locks.ts";
import { memoryIn } from "../plan/aliasing.ts";
import type { CallRow } from "../plan/layout.ts";
import { Plan } from "../plan/plan.ts";
import { forEachRowRange } from "../plan/row_ranges.ts";
import { guardArrays } from "./array_guard.ts";
import type { ArrayGuard } from "./array_guard.ts";
import { decide, NOTHING_MEASURED } from "./clipping.ts";
import type { StepReport } from "./clipping.ts";
import { NEUTRAL_REQUEST } from "./options.ts";
import type { StepRequest } from "./options.ts";
import { checkRequest } from "./refusals.ts";
import { zeroRest, zeroSparse } from "./zero_grad.ts";

/** Why nothing else can begin, by what is going on. */
const BUSY = {
  step: "a step is running: await the promise of stepAsync first",
  reading: "the optimizer is reading its parameters: a getter or setter of them cannot do this",
} as const;

/** What a step keeps besides the plan; most steps keep nothing. */
interface Pending {
  /** What `differentiable` keeps of the step. */
  readonly record: RecordedStep | null;
  /** Gives parameters the sparse gradients back that were zeroed, if the step is not taken. */
  readonly restore: (() => void) | null;
}

/** Takes the steps of one optimizer, one at a time. */
export class Stepper {
  readonly plan: Plan;
  /** Another number after every change that a step makes. */
  revision = 0;
  /** What the last step did; null before the first one. */
  lastStep: StepReport | null = null;
  #activity: keyof typeof BUSY | null = null;
  /** The call row of the current step; null if it leaves gradients alone and draws no random bits. */
  #call: CallRow | null = null;
  readonly #backend: Backend;
  readonly #recorder: Recorder;
  /** The row after the last one that the current step has stepped. */
  #stepped = 0;
  readonly #stepRange = (from: number, to: number) => {
    stepRows(this.#backend, this.plan, from, to, this.#call);
    this.#stepped = to;
  };

  constructor(backend: Backend, recorder: Recorder, precision: Precision) {
    this.#backend = backend;
    this.#recorder = recorder;
    this.plan = new Plan(memoryOf(backend), precision);
  }

  /**
   * Refuses what would interfere with what is going on.
   *
   * @throws {Error} If an asynchronous step is running, or a getter is being called.
   */
  checkIdle(doing: string): void {
    if (this.#activity !== null) throw new Error(`Cannot ${doing} as ${BUSY[this.#activity]}`);
  }

  /** Reads parameters. Their getters may call anything but what `checkIdle` guards. */
  withReentrancyGuard<Result>(body: () => Result): Result {
    this.#activity = "reading";
    try {
      return body();
    } finally {
      this.#activity = null;
    }
  }

  /** Takes a step. One by the neutral request allocates nothing, unless rows or options ask for it. */
  step(request: StepRequest): void {
    const pending = this.#begin(request);
    let report: StepReport;
    try {
      report = this.#run(request);
    } catch (error) {
      this.plan.commitRows(this.#stepped);
      pending?.restore?.();
      throw error;
    }
    this.#finish(report, pending);
    if (request.zeroGrad) zeroRest(this.plan, report);
  }

  /** Takes a step on another thread. */
  async stepAsync(request: StepRequest): Promise<StepReport> {
    const pending = this.#begin(request);
    const unlock = lockMemory(memoryIn(this.plan));
    this.#activity = "step";
    try {
      const arrays = guardArrays(this.plan);
      const report = await this.#runAsync(request, arrays).catch((error) => {
        pending?.restore?.();
        throw error;
      });
      this.#finish(report, pending);
      arrays.checkAll();
      if (request.zeroGrad) zeroRest(this.plan, report);
      for (const device of this.plan.devices) await device.synchronize();
      return report;
    } finally {
      unlock();
      this.#activity = null;
    }
  }

  /** Checks everything that a step relies on, before anything is written. */
  #begin(request: StepRequest): Pending | null {
    const { plan } = this;
    this.#stepped = 0;
    this.#activity = "reading";
    try {
      plan.refresh();
      checkRequest(plan, request);
      const record = this.#recorder.record(plan);
      if (record !== null) plan.checkAttached(); // names of parameters may have getters
      const restore = request.zeroGrad ? zeroSparse(plan) : null;
      this.revision++;
      return record === null && restore === null ? null : { record, restore };
    } finally {
      this.#activity = null;
    }
  }

  #run(request: StepRequest): StepReport {
    const { plan } = this;
    let report = NOTHING_MEASURED;
    if (isMeasured(request)) {
      const sums = sumsOf(plan);
      this.#backend.norm(plan, request.inverseScale, sums);
      report = decide(sums, request);
    }
    if (report.skipped) return report;
    this.#call = request === NEUTRAL_REQUEST && !plan.isRandom ? null : plan.callRow;
    if (this.#call !== null) plan.writeCall(request, report.clipCoefficients);
    plan.begin();
    forEachRowRange(plan, this.#stepRange);
    return report;
  }

  /**
   * Until something is written, an array that is not as it was ends the step. Then all rows are stepped
   * whatever `foreach` says, by calls that are all made before any of the user's code can run: no step
   * is left half taken.
   */
  async #runAsync(request: StepRequest, arrays: ArrayGuard): Promise<StepReport> {
    const { plan } = this;
    let report = NOTHING_MEASURED;
    arrays.checkAll();
    if (isMeasured(request)) {
      const sums = sumsOf(plan);
      await this.#backend.normAsync(plan, request.inverseScale, sums, arrays.checkAttached);
      report = decide(sums, request);
      if (report.skipped) return report;
      arrays.checkAll();
    }
    plan.writeCall(request, report.clipCoefficients);
    plan.begin();
    await stepRowsAsync(this.#backend, plan, 0, plan.table.count);
    return report;
  }

  #finish(report: StepReport, pending: Pending | null): void {
    this.lastStep = report;
    if (report.skipped) return;
    this.plan.commit();
    if (pending !== null && pending.record !== null) this.#recorder.keep(pending.record);
  }
}

function isMeasured({ checkFinite, maxNorm }: StepRequest): boolean {
  return checkFinite || maxNorm !== null;
}

/** Room for what `Backend.norm` finds. */
function sumsOf({ groups }: Plan): Float64Array<ArrayBuffer> {
  return new Float64Array(2 * groups.length);
}
