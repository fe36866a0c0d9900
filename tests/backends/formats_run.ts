/**
 * Steps parameters in every format that goes with the backends of the host, and digests what came of
 * it. Run as a program it does so on `js` in a runtime without WebAssembly, and prints the digests.
 */

import { BFloat16Array, SGD } from "@descent/sgd";
import type { BackendName, HostArray, Parameter, SGDOptions, StepOptions } from "@descent/sgd";
import { digest, fromNumbers } from "../core/sixteen_bit/golden.ts";
import type { SixteenBit } from "../core/sixteen_bit/golden.ts";
import { generate } from "../support/golden.ts";

type DtypeName = SixteenBit | "float32";

type FormatOptions = Pick<SGDOptions, "momentumBits" | "masterWeights" | "rounding">;

/** A type of parameters and of gradients, and how the state is kept. */
export interface FormatCase {
  readonly dtype: DtypeName;
  readonly gradType: DtypeName;
  readonly options: FormatOptions;
}

/** What goes together with parameters in 16-bit types, for momentum in 32 bits. */
const KEPT: Record<DtypeName, FormatOptions[]> = {
  float32: [{}],
  float16: [{}, { masterWeights: true }, { rounding: "stochastic" }],
  bfloat16: [
    ...[{}, { masterWeights: true }, { rounding: "stochastic" as const }],
    ...[{ masterWeights: "split" as const }, { masterWeights: "split24" as const }],
  ],
};

/** All formats. */
export const formatCases: readonly FormatCase[] = (["float32", "float16", "bfloat16"] as const)
  .flatMap((dtype) =>
    [...new Set<DtypeName>([dtype, "float32"])].flatMap((gradType) =>
      KEPT[dtype].flatMap((kept) =>
        ([8, 32] as const).map((momentumBits) => ({
          ...{ dtype, gradType },
          options: { ...kept, momentumBits },
        }))
      )
    )
  );

/** The name of a case. */
export function nameOfCase({ dtype, gradType, options }: FormatCase): string {
  const kept = Object.entries(options).map(([name, value]) => `${name} ${value}`);
  return [dtype, `gradients ${gradType}`, ...kept].join(", ");
}

const RULES: Record<string, Omit<SGDOptions, "lr">> = {
  "nesterov and decay": { momentum: 0.9, nesterov: true, weightDecay: 0.01 },
  "dampening and maximize": { momentum: 0.99, dampening: 0.1, maximize: true },
  "sign": { momentum: 0.9, sign: true },
  "decoupled weight decay": { momentum: 0.9, decoupledWeightDecay: true, weightDecay: 3 },
};

/** One after another; all but the first are later steps. */
const STEPS: readonly StepOptions[] = [
  {},
  { gradScale: 3, maxNorm: 40, maxValue: 0.5 },
  { checkFinite: false, zeroGrad: true },
];

/** Of one vector, block, tile and part; from 4096 on momentum can have 8 bits. */
const SIZES = [1, 7, 70, 4095, 4096, 8192, 12_345, 70_001];

/** An array that begins a little after its buffer does. */
function arrayOf(dtype: DtypeName, seed: number[], size: number): HostArray {
  const [a, b, c] = seed;
  const values = generate("float32", "ordinary", [a, b, c], size);
  const array = dtype === "float32" ? values as Float32Array : fromNumbers(dtype, values);
  const offset = (1 + b % 3) * array.BYTES_PER_ELEMENT;
  const buffer = new ArrayBuffer(offset + array.byteLength + 16);
  new Uint8Array(buffer, offset, array.byteLength).set(
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
  );
  if (dtype === "float32") return new Float32Array(buffer, offset, size);
  return dtype === "float16"
    ? new Float16Array(buffer, offset, size)
    : new BFloat16Array(buffer, offset, size);
}

/** What steps of a case come to, by rule and step: digests of parameters, gradients and state. */
export async function digestSteps(
  { dtype, gradType, options }: FormatCase,
  backend: BackendName,
  isAsync = false,
): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const [rule, own] of Object.entries(RULES)) {
    const params = SIZES.map((size, i): Parameter<HostArray> => ({
      data: arrayOf(dtype, [3, i, 0], size),
      grad: arrayOf(gradType, [3, i, 1], size),
    }));
    (params[4].grad as Float32Array)[100] = gradType === "bfloat16" ? 0x7f80 : Infinity;
    const optimizer = new SGD(params, { lr: 0.01, seed: 2 ** 35 + 7, ...own, ...options, backend });
    for (const [n, step] of STEPS.entries()) {
      const request = { ...step, ...(step.maxNorm === undefined ? {} : { checkFinite: false }) };
      if (isAsync) await optimizer.stepAsync(request);
      else optimizer.step(request);
      params[4].grad![100] = 0;
      digests[`${rule}, step ${n}`] = digestAll(params, optimizer);
    }
  }
  return digests;
}

function digestAll(params: readonly Parameter<HostArray>[], { state }: SGD<HostArray>): string {
  const kept = params.flatMap((p) => {
    const { momentumBuffer, momentum8, masterWeight, correction } = state.get(p)!;
    const floats = [momentumBuffer, masterWeight].filter((array) => array !== null);
    const bytes = [momentum8?.values, momentum8?.scales, correction]
      .filter((array) => array !== null && array !== undefined)
      .map((array) => Float32Array.from(array));
    return [p.data, p.grad!, ...floats as HostArray[], ...bytes];
  });
  return digest(kept);
}

if (import.meta.main) {
  Reflect.deleteProperty(globalThis, "WebAssembly"); // nobody has asked yet whether it is there
  const digests = [];
  for (const each of formatCases) digests.push(await digestSteps(each, "js"));
  console.log(JSON.stringify({ hasWebAssembly: "WebAssembly" in globalThis, digests }));
}
