/** The rows of the benchmark: which optimizer steps which workload, and how. */

import type { BackendName, SGDOptions } from "@descent/sgd";
import { type Workload, WORKLOADS } from "./workloads.ts";

/** The dtypes that are measured. */
export type DtypeName = "float16" | "bfloat16" | "float32" | "float64";

/** One row: a step of one kind over one workload. */
export interface Row {
  readonly workload: Workload;
  readonly backend: BackendName;
  readonly mode: ModeName;
  readonly dtype: DtypeName;
  readonly foreach: boolean;
  /** What keeps momentum or master weights in fewer bytes; null for neither. */
  readonly format: FormatName | null;
  /** Whether optimizers of other sizes and dtypes step before it in its process. */
  readonly company: boolean;
}

/** The hyperparameters of a mode. */
export const MODES = {
  "plain": {},
  "momentum": { momentum: 0.9 },
  "nesterov + decay": { momentum: 0.9, nesterov: true, weightDecay: 1e-4 },
  "sign": { sign: true },
} as const satisfies Record<string, Omit<SGDOptions, "lr">>;

/** What a step computes. */
export type ModeName = keyof typeof MODES;

/** The options that keep state in fewer bytes, and how many bytes per element that is. */
export const FORMATS = {
  "momentum8": { options: { momentumBits: 8 }, momentum: 1 + 1 / 32, master: 0 },
  "split": { options: { masterWeights: "split" }, momentum: 4, master: 2 },
  "split24": { options: { masterWeights: "split24" }, momentum: 4, master: 1 },
} as const satisfies Record<string, Format>;

/** What one such option does. */
interface Format {
  readonly options: Omit<SGDOptions, "lr">;
  readonly momentum: number;
  readonly master: number;
}

/** How state is kept in fewer bytes. */
export type FormatName = keyof typeof FORMATS;

/** The mode that is compared with other programs. */
export const MAIN_MODE = "nesterov + decay" satisfies ModeName;

/** The learning rate of every row. */
export const LR = 1e-3;

/** Bytes of one element. */
export const BYTES: Readonly<Record<DtypeName, number>> = {
  float16: 2,
  bfloat16: 2,
  float32: 4,
  float64: 8,
};

/** Whether the mode keeps momentum buffers. */
export function hasMomentum(mode: ModeName): boolean {
  return "momentum" in MODES[mode];
}

/** How often a step goes over arrays: parameters and buffers are read and written. */
export function passesOf(mode: ModeName): number {
  return hasMomentum(mode) ? 5 : 3;
}

/** The bytes that a step has to read and write; momentum buffers of 16-bit types are float32. */
export function trafficOf({ workload, mode, dtype, format }: Row): number {
  const buffer = Math.max(BYTES[dtype], BYTES.float32);
  const { momentum, master } = format === null ? { momentum: buffer, master: 0 } : FORMATS[format];
  const state = (hasMomentum(mode) ? momentum : 0) + master;
  return workload.elements * (3 * BYTES[dtype] + 2 * state);
}

/** The options of the row's optimizer. */
export function optionsOf({ backend, mode, foreach, format }: Row): SGDOptions {
  return { lr: LR, ...MODES[mode], ...(format && FORMATS[format].options), backend, foreach };
}

/** What the row is called within its workload. */
export function labelOf({ backend, mode, dtype, foreach, format, company }: Row): string {
  const rest = [...(format === null ? [] : [format]), ...(company ? ["in company"] : [])];
  return [backend, mode, dtype, `foreach ${foreach}`, ...rest].join(", ");
}

/** What the row is called among all rows. */
export function nameOf(row: Row): string {
  return `${row.workload.name}: ${labelOf(row)}`;
}

/** All rows: every mode, and for the main mode the other dtypes, foreach, formats and company. */
export function allRows(): Row[] {
  return WORKLOADS.flatMap((workload) => [
    ...rowsOf(workload, "cpu"),
    ...rowsOf(workload, "js").filter((row) => !isSlow(row) || isMain(row)),
  ]);
}

/** One row per workload and backend, and for ResNet-50 all that `cpu` has. */
export function quickRows(): Row[] {
  return allRows().filter((row) =>
    row.backend === "cpu" && row.workload.name === "ResNet-50" ||
    isMain(row) && !isSlow(row)
  );
}

function rowsOf(workload: Workload, backend: BackendName): Row[] {
  const main: Row = {
    ...{ workload, backend, mode: MAIN_MODE, dtype: "float32", foreach: true },
    ...{ format: null, company: false },
  };
  const modes = Object.keys(MODES) as ModeName[];
  return [
    ...modes.map((mode) => ({ ...main, mode })),
    { ...main, foreach: false },
    { ...main, dtype: "float64" },
    ...(hasOtherFormats(workload, backend)
      ? [...SIXTEEN_BIT, ...FEWER_BYTES].map((other) => ({ ...main, ...other }))
      : []),
    ...(hasCompany(workload, backend)
      ? WIDE.map((dtype) => ({ ...main, dtype, company: true }))
      : []),
  ];
}

const SIXTEEN_BIT = [{ dtype: "float16" }, { dtype: "bfloat16" }] as const;
const FEWER_BYTES = [
  { dtype: "float32", format: "momentum8" },
  { dtype: "bfloat16", format: "split" },
  { dtype: "bfloat16", format: "split24" },
] as const;
const WIDE = ["float32", "float64"] as const;

function hasOtherFormats(workload: Workload, backend: BackendName): boolean {
  return workload.name === "ResNet-50" && backend === "cpu";
}

/** Small tensors on `js` are the loops of TypeScript that others can spoil. */
function hasCompany(workload: Workload, backend: BackendName): boolean {
  return workload.name === "161 x 10" && backend === "js";
}

function isMain({ mode, dtype, foreach, format }: Row): boolean {
  return mode === MAIN_MODE && dtype === "float32" && foreach && format === null;
}

/** The modes of `js` differ little, and a hundred million elements take it long. */
function isSlow({ backend, workload }: Row): boolean {
  return backend === "js" && workload.elements > 1e8;
}
