/** Refuses steps with options that parameters or gradients do not allow. */

import type { Device } from "../core/dtype.ts";
import { cannot } from "../core/validate.ts";
import type { Plan } from "../plan/plan.ts";
import { isReportAwaited } from "./awaited_report.ts";
import { isMeasured } from "./options.ts";
import type { StepRequest } from "./options.ts";

/**
 * Refuses what a step cannot do, before anything is written.
 *
 * @param plan Refreshed, and not stepped yet.
 * @returns The device that measures the gradients and decides whether the step is skipped; null if the
 * host does, or nothing is to be measured.
 * @throws {TypeError} If gradients are to be added to some that are sparse or on a device, if they are to be
 * measured and are not in one place, or if a group is differentiable.
 * @throws {RangeError} If gradients are to be zeroed and share memory.
 */
export function checkRequest(plan: Plan, request: StepRequest): Device | null {
  const { reads, zeroGrad } = request;
  const option = reads ?? (zeroGrad ? "zeroGrad" : null);
  if (option === null) return null;
  if (plan.groups.some(({ differentiable }) => differentiable)) {
    throw new TypeError(
      cannot(
        `step with ${option}`,
        "no group may be differentiable",
        "one has differentiable true",
      ),
    );
  }
  if (request.addGradients.length > 0) checkArrays(plan);
  const device = isMeasured(request) ? findMeasuring(plan, reads ?? option) : null;
  if (device !== null && isReportAwaited()) {
    throw new TypeError(
      cannot(
        "step with the scaler",
        "its step needs gradients that are arrays",
        "they are on a GPU: use stepAsync of the scaler",
      ),
    );
  }
  if (zeroGrad) plan.checkNoGradientAlias();
  return device;
}

/**
 * Refuses what ranks of a world cannot do together.
 *
 * @throws {TypeError} If a gradient is sparse or on a GPU, or a group is differentiable.
 */
export function checkTogether(plan: Plan): void {
  const doing = "step in a world";
  if (plan.groups.some(({ differentiable }) => differentiable)) {
    const reason = "no group may be differentiable";
    throw new TypeError(cannot(doing, reason, "one has differentiable true"));
  }
  const { table } = plan;
  for (let row = 0; row < table.count; row++) {
    const kind = table.gradientKind(row);
    if (kind === "none" || kind === "dense") continue;
    const found = kind === "sparse" ? "it is sparse" : "it is on a GPU";
    throw new TypeError(cannot(doing, `${table.name(row, "grad")} must be an array`, found));
  }
}

/** Refuses gradients that are not arrays, to which nothing can be added. */
function checkArrays({ table }: Plan): void {
  for (let row = 0; row < table.count; row++) {
    const kind = table.gradientKind(row);
    if (kind !== "device" && kind !== "sparse") continue;
    throw new TypeError(
      cannot(
        "step with addGradients",
        `${table.name(row, "grad")} must be an array`,
        kind === "sparse" ? "it is sparse" : "it is on a GPU",
      ),
    );
  }
}

/** Where all gradients are, as one place decides whether the step is skipped: null for the host. */
function findMeasuring({ table }: Plan, option: string): Device | null {
  let found: { row: number; device: Device | undefined } | null = null;
  for (let row = 0; row < table.count; row++) {
    if (table.gradientKind(row) === "none") continue;
    const { device } = table.typesAt(row).dtype;
    found ??= { row, device };
    if (device === found.device) continue;
    throw new TypeError(
      cannot(
        `step with ${option}`,
        "all gradients must be arrays, or all of them tensors of one GPU, which then decides",
        `${table.name(found.row, "grad")} is ${describePlace(found.device)}, ` +
          `${table.name(row, "grad")} ${describeOther(found.device, device)}`,
      ),
    );
  }
  return found?.device ?? null;
}

function describePlace(device: Device | undefined): string {
  return device === undefined ? "an array" : "on a GPU";
}

function describeOther(device: Device | undefined, other: Device | undefined): string {
  return device !== undefined && other !== undefined ? "on another" : describePlace(other);
}
