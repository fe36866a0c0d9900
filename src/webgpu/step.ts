/** Queues steps on a device: what is measured, what is decided, and what is updated, in one submit. */

import type { DeviceReport, DeviceRequest, DeviceTables } from "../core/device.ts";
import { decisionWords, readDecision } from "../core/decision.ts";
import type { Buffer } from "./api.ts";
import { Commands } from "./commands.ts";
import type { Context } from "./context.ts";
import { CLAMPED, DECIDED, SCALED, ZEROED } from "./kernels.ts";
import { KnownSteps } from "./known_steps.ts";
import type { Codes, StepTables } from "./step_tables.ts";
import { readRange } from "./transfer.ts";

/** A step without options. It has a decision where the host does not know what has been written. */
const NO_REQUEST: DeviceRequest = {
  ...{ inverseScale: 1, maxNorm: null, perGroup: false, normType: 2, maxValue: Infinity },
  ...{ checkFinite: false, zeroGrad: false },
};

/** Takes the steps of one device. */
export class Steps {
  readonly #context: Context;
  readonly #known: KnownSteps;
  /** The last step that was asked for something. */
  #last: { words: Buffer; groupCount: number; request: DeviceRequest } | null = null;

  constructor(context: Context, codes: Codes) {
    this.#context = context;
    this.#known = new KnownSteps(context, codes);
  }

  /** Implements `Device.step`. */
  step(tables: DeviceTables, request: DeviceRequest | null): void {
    const { failures } = this.#context;
    failures.checkThere("step");
    const step = failures.guard(() => {
      const step = this.#known.find(tables, request);
      if (step !== null) this.#queue(step, tables, request);
      return step;
    });
    if (request === null || step === null || step.decision === null) return;
    this.#last = { words: step.decision.words, groupCount: tables.groupCount, request };
  }

  #queue(step: StepTables, tables: DeviceTables, request: DeviceRequest | null): void {
    const { queue } = this.#context.gpu;
    step.numbers.setGroups(tables.groups, tables.groupCount);
    step.numbers.setRequest(request ?? NO_REQUEST);
    step.numbers.send(queue, step.table);
    const commands = new Commands(this.#context.gpu);
    this.#record(commands, step, request);
    queue.submit(commands.finish());
  }

  #record(commands: Commands, step: StepTables, request: DeviceRequest | null): void {
    const { kernels } = this.#context;
    for (const dispatch of step.norms) {
      commands.add(kernels.norm(dispatch.isHalf, step.normType), dispatch);
    }
    if (step.decision !== null) {
      const group = step.decision.bind();
      commands.add(kernels.decide(step.normType), { group, workgroups: 1, isApart: false });
    }
    const bits = bitsOf(step, request);
    for (const dispatch of step.steps) {
      const { bucket, sharing } = dispatch;
      commands.add(kernels.step(sharing, bucket.isHalf, bucket.lines | bits), dispatch);
    }
  }

  /** Implements `Device.report`. The copy is queued at once. */
  async report(): Promise<DeviceReport> {
    const { words, groupCount, request } = this.#last!;
    const range = { buffer: words, offset: 0, size: 4 * decisionWords(groupCount) };
    const bytes = await readRange(this.#context, range, "step");
    return readDecision(new Uint32Array(bytes), groupCount, request);
  }
}

/** What the shader is compiled for, besides the lines of the rule. */
function bitsOf({ decision }: StepTables, request: DeviceRequest | null): number {
  if (decision === null) return 0;
  if (request === null) return DECIDED;
  const { inverseScale, maxNorm, maxValue, zeroGrad } = request;
  return DECIDED | (inverseScale !== 1 || maxNorm !== null ? SCALED : 0) |
    (maxValue < Infinity ? CLAMPED : 0) | (zeroGrad ? ZEROED : 0);
}
