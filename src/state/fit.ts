/** How an optimizer keeps the state of a parameter, and whether what a dict has of it fits that. */

import { countOf, dtypeOf, FLOAT32, isSixteenBit } from "../core/dtype.ts";
import type { Dtype, ElementType, Tensor } from "../core/dtype.ts";
import { lengthOf } from "../core/intrinsics.ts";
import type { Parameter } from "../core/parameter.ts";
import { bufferTypeOf } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import { hostDtypeOf } from "../memory/host_copy.ts";
import { formatsOf } from "../plan/formats.ts";
import { FORMAT_MOMENTUM8, FORMAT_SPLIT, FORMAT_SPLIT24 } from "../plan/layout.ts";
import type { CheckedState, CheckedTensor } from "./check_arrays.ts";
import type { CheckedDict } from "./dict.ts";
import { rowsMisfit } from "./rows_in_use.ts";
import type { StoredArray } from "./stored_array.ts";

/** How a master weight is kept: whole, or as a correction of 16 or 8 bits. */
export type MasterForm = "float32" | "split" | "split24";

/** How an optimizer keeps what it remembers of a parameter. */
export interface Forms {
  /** The dtype of the parameter, on the host. */
  readonly own: Dtype;
  /** That of its momentum buffer; null if momentum is in 8 bits. */
  readonly bufferType: ElementType | null;
  /** Null if there are no master weights. */
  readonly master: MasterForm | null;
}

/** What is loaded, and how. */
export interface LoadMode {
  /** Whether parameters' own values are loaded too. */
  readonly parameters: boolean;
  /** Whether state of another form is converted. */
  readonly convert: boolean;
}

/** What decides how state is kept. */
interface Kept {
  /** The dtype of the parameter, on the host. */
  readonly dtype: Dtype;
  readonly length: number;
  /** Those of its group. */
  readonly momentumBits: 8 | 32;
  readonly precision: Precision;
}

/** How a parameter's state is kept. */
export function formsOf({ dtype, length, momentumBits, precision }: Kept): Forms {
  const formats = formatsOf(dtype, length, momentumBits, precision);
  const has8 = (formats & FORMAT_MOMENTUM8) !== 0;
  const bufferType = has8 ? null : bufferTypeOf(dtype, precision.rounding);
  return { own: dtype, bufferType, master: masterFormOf(dtype, formats, precision) };
}

function masterFormOf(
  dtype: Dtype,
  formats: number,
  { masterWeights }: Precision,
): MasterForm | null {
  if ((formats & FORMAT_SPLIT) !== 0) return "split";
  if ((formats & FORMAT_SPLIT24) !== 0) return "split24";
  return masterWeights === true && isSixteenBit(dtype) ? "float32" : null;
}

/** The form of a master weight in a dict; null if there is none. */
export function savedMasterForm(
  { master_weight, correction }: CheckedState,
  id: number,
): MasterForm | null {
  if (master_weight.has(id)) return "float32";
  const found = correction.get(id);
  if (found === undefined) return null;
  return found.data instanceof Int16Array ? "split" : "split24";
}

/** Whether a conversion gives the parameter other bits: all but those that only add zeros. */
export function writesParameter(from: MasterForm, to: MasterForm): boolean {
  return to !== "float32" && from !== to && from !== "split24";
}

/** Why what the dict has of a parameter cannot be its state; null if it can. */
export function misfit(
  parameter: Parameter<Tensor>,
  forms: Forms,
  { state, parameters }: CheckedDict,
  id: number,
  mode: LoadMode,
): string | null {
  const values = mode.parameters ? parameters.get(id) : undefined;
  const master = masterMisfit(forms.master, savedMasterForm(state, id), values, mode);
  return master ?? momentumMisfit(parameter, forms, state, id, mode) ??
    difference("master weight", state.master_weight.get(id), parameter, FLOAT32) ??
    extent("correction", state.correction.get(id), parameter) ??
    rowsMisfit(state.rows_in_use.get(id)?.data, parameter, forms.own) ??
    difference("values", values, parameter, forms.own);
}

const MASTERS: Readonly<Record<MasterForm, string>> = {
  float32: "a master weight of float32",
  split: "a correction of 16 bits",
  split24: "a correction of 8 bits",
};

function masterMisfit(
  here: MasterForm | null,
  there: MasterForm | null,
  values: CheckedTensor | undefined,
  { convert }: LoadMode,
): string | null {
  if (there === null || here === there) return null;
  if (here === null) {
    const what = there === "float32" ? "master weight" : "correction";
    return `has no ${what}, but there is one in the dict`;
  }
  const forms = `has ${MASTERS[here]}, but in the dict there is ${MASTERS[there]}`;
  if (!convert) return `${forms}; convert: true converts it`;
  if (!writesParameter(there, here) || values !== undefined) return null;
  return `${forms}: to convert it, the dict must have its values, and parameters must be true`;
}

function momentumMisfit(
  parameter: Parameter<Tensor>,
  { own, bufferType }: Forms,
  { momentum_buffer, momentum8 }: CheckedState,
  id: number,
  { convert }: LoadMode,
): string | null {
  const [buffer, codes] = [momentum_buffer.get(id), momentum8.get(id)];
  if (buffer !== undefined && bufferType === null) {
    const { name } = dtypeOf(buffer.data, "the momentum buffer");
    const forms = `has momentum in 8 bits, but its momentum buffer in the dict: ${name}`;
    if (name !== FLOAT32.name) return `${forms}, which is not converted`;
    if (!convert) return `${forms}; convert: true converts it`;
  }
  if (codes !== undefined && bufferType !== null) {
    const forms = `is ${own.name}, with a momentum buffer of ${bufferType.name}, ` +
      `but the dict has momentum in 8 bits`;
    if (bufferType !== FLOAT32) return `${forms}, which is not converted`;
    if (!convert) return `${forms}; convert: true converts it`;
  }
  return difference("momentum buffer", buffer, parameter, bufferType ?? FLOAT32) ??
    extent("momentum", codes, parameter);
}

function difference(
  what: string,
  there: CheckedTensor | undefined,
  here: Parameter<Tensor>,
  { name: expected }: ElementType,
): string | null {
  if (there === undefined) return null;
  const dtype = dtypeOf(there.data, what).name;
  if (dtype === expected) return extent(what, there, here);
  const own = hostDtypeOf(here.data, "data").name;
  const whose = own === expected ? "" : `, with a ${what} of ${expected}`;
  return `is ${own}${whose}, but its ${what} in the dict: ${dtype}`;
}

/** Says what is different about a length or a shape. */
function extent(
  what: string,
  there: CheckedTensor<StoredArray> | undefined,
  here: Parameter<Tensor>,
): string | null {
  if (there === undefined) return null;
  const { data, shape } = there;
  const [own, length] = [countOf(here.data), lengthOf(data)];
  if (length !== own) return `has length ${own}, but its ${what} in the dict: ${length}`;
  if (shape === null || here.shape === undefined) return null;
  if (shape.length === here.shape.length && shape.every((side, i) => side === here.shape![i])) {
    return null;
  }
  return `has shape [${here.shape.join(", ")}], but its ${what} in the dict: [${shape.join(", ")}]`;
}
