/** The decision of a step as `kernels/src/gpu/decide.wgsl` writes it: words of 32 bits. */

import type { DeviceReport, DeviceRequest } from "./device.ts";
import { normOf } from "./norm.ts";

const SKIPPED = 0;

/** Words before those of the groups. */
const HEADER = 3;

const GROUP_WORDS = 3;

const COEFFICIENT = 0;

const SUM = 1;

const EXPONENT = 2;

/** How many words of a decision the host reads. */
export function decisionWords(groupCount: number): number {
  return HEADER + GROUP_WORDS * groupCount;
}

/** Reads a decision. Norms are taken in float64 of what a device has measured in float32. */
export function readDecision(
  words: Uint32Array<ArrayBuffer>,
  groupCount: number,
  { inverseScale, normType }: DeviceRequest,
): DeviceReport {
  const [floats, integers] = [new Float32Array(words.buffer), new Int32Array(words.buffer)];
  const scale = Math.fround(inverseScale);
  const groups = Array.from({ length: groupCount }, (_, i) => HEADER + GROUP_WORDS * i);
  return {
    skipped: words[SKIPPED] !== 0,
    groupNorms: groups.map((at) =>
      normOf(normType, floats[at + SUM]) * 2 ** integers[at + EXPONENT] * scale
    ),
    clipCoefficients: groups.map((at) => floats[at + COEFFICIENT]),
  };
}
