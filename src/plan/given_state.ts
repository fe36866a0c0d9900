/** Gives rows the arrays that their states have, which a user may have assigned. */

import { checkBuffer, checkMatches } from "../core/array_checks.ts";
import { FLOAT32 } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import { lengthOf, tagOf } from "../core/intrinsics.ts";
import { FEWEST_ELEMENTS } from "../core/momentum8.ts";
import type { ArrayName } from "../core/parameter.ts";
import { refusal, wrongType } from "../core/validate.ts";
import { Slab } from "../memory/slab.ts";
import type { Allocator, StateArray } from "../memory/slab.ts";
import { CORRECTION16 } from "../memory/stores.ts";
import { blockOf, checkOwn } from "./parameter_state.ts";
import type { Correction, Momentum8, ParameterState } from "./parameter_state.ts";
import type { TensorTable } from "./tensor_table.ts";

/** Where arrays begin, as the backend reads it from the table. */
type Address = Allocator["address"];

/** The momentum buffer of a row's state, or the block of its momentum in 8 bits. */
export function momentumIn(
  table: TensorTable,
  row: number,
  { momentumBuffer, momentum8 }: ParameterState,
): StateArray | null {
  if (!table.hasMomentum8(row) || momentumBuffer !== null) return momentumBuffer;
  return momentum8 && (blockOf(momentum8) ?? momentum8.values);
}

/** The master weight of a state, or its correction. */
export function masterIn(
  table: TensorTable,
  { masterWeight, correction }: ParameterState,
): StateArray | null {
  return table.isSplit ? correction : masterWeight;
}

/**
 * Gives a row the momentum that its state has, if it has any.
 *
 * @param isListed Whether the state is an entry of a list of the functional form.
 * @throws {TypeError} If it is of another type or format, detached or resizable.
 * @throws {RangeError} If its length differs.
 */
export function bindMomentum(
  table: TensorTable,
  address: Address,
  row: number,
  { momentumBuffer, momentum8 }: ParameterState,
  isListed: boolean,
): boolean {
  const is8 = table.hasMomentum8(row);
  if (is8 && momentumBuffer !== null) {
    const what = table.name(row, "momentum buffer");
    const allowed = isListed ? "null or { values, scales }" : "null";
    const reason = `it must be ${allowed} with momentumBits 8`;
    throw wrongType(`use ${what}`, reason, momentumBuffer);
  }
  if (!is8 && momentum8 !== null) throw notEightBits(table, row);
  if (momentum8 !== null) bindMomentum8(table, address, row, momentum8);
  else if (momentumBuffer !== null) bindBuffer(table, address, row, momentumBuffer);
  else return false;
  return true;
}

function notEightBits(table: TensorTable, row: number): TypeError {
  const doing = `use ${table.name(row, "8-bit momentum")}`;
  const bits = table.momentumBitsAt(row);
  if (bits !== 8) return new TypeError(refusal(doing, "momentumBits must be 8", bits));
  const reason = `it needs at least ${FEWEST_ELEMENTS} elements`;
  return new TypeError(refusal(doing, reason, table.lengthAt(row), "length"));
}

/** The array of a state that no step makes with this `masterWeights`; null if there is none. */
export function findForeign(
  { masterWeights, isSplit }: Pick<TensorTable, "masterWeights" | "isSplit">,
  { masterWeight, correction }: ParameterState,
): ArrayName | null {
  if (masterWeight !== null && masterWeights !== true) return "master weight";
  return correction !== null && !isSplit ? "correction" : null;
}

/**
 * Refuses a master weight or a correction that steps would neither read nor write.
 *
 * @throws {TypeError} If the state has one.
 */
export function checkForeign(table: TensorTable, row: number, state: ParameterState): void {
  const found = findForeign(table, state);
  if (found === null) return;
  const { masterWeights } = table;
  const shown = typeof masterWeights === "string" ? `"${masterWeights}"` : masterWeights;
  const array = found === "correction" ? state.correction : state.masterWeight;
  const reason = `it must be null with masterWeights ${shown}`;
  throw wrongType(`use ${table.name(row, found)}`, reason, array);
}

function bindBuffer(table: TensorTable, address: Address, row: number, buffer: Tensor): void {
  if (buffer === table.buffers[row]) return;
  const { dtype, bufferType } = table.typesAt(row);
  const reason = dtype === bufferType ? undefined : `as rounding "${table.rounding}" needs it`;
  const like = { dtype: bufferType, length: table.lengthAt(row), reason };
  checkMatches(buffer, like, table.name(row, "momentum buffer"));
  table.holdBuffer(row, buffer, address(buffer));
}

function bindMomentum8(
  table: TensorTable,
  address: Address,
  row: number,
  momentum8: Momentum8,
): void {
  const known = blockOf(momentum8);
  if (known !== undefined && known === table.buffers[row]) return;
  const what = table.name(row, "8-bit momentum");
  const block = checkOwn(momentum8, what);
  checkPacked(momentum8.values, "Int8Array", table.lengthAt(row), what);
  table.holdBuffer(row, block, address(block));
}

/**
 * Gives a row a master weight or a correction, if that is not the one it had.
 *
 * @throws {TypeError} If it is of another type, detached or resizable.
 * @throws {RangeError} If its length differs.
 */
export function bindMaster(
  table: TensorTable,
  address: Address,
  row: number,
  master: StateArray,
): void {
  if (master === table.masters[row] || master instanceof Slab) return;
  const length = table.lengthAt(row);
  const what = table.name(row, table.masterName);
  if (table.isSplit) {
    const tag = table.typesAt(row).master === CORRECTION16 ? "Int16Array" : "Int8Array";
    checkPacked(master as Correction, tag, length, what);
  } else {
    const like = { dtype: FLOAT32, length, reason: "as all master weights" };
    checkMatches(master as Tensor, like, what);
  }
  table.holdMaster(row, master, address(master));
}

function checkPacked(array: Correction, tag: string, length: number, what: string): void {
  if (tagOf(array) !== tag) throw wrongType(`use ${what}`, `it must be an ${tag}`, array);
  checkBuffer(array as unknown as Tensor, what);
  if (lengthOf(array) === length) return;
  const reason = `its length must be ${length}, like its data`;
  throw new RangeError(refusal(`use ${what}`, reason, lengthOf(array), "length"));
}
