/** Converts state between its forms: momentum of float32 and in 8 bits, master weights whole and split. */

import { BFloat16Array } from "../core/bfloat16.ts";
import { lengthOf, part } from "../core/intrinsics.ts";
import { decode, encodeNearest, scalesCount } from "../core/momentum8.ts";
import { splitWords, splitWords24Nearest } from "../core/split_master.ts";
import type { Correction, Momentum8 } from "../plan/state_arrays.ts";
import { KEYS } from "./dict.ts";
import type { ParameterStateDict, StateDict } from "./dict.ts";

/** A master weight that has been split. */
export interface Split {
  /** The parameter. */
  readonly data: BFloat16Array;
  readonly correction: Correction;
}

/** Momentum of float32 from that in 8 bits, which is exact. */
export function decodeMomentum({ values, scales }: Momentum8): Float32Array {
  const out = new Float32Array(lengthOf(values));
  decode(values, scales, out);
  return out;
}

/** Momentum in 8 bits from that of float32, rounded to the nearest. */
export function encodeMomentum(buffer: Float32Array): Momentum8 {
  const length = lengthOf(buffer);
  const values = new Int8Array(length);
  const scales = new Uint8Array(scalesCount(length));
  encodeNearest(part(buffer, 0, length), values, scales);
  return { values, scales };
}

/** Splits a master weight, rounded to the nearest that has so many bits, into a parameter and a correction of 16 or 8 bits. */
export function splitMaster(master: Float32Array, bits: 16 | 8): Split {
  const length = lengthOf(master);
  const data = new BFloat16Array(length);
  const correction = bits === 16 ? new Int16Array(length) : new Int8Array(length);
  const masters = part(master, 0, length);
  if (correction instanceof Int16Array) splitWords(masters, data, correction);
  else splitWords24Nearest(masters, data, correction);
  return { data, correction };
}

/** A correction of 16 bits from one of 8, which are its upper ones. */
export function widenCorrection(correction: Int8Array): Int16Array {
  const wide = new Int16Array(lengthOf(correction));
  for (let i = 0; i < wide.length; i++) wide[i] = correction[i] << 8;
  return wide;
}

/**
 * A state dict whose momentum is float32 throughout, as torch has it, from one that has been checked.
 * What was float32 before is shared.
 */
export function withFloat32Momentum(dict: StateDict): StateDict {
  const entries = Object.entries(dict.state).map(([index, entry]) => [index, widen(entry)]);
  const groups = dict.param_groups.map(({ [KEYS.momentumBits]: _, ...group }) => group);
  return {
    ...dict,
    state: Object.fromEntries(entries),
    param_groups: groups as StateDict["param_groups"],
  };
}

function widen(entry: ParameterStateDict): ParameterStateDict {
  const { momentum8: values, momentum_scales: scales, ...others } = entry;
  if (!values || !scales) return entry;
  return { momentum_buffer: decodeMomentum({ values, scales }), ...others };
}
