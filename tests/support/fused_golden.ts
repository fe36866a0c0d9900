/** Reads what torch made of unscaling, clipping and stepping, and makes its gradients. */

import type { FloatArray, GroupOptions } from "@descent/sgd";
import { generate } from "./golden.ts";
import type { DtypeName, Result } from "./golden.ts";

/** One optimizer over several steps. `golden/make_fused.py` writes these. */
export interface Fused {
  readonly case: string;
  readonly dtype: DtypeName;
  readonly seed: number;
  readonly values?: "ordinary" | "wide";
  readonly steps: number;
  readonly tensors: readonly { readonly size: number; readonly without?: readonly number[] }[];
  readonly groups: readonly {
    readonly options: GroupOptions & { readonly lr: number };
    readonly tensors: readonly number[];
  }[];
  /** The options of a `GradScaler`, if there is one. */
  readonly scaler?: {
    readonly initScale: number;
    readonly growthFactor: number;
    readonly backoffFactor: number;
    readonly growthInterval: number;
  };
  readonly maxNorm?: number;
  readonly maxNormPer?: "group";
  readonly maxValue?: number;
  /** Whether a norm that is not finite is used all the same. */
  readonly unchecked?: boolean;
  readonly bad?: readonly {
    readonly step: number;
    readonly tensor: number;
    readonly index: number;
    readonly value: "inf" | "-inf" | "nan";
  }[];
  /** Whether no norm that torch takes in its own order and type reaches a result. */
  readonly exact: boolean;
  /** What is known of each step. */
  readonly told: readonly {
    /** Of all or of each group, by torch in float64; null if it is not finite. */
    readonly norms: readonly (number | null)[];
    /** How far off those are that torch clips by, as a share. */
    readonly slack: number;
    readonly scale: number | null;
    readonly skipped: boolean;
  }[];
  /** The scaler's state after the last step. */
  readonly state?: Readonly<Record<string, number>>;
  /** A digest of all data and buffers after every step, where they have torch's bits. */
  readonly digests?: readonly string[];
  /** Every tensor after the last step. */
  readonly results: readonly { readonly data: Result; readonly buffer: Result | null }[];
}

const BAD = { inf: Infinity, "-inf": -Infinity, nan: NaN };

/** All of them. */
export const fused: readonly Fused[] = read();

function read(): Fused[] {
  const text = Deno.readTextFileSync(new URL("../golden/fused.jsonl", import.meta.url));
  const all: Fused[] = [];
  for (const line of text.trim().split("\n").slice(1).map((line) => JSON.parse(line))) {
    if ("case" in line) all.push({ ...line, results: [] });
    else (all.at(-1)!.results as unknown[]).push(line);
  }
  return all;
}

/** The data (step 0) or the gradient of a tensor, or null where it has none. */
export function inputOf(f: Fused, tensor: number, step: number): FloatArray | null {
  const { size, without } = f.tensors[tensor];
  if (without?.includes(step)) return null;
  const kind = step === 0 ? "ordinary" : f.values ?? "ordinary";
  const array = generate(f.dtype, kind, [f.seed, tensor, step], size);
  for (const bad of f.bad ?? []) {
    if (bad.step === step && bad.tensor === tensor) array[bad.index] = BAD[bad.value];
  }
  return array;
}
