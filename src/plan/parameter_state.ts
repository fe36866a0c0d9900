/** What the user sees of an optimizer's state of a parameter. */

import { checkBuffer } from "../core/array_checks.ts";
import { isBFloat16Array } from "../core/bfloat16_class.ts";
import { elementTypeOf } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { bufferOf, byteOffsetOf, copyOf, lengthOf } from "../core/intrinsics.ts";
import { decode, scalesCount, scalesOffset } from "../core/momentum8.ts";
import type { Parameter } from "../core/parameter.ts";
import { joinMaster } from "../core/split_master.ts";
import { wrongType } from "../core/validate.ts";
import { copyToHost } from "../memory/host_copy.ts";
import { assertUnlocked } from "../memory/locks.ts";

/** Momentum in 8 bits. */
export interface Momentum8 {
  /** One code per element; -128 stands for what is not finite. */
  readonly values: Int8Array;
  /** The exponent of the step of each block of 32 elements. */
  readonly scales: Uint8Array;
}

/** Corrections of 16 or of 8 bits. */
export type Correction = Int16Array | Int8Array;

/** What the optimizer remembers of a parameter. */
export interface ParameterState {
  /** The momentum buffer, or null before the first step with momentum. */
  momentumBuffer: Tensor | null;
  /** The float32 copy that steps go into, or null if there is none. */
  masterWeight: Float32Array | null;
  /** Momentum in 8 bits, which is there instead of a buffer. */
  momentum8: Momentum8 | null;
  /** The lower bits of a split master weight. */
  correction: Correction | null;
  /** A copy of the momentum: of 8 bits as float32, else of the type of the buffer. */
  readMomentum(): HostArray | null;
  /** A float32 copy of the master weight: whole, or joined from the parameter and its correction. */
  readMasterWeight(): Float32Array | null;
}

/** The state of a parameter with these arrays. */
export function createState(
  momentumBuffer: Tensor | null = null,
  masterWeight: Float32Array | null = null,
): ParameterState {
  return Object.defineProperties({ momentumBuffer, masterWeight }, HIDDEN) as ParameterState;
}

/** What most states do not have, and what is not listed in a state that does not have it. */
const HIDDEN: PropertyDescriptorMap = {
  momentum8: { value: null, writable: true, configurable: true },
  correction: { value: null, writable: true, configurable: true },
  readMomentum: { value: readMomentum },
  readMasterWeight: { value: readMasterWeight, configurable: true },
};

function readMomentum(this: ParameterState): HostArray | null {
  const { momentum8, momentumBuffer } = this;
  if (momentum8 === null) {
    if (momentumBuffer === null) return null;
    elementTypeOf(momentumBuffer, MOMENTUM);
    return copyToHost(asUsable(momentumBuffer, MOMENTUM));
  }
  checkOwn(momentum8, MOMENTUM);
  const { values, scales } = momentum8;
  asUsable(values as unknown as Tensor, MOMENTUM);
  const copy = new Float32Array(lengthOf(values));
  decode(values, scales, copy);
  return copy;
}

function readMasterWeight(this: ParameterState): Float32Array | null {
  return this.masterWeight && copyOf(asUsable(this.masterWeight, "the master weight"));
}

/**
 * Makes a state whose master weights are joined from the parameter and its correction.
 *
 * @param parameter Its data may be others than the correction belongs to, which then counts as 0.
 */
export function createSplitState(
  parameter: Parameter<Tensor>,
  isCorrectionOf: (data: Tensor) => boolean,
): ParameterState {
  const state = createState();
  const value = () => {
    const { correction } = state;
    const { data } = parameter;
    if (correction === null || !isBFloat16Array(data)) return null;
    asUsable(data, "the parameter");
    asUsable(correction as unknown as Tensor, "the correction");
    return joinMaster(data, isCorrectionOf(data) ? correction : null);
  };
  return Object.defineProperty(state, "readMasterWeight", { value });
}

/** What errors of `readMomentum` call it, as a state does not know its parameter. */
const MOMENTUM = "the momentum";

/** Checks memory that the user can have transferred. */
function asUsable<T extends Tensor>(tensor: T, what: string): T {
  checkBuffer(tensor, what);
  assertUnlocked(tensor, () => what);
  return tensor;
}

/**
 * Checks that values and scales lie on a block of bytes.
 *
 * @returns The block.
 * @throws {TypeError} If `momentum8On` has not made them.
 */
export function checkOwn(momentum8: Momentum8, what: string): Uint8Array {
  const block = blocks.get(momentum8);
  if (block !== undefined) return block;
  throw wrongType(`use ${what}`, "it must be the optimizer's own", momentum8);
}

/** Shows what most states do not have, and returns the state. */
export function assignRest(
  state: ParameterState,
  rest: Partial<Pick<ParameterState, "momentum8" | "correction">>,
): ParameterState {
  for (const [name, value] of Object.entries(rest)) {
    if (state[name as keyof typeof rest] === value) continue;
    Object.defineProperty(state, name, { value, enumerable: value !== null });
  }
  return state;
}

/** The blocks of bytes that values and scales lie on, and what lies on a block. */
const blocks = new WeakMap<Momentum8, Uint8Array>();
const contents = new WeakMap<Uint8Array, Momentum8>();

/** Values and scales on a block of bytes; the same object each time. */
export function momentum8On(block: Uint8Array, length: number): Momentum8 {
  const known = contents.get(block);
  if (known !== undefined) return known;
  const [buffer, offset] = [bufferOf(block), byteOffsetOf(block)];
  const momentum8 = Object.freeze({
    values: new Int8Array(buffer, offset, length),
    scales: new Uint8Array(buffer, offset + scalesOffset(length), scalesCount(length)),
  });
  contents.set(block, momentum8);
  blocks.set(momentum8, block);
  return momentum8;
}

/** The block of bytes that momentum in 8 bits lies on; undefined if `momentum8On` has not made it. */
export function blockOf(momentum8: Momentum8): Uint8Array | undefined {
  return blocks.get(momentum8);
}
