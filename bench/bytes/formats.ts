/** The formats in which a step keeps its numbers, and whether this version of Descent knows them. */

import {
  type BackendName,
  type HostArray,
  type Parameter,
  SGD,
  type SGDOptions,
} from "@descent/sgd";
import { createArray, createParameters } from "../memory.ts";
import { type DtypeName, LR, MAIN_MODE, MODES } from "../rows.ts";
import { createWorkload, type Workload } from "../workloads.ts";

/** What an optimizer keeps its numbers in. */
export interface Format {
  readonly name: string;
  /** Of the parameters, and of the gradients unless they are said to be others. */
  readonly dtype: DtypeName;
  readonly gradients?: DtypeName;
  readonly momentumBits?: 8;
  readonly masterWeights?: "split" | "split24";
  /** What torch calls the dtype, where it steps parameters and gradients of it as well. */
  readonly torch?: string;
}

/** The format that the others are compared with. */
export const FLOAT32: Format = { name: "float32", dtype: "float32" };

/** The formats that move fewer bytes. torch's momentum is of the parameter's dtype. */
export const FORMATS = {
  bfloat16: { name: "bfloat16, float32 momentum", dtype: "bfloat16", torch: "bfloat16" },
  float16: { name: "float16, float32 momentum", dtype: "float16", torch: "float16" },
  mixed: {
    name: "bfloat16, float32 gradients, float32 momentum",
    dtype: "bfloat16",
    gradients: "float32",
  },
  momentum8: { name: "float32, 8-bit momentum", dtype: "float32", momentumBits: 8 },
  bfloat16Momentum8: { name: "bfloat16, 8-bit momentum", dtype: "bfloat16", momentumBits: 8 },
  split: {
    name: "bfloat16, split masters, 8-bit momentum",
    dtype: "bfloat16",
    momentumBits: 8,
    masterWeights: "split",
  },
  split24: {
    name: "bfloat16, split24 masters, 8-bit momentum",
    dtype: "bfloat16",
    momentumBits: 8,
    masterWeights: "split24",
  },
} as const satisfies Record<string, Format>;

/** A key of `FORMATS`. */
export type FormatName = keyof typeof FORMATS;

/** An optimizer of a workload's tensors in a format. */
export function createOptimizer(
  workload: Workload,
  format: Format,
  backend: BackendName,
): SGD<HostArray> {
  const parameters = createParameters(workload, format.dtype) as Parameter<HostArray>[];
  const { gradients, momentumBits, masterWeights } = format;
  if (gradients !== undefined) {
    for (const parameter of parameters) {
      parameter.grad = createArray(gradients, parameter.data.length, 0.01);
    }
  }
  const options: Record<string, unknown> = {
    ...{ lr: LR, ...MODES[MAIN_MODE], backend },
    ...(momentumBits === undefined ? {} : { momentumBits }),
    ...(masterWeights === undefined ? {} : { masterWeights }),
  };
  return new SGD(parameters, options as unknown as SGDOptions);
}

/** Tensors from 4,096 elements on have 8-bit momentum. */
const SAMPLE = createWorkload("sample", [[4096]]);

/**
 * Why a format cannot be measured, or null if it can: it is tried, and what the optimizer keeps is
 * looked at, so that an option that is ignored is not taken for one that works.
 */
export function formatObstacle(format: Format, backend: BackendName): string | null {
  try {
    const optimizer = createOptimizer(SAMPLE, format, backend);
    optimizer.step();
    const [parameter] = optimizer.paramGroups[0].params;
    const state = optimizer.state.get(parameter) as Record<string, unknown> | undefined;
    const kept = [
      ...(format.momentumBits === undefined ? [] : ["momentum8"]),
      ...(format.masterWeights === undefined ? [] : ["correction"]),
    ];
    const absent = kept.filter((key) => (state?.[key] ?? null) === null);
    return absent.length === 0 ? null : `the optimizer keeps no ${absent.join(" and no ")}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
