/** Runs optimizer steps: synchronously, with options, or asynchronously on native threads. */

import type { Backend } from "../backends/backend.ts";
import { fillZero, memoryOf, stepRows, stepRowsAsync } from "../backends/dispatch.ts";
import type { Tensor } from "../core/dtype.ts";
import type { SparseParameter } from "../core/parameter.ts";
import type { Precision } from "../core/rounding.ts";
import type { RecordedStep, Recorder } from "../differentiable/recorder.ts";
import { lockMemory } from "../memory/locks.ts";
import { tensorsIn } from "../plan/aliasing.ts";
import { Plan } from "../plan/plan.ts";
import { forEachRowRange } from "../plan/row_ranges.ts";
import { isSparse, withoutEntries } from "../plan/sparse.ts";
import type { RowView } from "../plan/tensor_table.ts";
import { guardArrays } from "./array_guard.ts";
import type { ArrayGuard } from "./array_guard.ts";
import { decide, NOTHING_MEASURED } from "./clipping.ts";
import type { StepReport } from "./clipping.ts";
import { NEUTRAL_REQUEST } from "./options.ts";
import type { StepRequest } from "./options.ts";
import { replaceGrads } from "./replace_grads.ts";

/** What takes an optimizer's steps, one at a time. */
export class Stepper {
  readonly plan: Plan;
  /** Another number after every change that a step makes. */
  revision = 0;
  /** What the last step did; null before the first one. */
  lastStep: StepReport | null = null;
  #isRunning = false;
  readonly #backend: Backend;
  readonly #recorder: Recorder;
  readonly #prepare = () => {
    this.plan.refresh();
    return this.#record();
  };
  readonly #stepSpan = (from: number, to: number) =>
    stepRows(this.#backend, this.plan, from, to, null);

  constructor(backend: Backend, recorder: Recorder, precision: Precision) {
    this.#backend = backend;
    this.#recorder = recorder;
    this.plan = new Plan(memoryOf(backend), precision);
  }

  /** Refuses what would meet a step that is running. */
  checkIdle(doing: string): void {
    if (!this.#isRunning) return;
    throw new Error(`Cannot ${doing} as a step is running: await the promise of stepAsync first`);
  }

  /** A step without options. It allocates nothing, unless it draws random bits. */
  stepPlain(): void {
    if (this.plan.isRandom) return this.stepWith(NEUTRAL_REQUEST);
    const record = this.withReentrancyGuard(this.#prepare);
    this.revision++;
    forEachRowRange(this.plan, this.#stepSpan);
    this.plan.commit();
    if (record !== null) this.#recorder.keep(record);
    this.lastStep = NOTHING_MEASURED;
  }

  /** A step with options. */
  stepWith(request: StepRequest): void {
    const step = this.#begin(request);
    const report = runStep(step);
    this.#finish(step, report);
    zeroRest(step, report);
  }

  /** A step with options, beside JavaScript's thread. */
  async stepAsync(request: StepRequest): Promise<StepReport> {
    const step = this.#begin(request);
    this.#isRunning = true;
    const release = lockMemory(tensorsIn(this.plan));
    try {
      const arrays = guardArrays(this.plan);
      const report = await runStepAsync(step, arrays);
      this.#finish(step, report);
      arrays.checkAll();
      zeroRest(step, report);
      for (const device of this.plan.devices) await device.synchronize();
      return report;
    } finally {
      release();
      this.#isRunning = false;
    }
  }

  /** Does what reads parameters, whose getters may call anything but a step or a new group. */
  withReentrancyGuard<Result>(body: () => Result): Result {
    this.#isRunning = true;
    try {
      return body();
    } finally {
      this.#isRunning = false;
    }
  }

  /** Checks everything that a step relies on. */
  #begin(request: StepRequest): FusedStep {
    const { plan } = this;
    const { record, restore } = this.withReentrancyGuard(() => {
      plan.refresh();
      checkRequest(plan, request);
      const record = this.#record();
      return { record, restore: zeroSparse(plan, request) };
    });
    this.revision++;
    return { backend: this.#backend, plan, request, record, restore };
  }

  /** Copies what `differentiable` needs. Names of parameters may have getters. */
  #record(): RecordedStep | null {
    const record = this.#recorder.record(this.plan);
    if (record !== null) this.plan.checkAttached();
    return record;
  }

  #finish({ record }: FusedStep, report: StepReport): void {
    this.lastStep = report;
    if (report.skipped) return;
    this.plan.commit();
    if (record !== null) this.#recorder.keep(record);
  }
}

/** What a step goes through. */
export interface FusedStep {
  readonly backend: Backend;
  /** Refreshed, and not stepped yet. */
  readonly plan: Plan;
  readonly request: StepRequest;
  /** What `differentiable` keeps of it. */
  readonly record: RecordedStep | null;
  /** Gives parameters the sparse gradients back that were zeroed, as the step is not taken. */
  readonly restore: () => void;
}

/**
 * Refuses what a step cannot do, before anything is written.
 *
 * @throws {TypeError} If gradients are to be read or changed that are sparse or on a GPU, or a group
 * is differentiable.
 * @throws {RangeError} If gradients are to be zeroed and share memory.
 */
export function checkRequest(plan: Plan, request: StepRequest): void {
  const { reads, zeroGrad } = request;
  const option = reads ?? (zeroGrad ? "zeroGrad" : null);
  if (option === null) return;
  if (plan.groups.some(({ differentiable }) => differentiable)) {
    throw new TypeError(
      `Cannot step with ${option} as no group may be differentiable then: one has ` +
        "differentiable true",
    );
  }
  if (reads !== null) checkArrays(plan, reads);
  if (zeroGrad) plan.checkNoGradientAlias();
}

function checkArrays(plan: Plan, option: string): void {
  const refuse = (entry: RowView, what: string) => {
    throw new TypeError(
      `Cannot step with ${option} as ${entry.name("grad")} must be an array then: it is ${what}`,
    );
  };
  for (const { row } of plan.sparse.steps) refuse(plan.rowAt(row), "sparse");
  if (plan.devices.length === 0) return;
  for (const entry of plan.rowViews()) {
    if (entry.grad !== null && entry.dtype.device !== undefined) refuse(entry, "on a GPU");
  }
}

/**
 * Zeroes sparse gradients, if that is asked for. The plan has what the step needs of them, and a
 * setter that throws does so before anything is written.
 *
 * @returns Gives the parameters their gradients back.
 * @throws {TypeError} If a parameter is frozen; no gradient has changed then.
 */
export function zeroSparse(plan: Plan, { zeroGrad }: StepRequest): () => void {
  if (!zeroGrad || plan.sparse.steps.length === 0) return () => {};
  const restore = replaceGrads(plan.sparse.steps.flatMap(({ row }) => {
    const parameter = plan.parameters[row] as SparseParameter;
    const { grad: before } = parameter;
    const name = plan.table.name(row, "grad");
    return isSparse(before)
      ? [{ parameter, before, after: withoutEntries(before, name), name }]
      : [];
  }));
  try {
    plan.checkAttached();
  } catch (error) {
    restore();
    throw error;
  }
  return restore;
}

/** Takes a step. */
export function runStep(step: FusedStep): StepReport {
  try {
    return runPasses(step);
  } catch (error) {
    step.restore();
    throw error;
  }
}

function runPasses({ backend, plan, request }: FusedStep): StepReport {
  let report = NOTHING_MEASURED;
  if (isMeasured(request)) {
    const sums = new Float64Array(2 * plan.groups.length);
    backend.norm(plan, request.inverseScale, sums);
    report = decide(sums, request);
  }
  if (report.skipped) return report;
  plan.writeCall(request, report.clipCoefficients);
  forEachRowRange(plan, (from, to) => stepRows(backend, plan, from, to, plan.callRow));
  return report;
}

/**
 * Takes a step beside JavaScript's thread. Until something is written, an array that is not as it was
 * ends it; then all is written in one call, so that no step is left half taken.
 */
export async function runStepAsync(step: FusedStep, arrays: ArrayGuard): Promise<StepReport> {
  try {
    return await runPassesAsync(step, arrays);
  } catch (error) {
    step.restore();
    throw error;
  }
}

async function runPassesAsync(step: FusedStep, arrays: ArrayGuard): Promise<StepReport> {
  const { backend, plan, request } = step;
  let report = NOTHING_MEASURED;
  arrays.checkAll();
  if (isMeasured(request)) {
    const sums = new Float64Array(2 * plan.groups.length);
    await backend.normAsync(plan, request.inverseScale, sums, arrays.checkAttached);
    report = decide(sums, request);
    if (!report.skipped) arrays.checkAll();
  }
  if (report.skipped) return report;
  plan.writeCall(request, report.clipCoefficients);
  // In one call whatever `foreach` says: nothing can come between two tensors then.
  await stepRowsAsync(backend, plan, 0, plan.table.count);
  return report;
}

function isMeasured({ checkFinite, maxNorm }: StepRequest): boolean {
  return checkFinite || maxNorm !== null;
}

/**
 * Zeroes the gradients that the passes have not: those on devices, and all of them if the step was
 * skipped.
 */
export function zeroRest({ plan, request }: FusedStep, { skipped }: StepReport): void {
  if (!request.zeroGrad) return;
  const isDone = !skipped && plan.devices.length === 0;
  if (isDone) return;
  const left = plan.grads.filter((grad, row): grad is Tensor =>
    grad !== null && (skipped || plan.table.typesAt(row).dtype.device !== undefined)
  );
  fillZero(left);
}
