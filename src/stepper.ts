/** Takes the steps of an optimizer: at once, with options, or beside JavaScript's thread. */

import type { Backend } from "./backends/backend.ts";
import { memoryOf, stepRows } from "./backends/devices.ts";
import type { Recorder } from "./differentiable/recorder.ts";
import { checkRequest, runStep, runStepAsync, zeroRest } from "./fused_step.ts";
import type { FusedStep } from "./fused_step.ts";
import { tensorsIn } from "./entry_spans.ts";
import { occupy } from "./in_use.ts";
import { Plan } from "./plan.ts";
import type { Precision } from "./rounding.ts";
import { forEachSpan } from "./spans.ts";
import { NOTHING_ASKED } from "./step_options.ts";
import type { StepRequest } from "./step_options.ts";
import { NOTHING_MEASURED } from "./step_report.ts";
import type { StepReport } from "./step_report.ts";
import { watch } from "./watch.ts";

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
  readonly #refresh = () => this.plan.refresh();
  readonly #record = () => this.#recorder.record(this.plan);
  readonly #stepSpan = (from: number, to: number) => stepRows(this.#backend, this.plan, from, to);

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
    if (this.plan.isRandom) return this.stepWith(NOTHING_ASKED);
    this.alone(this.#refresh);
    const record = this.alone(this.#record);
    this.revision++;
    forEachSpan(this.plan, this.#stepSpan);
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
    const release = occupy(tensorsIn(this.plan));
    try {
      const arrays = watch(this.plan);
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
  alone<Result>(body: () => Result): Result {
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
    this.alone(this.#refresh);
    checkRequest(plan, request);
    const record = this.alone(this.#record);
    this.revision++;
    return { backend: this.#backend, plan, request, record };
  }

  #finish({ record }: FusedStep, report: StepReport): void {
    this.lastStep = report;
    if (report.skipped) return;
    this.plan.commit();
    if (record !== null) this.#recorder.keep(record);
  }
}
