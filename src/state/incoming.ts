/** What a parameter gets from a state dict, in the form in which its optimizer keeps it. */

import type { Tensor } from "../core/dtype.ts";
import { isBFloat16Array } from "../core/bfloat16_class.ts";
import type { BFloat16Array } from "../core/bfloat16.ts";
import type { HostArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { joinMaster } from "../core/split_master.ts";
import { cannot } from "../core/validate.ts";
import type { Correction, Momentum8 } from "../plan/state_arrays.ts";
import type { CheckedState } from "./check_arrays.ts";
import { decodeMomentum, encodeMomentum, splitMaster, widenCorrection } from "./convert.ts";
import type { CheckedDict } from "./dict.ts";
import { savedMasterForm } from "./fit.ts";
import type { Forms } from "./fit.ts";

/** The arrays that a parameter gets; null where it gets none. */
export interface Incoming {
  readonly momentumBuffer: HostArray | null;
  readonly momentum8: Momentum8 | null;
  readonly masterWeight: Float32Array | null;
  readonly correction: Correction | null;
  /** The rows in use of its momentum buffer, a byte for each. */
  readonly rowsInUse: Uint8Array | null;
  /** Its own values, if they are loaded. */
  readonly data: HostArray | null;
}

/** Where the state comes from, and where it goes. */
export interface Transfer {
  /** How the optimizer keeps it: what fits, or is to be converted. */
  readonly forms: Forms;
  /** The index in the dict. */
  readonly id: number;
  /** The parameter's data before the load. */
  readonly data: Tensor;
  /** Whether its own values are loaded. */
  readonly isValued: boolean;
}

/** Reads, and where forms differ converts, what a dict has of a parameter. */
export function readIncoming({ state, parameters }: CheckedDict, transfer: Transfer): Incoming {
  const { forms, id, isValued } = transfer;
  const data = isValued ? parameters.get(id)!.data : null;
  const rows = state.rows_in_use.get(id)?.data;
  return {
    ...readMomentum(state, forms, id),
    rowsInUse: rows === undefined ? null : new Uint8Array(rows),
    ...readMaster(state, transfer, data),
  };
}

function readMomentum(
  { momentum_buffer, momentum8, momentum_scales }: CheckedState,
  { bufferType }: Forms,
  id: number,
): Pick<Incoming, "momentumBuffer" | "momentum8"> {
  const buffer = momentum_buffer.get(id)?.data ?? null;
  const values = momentum8.get(id)?.data;
  const codes = values === undefined ? null : { values, scales: momentum_scales.get(id)!.data };
  if (bufferType === null) {
    const encoded = buffer === null ? null : encodeMomentum(buffer as Float32Array);
    return { momentumBuffer: null, momentum8: codes ?? encoded };
  }
  return { momentumBuffer: codes === null ? buffer : decodeMomentum(codes), momentum8: null };
}

function readMaster(
  state: CheckedState,
  { forms, id, data }: Transfer,
  values: HostArray | null,
): Pick<Incoming, "masterWeight" | "correction" | "data"> {
  const masterWeight = state.master_weight.get(id)?.data ?? null;
  const correction = state.correction.get(id)?.data ?? null;
  const [here, there] = [forms.master, savedMasterForm(state, id)];
  if (here === null || there === null || here === there) {
    return { masterWeight, correction, data: values };
  }
  if (here === "split" && correction instanceof Int8Array) {
    return { masterWeight: null, correction: widenCorrection(correction), data: values };
  }
  const master = masterWeight ?? joinMaster(upperHalves(values ?? data, correction!), correction!);
  if (here === "float32") return { masterWeight: master, correction: null, data: values };
  return { masterWeight: null, ...splitMaster(master, here === "split" ? 16 : 8) };
}

/** The parameter that a correction belongs to. */
function upperHalves(data: Tensor, correction: Correction): BFloat16Array {
  if (isBFloat16Array(data) && lengthOf(data) === lengthOf(correction)) return data;
  // The dict fitted other data, which a getter gave.
  throw new RangeError(cannot("load the state", "the data of a parameter changed meanwhile"));
}
