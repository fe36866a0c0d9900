/** What a step asks of a GPU, as the row that crosses the boundary. */

import type { DeviceRequest } from "../core/device.ts";

/** The words of the row, in their order. */
export const REQUEST_ROW = [
  "inverseScale",
  "maxValue",
  "maxNorm",
  "normType",
  "checkFinite",
  "perGroup",
  "zeroGrad",
] as const;

/** Stands for a norm that does not matter. */
const NO_NORM = -1;

/** Writes the row. */
export function writeRequest(row: Float64Array, request: DeviceRequest): void {
  REQUEST_ROW.forEach((name, at) => row[at] = Number(request[name] ?? NO_NORM));
}
