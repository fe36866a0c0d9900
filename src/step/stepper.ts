/** Runs optimizer steps: synchronously, with options, or asynchronously on native threads. */

import type { Backend } from "../backends/backend.ts";
import { memoryOf, queueDecided, stepRows, stepRowsAsync } from "../backends/dispatch.ts";
import { normsOf } from "../backends/norms.ts";
import type { Device } from "../core/dtype.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot } from "../core/validate.ts";
import type { RecordedStep, Recorder } from "../differentiable/recorder.ts";
import { lockMemory } from "../memory/locks.ts";
import { addGradients } from "../plan/addends.ts";
import { memoryIn } from "../plan/aliasing.ts";
import { NOTHING_ADDED } from "../plan/layout.ts";
import type { CallRow, Gradients } from "../plan/layout.ts";
import { Plan } from "../plan/plan.ts";
import { forEachRowRange } from "../plan/row_ranges.ts";
import { guardArrays } from "./array_guard.ts";
import type { ArrayGuard } from "./array_guard.ts";
import { decide, NOTHING_MEASURED, reportOf, SKIPPED_UNMEASURED, sumsOf } from "./clipping.ts";
import type { StepReport } from "./clipping.ts";
import { isMeasured, NEUTRAL_REQUEST } from "./options.ts";
import type { StepRequest } from "./options.ts";
import { checkRequest, checkTogether } from "./refusals.ts";
import { SparseSums, tabulateSums } from "./sparse_gradients.ts";
import type { StepAverage } from "./step_average.ts";
import type { Together } from "./together.ts";
import { zeroRest, zeroSparse } from "./zero_grad.ts";

/** Why nothing else can begin, by the activity that is running. */
const BUSY = {
  step: "a step is running: await the promise of stepAsync first",
  reading: "the optimizer is reading its parameters: a getter or setter of them cannot do this",
} as const;

/** What a step keeps besides the plan; most steps keep nothing. */
interface Pending {
  /** What `differentiable` keeps of the step. */
  readonly record: RecordedStep | null;
  /** Gives parameters their zeroed sparse gradients back, if the step is not taken. */
  readonly restore: (() => void) | null;
  /** What measures the gradients and decides about the step, if it is not the host. */
  readonly device: Device | null;
}

/** A step that the host is done with. */
interface Taken {
  readonly report: StepReport;
  /** Waits for devices that may not be. */
  readonly finished: Promise<unknown>;
}

const NOTHING_QUEUED = Promise.resolve();

/** Takes the steps of one optimizer, one at a time. */
export class Stepper {
  readonly plan: Plan;
  /** A counter that changes with every step and every change of state. */
  revision = 0;
  /** How many steps have begun. */
  steps = 0;
  /** What the last step did; null before the first one, and if only a device knows. */
  lastStep: StepReport | null = null;
  #activity: keyof typeof BUSY | null = null;
  /** The call row of the current step; null if it leaves gradients alone and draws no random bits. */
  #call: CallRow | null = null;
  /** What the current step asks of devices; null for nothing. */
  #request: StepRequest | null = null;
  /** Lets go of the average of the current step. */
  #letGo: (() => void) | null = null;
  /** The sums of sparse gradients that a step has measured or changed; null before the first one. */
  #sums: SparseSums | null = null;
  readonly #backend: Backend;
  /** What takes the steps, if all ranks of a world take them together. */
  readonly #together: Together | null;
  readonly #recorder: Recorder;
  /** The row after the last one that the current step has stepped. */
  #stepped = 0;
  readonly #stepRange = (from: number, to: number) => {
    stepRows(this.#backend, this.plan, from, to, this.#call, this.#request);
    this.#stepped = to;
  };

  constructor(
    backend: Backend,
    recorder: Recorder,
    precision: Precision,
    together: Together | null,
  ) {
    this.#backend = backend;
    this.#together = together;
    this.#recorder = recorder;
    this.plan = new Plan(memoryOf(backend), precision);
  }

