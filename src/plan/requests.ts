/** Makes the momentum and master weights that rows need for the first time. */

import { load } from "../core/convert.ts";
import type { HostArray } from "../core/host_array.ts";
import { makeArrays } from "../memory/slab.ts";
import type { Allocator } from "../memory/slab.ts";
import type { Corrections } from "./corrections.ts";
import { BUFFER_IS_NEW, MASTER_IS_NEW } from "./marks.ts";
import type { TensorTable } from "./tensor_table.ts";

/**
 * Makes what rows are marked for: master weights as copies of their data, which must be attached, and
 * everything else as zeros.
 */
export function makeRequested(
  table: TensorTable,
  memory: Allocator,
  corrections: Corrections,
): void {
  const { count } = table;
  const lengthOf = (row: number) => table.lengthAt(row);
  makeArrays(memory, {
    ...{ count, lengthOf },
    storeOf: (row) => table.has(row, BUFFER_IS_NEW) ? table.typesAt(row).momentum : null,
    hold: (row, held, address) => table.holdBuffer(row, held, address),
  });
  makeArrays(memory, {
    ...{ count, lengthOf },
    storeOf: (row) => table.has(row, MASTER_IS_NEW) ? table.typesAt(row).master : null,
    hold(row, held, address) {
      table.holdMaster(row, held, address);
      if (table.isSplit) corrections.settle(row);
      else load(table.datas[row] as HostArray, table.masterAt(row)!);
    },
  });
}
