/** Parameters on devices: their rows of a plan go to their device, the others to a host backend. */

import type { DeviceRequest, DeviceTables } from "../core/device.ts";
import { deviceOf } from "../core/dtype.ts";
import type { Device, DeviceTensor, Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { fillAll } from "../core/intrinsics.ts";
import { Slab } from "../memory/slab.ts";
import type { Allocator } from "../memory/slab.ts";
import type { OwnArray } from "../memory/stores.ts";
import type { CallRow } from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";
import type { Backend } from "./backend.ts";

/** Where a tensor's bytes begin, on one scale for all memory. */
export function addressOf(host: Backend, tensor: OwnArray | Uint32Array<ArrayBuffer>): number {
  const device = deviceOf(tensor);
  return device === undefined
    ? host.address(tensor as HostArray | Uint32Array<ArrayBuffer>)
    : device.address(tensor as DeviceTensor);
}

/** The memory of tensors: of devices, and of arrays as the host's backend has them. */
export function memoryOf(host: Backend): Allocator {
  return {
    address: (tensor) => addressOf(host, tensor),
    allocate(bytes) {
      const { buffer, offset } = host.allocate(bytes);
      return new Slab(buffer, host.address(new Float32Array(buffer)), offset);
    },
  };
}

/**
 * One step of the rows `from <= row < to` of a refreshed plan. Devices come first: their work is
 * queued, and runs while the host computes.
 *
 * @param call The plan's call row, or null if the step asks for nothing besides the rule.
 * @param request The same for devices.
 */
export function stepRows(
  host: Backend,
  plan: Plan,
  from: number,
  to: number,
  call: CallRow | null,
  request: DeviceRequest | null,
): void {
  if (plan.devices.length > 0) queueRows(plan, from, to, request);
  if (plan.hasArrays) host.step(plan, from, to, call);
}

/**
 * As `stepRows` with the plan's call row, on another thread.
 *
 * @returns What waits for the devices: from when the step has been queued, so that what goes wrong with
 * it is not taken for a failure of other work that is waited for in the meantime.
 */
export async function stepRowsAsync(
  host: Backend,
  plan: Plan,
  from: number,
  to: number,
  request: DeviceRequest | null,
): Promise<{ readonly finished: Promise<unknown> }> {
  queueRows(plan, from, to, request);
  const finished = Promise.all(
    steppedBy(plan, request).map((device) => device.synchronize("step")),
  );
  finished.catch(() => {}); // the host may fail first
  if (plan.hasArrays) await host.stepAsync(plan, from, to);
  return { finished };
}

/** Queues one step of those of the rows `from <= row < to` that are on devices: on all of them or none. */
function queueRows(plan: Plan, from: number, to: number, request: DeviceRequest | null): void {
  const devices = steppedBy(plan, request);
  if (devices.length === 0) return;
  const tables = tablesOf(plan, from, to);
  checkAll(devices, "step");
  for (const device of devices) device.step(tables, request);
}

/** The devices of a step that the host decides about: one that is measured has gradients on the host only. */
function steppedBy({ devices }: Plan, request: DeviceRequest | null): readonly Device[] {
  const isMeasured = request !== null && (request.checkFinite || request.maxNorm !== null);
  return isMeasured ? [] : devices;
}

/** Checks that work for several devices can be queued on all of them. A single one checks by itself. */
function checkAll(devices: readonly Device[], doing: string): void {
  if (devices.length < 2) return;
  for (const device of devices) device.check?.(doing);
}

/** Queues a step on the device that has all gradients, and decides about it. */
export function queueDecided(device: Device, plan: Plan, request: DeviceRequest): void {
  device.step(tablesOf(plan, 0, plan.table.count), request);
}

function tablesOf(
  { rows, table, groupRows, groups }: Plan,
  from: number,
  to: number,
): DeviceTables {
  const own = { rows, rowCount: table.count, groups: groupRows, groupCount: groups.length };
  return { ...own, from, to };
}

/** Fills arrays and tensors with zeros, with one call per device. */
export function fillZero(tensors: readonly Tensor[]): void {
  const arrays: HostArray[] = [];
  const onDevices = new Map<Device, DeviceTensor[]>();
  for (const tensor of tensors) {
    const device = deviceOf(tensor);
    if (device === undefined) arrays.push(tensor as HostArray);
    else if (onDevices.get(device)?.push(tensor as DeviceTensor) === undefined) {
      onDevices.set(device, [tensor as DeviceTensor]);
    }
  }
  checkAll([...onDevices.keys()], "zero tensors");
  for (const [device, own] of onDevices) device.zero(own); // it may be lost: arrays come after it
  for (const array of arrays) fillAll(array, 0);
}
