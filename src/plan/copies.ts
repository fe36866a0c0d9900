/** Copies what a state dict has of parameters, for the rows of a table. */

import { countOf, FLOAT32 } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { lengthOf, setAll, tagOf } from "../core/intrinsics.ts";
import { scalesCount } from "../core/momentum8.ts";
import { cannot } from "../core/validate.ts";
import { copyFromHost, storedType } from "../memory/host_copy.ts";
import { makeArrays, objectOf } from "../memory/slab.ts";
import type { Allocator, StateArray } from "../memory/slab.ts";
import { CORRECTION16 } from "../memory/stores.ts";
import type { OwnArray, Store } from "../memory/stores.ts";
import { momentum8On } from "./parameter_state.ts";
import type { Correction, Momentum8 } from "./parameter_state.ts";
import type { TensorTable } from "./tensor_table.ts";

/** What a state dict has of a parameter. */
export interface Saved {
  readonly row: number;
  readonly momentumBuffer: HostArray | null;
  readonly masterWeight: HostArray | null;
  /** Instead of a momentum buffer, where the row has momentum in 8 bits. */
  readonly momentum8?: Momentum8 | null;
  /** Instead of a master weight, where it is split. */
  readonly correction?: Correction | null;
  /** A byte for each row of a matrix whose momentum buffer began with a sparse gradient, 1 in use. */
  readonly rowsInUse?: Uint8Array | null;
}

/** A copy for a row, and where it lies. */
export interface HeldCopy {
  readonly row: number;
  readonly held: StateArray;
  readonly address: number;
}

/** One array that is to be copied. */
interface Source {
  readonly row: number;
  readonly store: Store;
  /** Whether it fits the row, as it did when the dict was compared with the optimizer. */
  readonly fits: boolean;
  readonly write: (to: OwnArray) => void;
}

/** Copies momentum, in 8 bits or as buffers. */
export function copyMomentum(
  table: TensorTable,
  memory: Allocator,
  saved: readonly Saved[],
): HeldCopy[] {
  return copyAll(
    table,
    memory,
    saved.flatMap(({ row, momentumBuffer, momentum8 }): Source[] => {
      const { bufferType, momentum: store } = table.typesAt(row);
      const has8 = table.hasMomentum8(row);
      if (momentum8) {
        const fits = has8 && matches(momentum8, table.lengthAt(row));
        return [{ row, store, fits, write: (to) => writeMomentum8(to as Uint8Array, momentum8) }];
      }
      if (momentumBuffer === null) return [];
      const isOfType = !has8 && storedType(table.datas[row], momentumBuffer) === bufferType;
      return [sourceOf(table, row, store, momentumBuffer, isOfType)];
    }),
  );
}

/** Copies master weights, or their corrections. */
export function copyMasters(
  table: TensorTable,
  memory: Allocator,
  saved: readonly Saved[],
): HeldCopy[] {
  return copyAll(
    table,
    memory,
    saved.flatMap(({ row, masterWeight, correction }): Source[] => {
      const { master: store } = table.typesAt(row);
      if (correction) {
        const tag = store === CORRECTION16 ? "Int16Array" : "Int8Array";
        const isOfType = table.isSplit && tagOf(correction) === tag;
        return [sourceOf(table, row, store, correction as unknown as HostArray, isOfType)];
      }
      if (masterWeight === null) return [];
      const isOfType = !table.isSplit && storedType(table.datas[row], masterWeight) === FLOAT32;
      return [sourceOf(table, row, store, masterWeight, isOfType)];
    }),
  );
}

function sourceOf(
  table: TensorTable,
  row: number,
  store: Store,
  values: HostArray,
  isOfType: boolean,
): Source {
  const fits = isOfType && countOf(values) === table.lengthAt(row);
  return { row, store, fits, write: (to) => copyFromHost(to as Tensor, values) };
}

function matches({ values, scales }: Momentum8, length: number): boolean {
  return lengthOf(values) === length && lengthOf(scales) === scalesCount(length);
}

function writeMomentum8(to: Uint8Array, { values, scales }: Momentum8): void {
  const own = momentum8On(to, lengthOf(values));
  setAll(own.values as unknown as HostArray, values);
  setAll(own.scales as unknown as HostArray, scales);
}

function copyAll(
  table: TensorTable,
  memory: Allocator,
  sources: readonly Source[],
): HeldCopy[] {
  for (const { row, fits } of sources) {
    if (fits) continue;
    // The dict fitted other data, which a getter gave.
    throw new RangeError(
      cannot("load the state", `${table.name(row, "data")} changed meanwhile`),
    );
  }
  const copies: HeldCopy[] = [];
  makeArrays(memory, {
    count: sources.length,
    lengthOf: (i) => table.lengthAt(sources[i].row),
    storeOf: (i) => sources[i].store,
    hold(i, held, address) {
      const { row, store, write } = sources[i];
      write(objectOf(held, store, address, table.lengthAt(row)));
      copies.push({ row, held, address });
    },
  });
  return copies;
}
