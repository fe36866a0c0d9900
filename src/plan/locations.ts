/** On which devices the rows of a table are. */

import type { Device } from "../core/dtype.ts";
import type { RowTypes } from "./formats.ts";

/** Rows, of which each is somewhere. */
interface Rows {
  readonly count: number;
  readonly typesAt: (row: number) => RowTypes;
}

/** On which devices the rows of a table are. */
export interface Locations {
  readonly devices: readonly Device[];
  /** Whether some rows are in JavaScript's memory. */
  readonly hasArrays: boolean;
}

/** Goes over all rows of a table. */
export function locate(table: Rows): Locations {
  const devices = new Set<Device | undefined>();
  for (let row = 0; row < table.count; row++) devices.add(table.typesAt(row).dtype.device);
  const hasArrays = devices.delete(undefined);
  return { devices: [...devices] as Device[], hasArrays };
}
