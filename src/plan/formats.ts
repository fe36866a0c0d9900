/** Which formats the arrays of a row have, and what the options for them do not support. */

import { FLOAT32, isSixteenBit } from "../core/dtype.ts";
import type { ElementType } from "../core/dtype.ts";
import { FEWEST_ELEMENTS } from "../core/momentum8.ts";
import { bufferTypeOf, checkDevice, isSplit } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import { refusal } from "../core/validate.ts";
import { CORRECTION16, CORRECTION8, MOMENTUM8, storeOf } from "../memory/stores.ts";
import type { Store } from "../memory/stores.ts";
import { FORMAT_GRAD_F32, FORMAT_MOMENTUM8, FORMAT_SPLIT, FORMAT_SPLIT24 } from "./layout.ts";

/** The types of the arrays of a row. */
export interface RowTypes {
  readonly dtype: ElementType;
  readonly gradType: ElementType;
  /** That of momentum in the update, and of momentum buffers. */
  readonly bufferType: ElementType;
  /** How momentum is stored. */
  readonly momentum: Store;
  /** How the master weight, or the correction, is stored. */
  readonly master: Store;
}

/** The formats of a row that do not depend on its gradient. */
export function formatsOf(
  dtype: ElementType,
  length: number,
  momentumBits: 8 | 32,
  { masterWeights }: Precision,
): number {
  const momentum = momentumBits === 8 && length >= FEWEST_ELEMENTS ? FORMAT_MOMENTUM8 : 0;
  if (!isSixteenBit(dtype)) return momentum;
  if (masterWeights === "split") return momentum | FORMAT_SPLIT;
  return masterWeights === "split24" ? momentum | FORMAT_SPLIT24 : momentum;
}

/** The types of the arrays of a row with some formats. */
export function typesOf(dtype: ElementType, formats: number, precision: Precision): RowTypes {
  const bufferType = bufferTypeOf(dtype, precision.rounding);
  const corrections = (formats & FORMAT_SPLIT) !== 0 ? CORRECTION16 : CORRECTION8;
  return {
    ...{ dtype, bufferType },
    gradType: (formats & FORMAT_GRAD_F32) !== 0 ? FLOAT32 : dtype,
    momentum: (formats & FORMAT_MOMENTUM8) !== 0 ? MOMENTUM8 : storeOf(bufferType),
    master: (formats & (FORMAT_SPLIT | FORMAT_SPLIT24)) !== 0 ? corrections : storeOf(FLOAT32),
  };
}

/**
 * Refuses parameters of types that an option does not support.
 *
 * @param what What error messages call the data.
 * @throws {TypeError} If there is such an option.
 */
export function checkFormats(
  dtype: ElementType,
  momentumBits: 8 | 32,
  precision: Precision,
  what: () => string,
): void {
  if (dtype.device !== undefined) checkDevice(dtype, precision, what());
  if (momentumBits !== 8 && !isSplit(precision)) return;
  const shown = dtype.device === undefined ? dtype.name : `${dtype.name} on a GPU`;
  if (momentumBits === 8 && (dtype.device !== undefined || dtype.name === "float64")) {
    const reason = "momentumBits 8 needs an array of float32, bfloat16 or float16";
    throw new TypeError(refusal(`use ${what()}`, reason, shown, "type"));
  }
  if (!isSplit(precision) || (dtype.device === undefined && dtype.name !== "float16")) return;
  const reason = `masterWeights "${precision.masterWeights}" needs an array of bfloat16, or of a ` +
    "type that has no master weights";
  throw new TypeError(refusal(`use ${what()}`, reason, shown, "type"));
}