  /**
   * Refuses calls that would interfere with a running step or with getters.
   *
   * @throws {Error} If an asynchronous step is running, or a getter is being called.
   */
  checkIdle(doing: string): void {
    if (this.#activity !== null) throw new Error(cannot(doing, BUSY[this.#activity]));
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

  /** Takes a step. With the neutral request it allocates nothing, unless rows or options need it. */
  step(request: StepRequest): void {
    const pending = this.#begin(request);
    if (pending !== null && pending.device !== null) return this.#leaveTo(pending.device, request);
    let report: StepReport;
    try {
      report = this.#run(request);
    } catch (error) {
      this.plan.commitRows(this.#stepped);
      this.#forget();
      pending?.restore?.();
      throw error;
    }
    try {
      this.#finish(report, pending, false);
      if (request.zeroGrad) zeroRest(this.plan, report);
    } finally {
      this.#forget();
    }
  }

  /** Queues a step on the device that decides about it. */
  #leaveTo(device: Device, request: StepRequest): void {
    queueDecided(device, this.plan, request);
    this.plan.commitUnsure();
    this.lastStep = null;
  }

  /** Takes a step on another thread. */
  async stepAsync(request: StepRequest): Promise<StepReport> {
    const pending = this.#begin(request);
    const unlock = lockMemory(memoryIn(this.plan));
    this.#activity = "step";
    try {
      const arrays = guardArrays(this.plan);
      const device = pending?.device ?? null;
      const running = device === null
        ? this.#runAsync(request, arrays)
        : this.#runOn(device, request);
      const { report, finished } = await running.catch((error) => {
        pending?.restore?.();
        throw error;
      });
      this.#finish(report, pending, true);
      arrays.checkAll();
      if (request.zeroGrad) zeroRest(this.plan, report);
      await finished.catch((error) => {
        this.lastStep = null; // nobody knows what the devices did
        throw error;
      });
      return report;
    } finally {
      unlock();
      this.#forget();
      this.#activity = null;
    }
  }

  /** Checks everything that a step relies on, before anything is written. */
  #begin(request: StepRequest): Pending | null {
    const { plan } = this;
    this.#stepped = 0;
    this.#activity = "reading";
    try {
      this.#forget(); // an error may have left something of an earlier step
      plan.refresh();
      const device = checkRequest(plan, request);
      if (this.#together !== null) checkTogether(plan);
      const { addGradients: lists, average, reads, zeroGrad } = request;
      if (lists.length > 0) addGradients(plan, lists, zeroGrad);
      if (reads !== null && plan.sparse.steps.length > 0) {
        (this.#sums ??= new SparseSums()).put(plan);
      }
      if (average !== null) this.#bindAverage(average, device);
      const record = this.#recorder.record(plan);
      if (record !== null) plan.checkAttached(); // names of parameters may have getters
      const restore = request.zeroGrad ? zeroSparse(plan) : null;
      this.revision++;
      this.steps++;
      if (record === null && restore === null && device === null) return null;
      return { record, restore, device };
    } catch (error) {
      this.#forget();
      throw error;
    } finally {
      this.#activity = null;
    }
  }

  #bindAverage(average: StepAverage, device: Device | null): void {
    this.plan.average = average.bind(this.plan, this.#backend, device, this.#together !== null);
    this.#letGo = average.hold();
    this.plan.checkAttached(); // parameters of others may have getters
  }

  /** Drops what only one step has. */
  #forget(): void {
    this.plan.addends = NOTHING_ADDED;
    this.plan.average = null;
    this.#letGo?.();
    this.#letGo = null;
  }

  #run(request: StepRequest): StepReport {
    const { plan } = this;
    if (this.#together !== null) return this.#together.step(plan, request);
    if (request.isSkipped) return SKIPPED_UNMEASURED;
    let report = NOTHING_MEASURED;
    const sparse = this.#sumsFor(request);
    if (isMeasured(request)) {
      const sums = sumsOf(plan);
      const { norm } = normsOf(this.#backend);
      norm(plan, request, sums);
      if (sparse !== null) norm(sparse, request, sums);
      report = decide(sums, request);
    }
    if (report.skipped) return report;
    this.#call = request === NEUTRAL_REQUEST && !plan.isRandom ? null : plan.callRow;
    if (this.#call !== null) plan.writeCall(request, report.clipCoefficients);
    if (sparse !== null) normsOf(this.#backend).prepare(sparse, request);
    plan.begin();
    this.#request = request === NEUTRAL_REQUEST ? null : request;
    forEachRowRange(plan, this.#stepRange);
    return report;
  }

  /** The sums of sparse gradients that a step measures or changes; null if there are none. */
  #sumsFor({ reads }: StepRequest): Gradients | null {
    return reads === null ? null : tabulateSums(this.plan, this.#backend);
  }

  /**
   * Until something is written, an array that is not as it was ends the step. Then all rows are stepped
   * whatever `foreach` says, by calls that are all made before any of the user's code can run: no step
   * is left half taken.
   */
  async #runAsync(request: StepRequest, arrays: ArrayGuard): Promise<Taken> {
    const { plan } = this;
    if (this.#together !== null) {
      const report = await this.#together.stepAsync(plan, request, arrays.checkAll);
      return { report, finished: NOTHING_QUEUED };
    }
    if (request.isSkipped) return { report: SKIPPED_UNMEASURED, finished: NOTHING_QUEUED };
    let report = NOTHING_MEASURED;
    arrays.checkAll();
    const sparse = this.#sumsFor(request);
    if (isMeasured(request)) {
      const sums = sumsOf(plan);
      const { norm, normAsync } = normsOf(this.#backend);
      await normAsync(plan, request, sums, arrays.checkAttached);
      if (sparse !== null) norm(sparse, request, sums);
      report = decide(sums, request);
      if (report.skipped) return { report, finished: NOTHING_QUEUED };
      arrays.checkAll();
    }
    plan.writeCall(request, report.clipCoefficients);
    if (sparse !== null) normsOf(this.#backend).prepare(sparse, request);
    plan.begin();
    const asked = request === NEUTRAL_REQUEST ? null : request;
    const running = stepRowsAsync(this.#backend, plan, 0, plan.table.count, asked);
    if (plan.average !== null) plan.average.updateLate(); // before any of the user's code can run
    return { report, ...await running };
  }

  /** A report that does not come, for whatever went wrong before, leaves open whether the step was taken. */
  async #runOn(device: Device, request: StepRequest): Promise<Taken> {
    queueDecided(device, this.plan, request);
    try {
      const report = reportOf(await device.report(), request);
      return { report, finished: NOTHING_QUEUED };
    } catch (error) {
      this.plan.commitUnsure();
      this.lastStep = null;
      throw error;
    }
  }

  /**
   * Asks devices whether momentum buffers have been written, which they know where a step may have been
   * skipped.
   *
   * @returns The rows whose buffers have not, as of the call.
   */
  async findUnwritten(): Promise<number[]> {
    const { plan: { stateArrays }, revision } = this;
    const answers = await Promise.all(
      [...stateArrays.findUnsure() ?? []].map(async ([device, rows]) => {
        return { rows, written: await device.written(rows.map(({ buffer }) => buffer)) };
      }),
    );
    if (this.revision === revision) {
      for (const { rows, written } of answers) stateArrays.settle(rows, written);
    }
    return answers.flatMap(({ rows, written }) =>
      rows.filter((_, i) => !written[i]).map(({ row }) => row)
    );
  }

  /** The same, blocking, where devices can do that, and if nothing is running that relies on the rows. */
  settleSync(): void {
    if (this.#activity !== null) return;
    const { stateArrays } = this.plan;
    for (const [device, rows] of stateArrays.findUnsure() ?? []) {
      const written = device.writtenSync?.(rows.map(({ buffer }) => buffer));
      if (written !== undefined) stateArrays.settle(rows, written);
    }
  }

  /** @param isWhole Whether the averages of rows that rest have been updated, too. */
  #finish(report: StepReport, pending: Pending | null, isWhole: boolean): void {
    this.lastStep = report;
    if (report.skipped) return;
    this.plan.commit();
    if (this.plan.average !== null) this.plan.average.finish(isWhole);
    if (pending !== null && pending.record !== null) this.#recorder.keep(pending.record);
  }
}
