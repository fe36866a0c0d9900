/** Measures rows: the step, and the loops that it is compared with, in turn. */

import { type HostArray, type Parameter, SGD } from "@descent/sgd";
import { stepCompany } from "./company.ts";
import { type Quietness, watchOthers } from "./load.ts";
import { closeRoofline, library, openRoofline, scalarLoop } from "./references.ts";
import { collectGarbage, createParameters } from "./memory.ts";
import { BYTES, type DtypeName, hasMomentum, nameOf, optionsOf } from "./rows.ts";
import { passesOf, type Row, trafficOf } from "./rows.ts";
import { type Effort, median, sampleInTurn, spreadOf } from "./sampler.ts";
import type { Workload } from "./workloads.ts";

/** What a row is compared with. */
export type Reference = "roofline" | "scalar loop" | "itself before";

/** A measured row; times are medians, in nanoseconds per step. */
export interface Figure extends Quietness {
  readonly row: string;
  readonly reference: Reference;
  /** The step's time over the reference's: the median over pairs that were timed in turn. */
  readonly ratio: number;
  readonly ns: number;
  /** Bytes of a step per nanosecond, which is GB/s. */
  readonly throughput: number;
  /** The same of the roofline, or null where there is no library or the arrays are tiny. */
  readonly roofline: number | null;
}

/** From so many elements on the roofline says something: below, a call costs more than the memory. */
export const LARGE = 100_000;

type Measured = Omit<Figure, "othersCores">;

let held: { workload: Workload; dtype: DtypeName; parameters: Parameter<HostArray>[] } | undefined;

/** Why a row cannot be measured here, or null if it can; to be asked before any is measured. */
export function obstacle(row: Row): string | null {
  if (row.backend === "cpu" && "reason" in library) return library.reason;
  const needed = row.workload.elements * Math.max(BYTES[row.dtype], BYTES.float32) * 6;
  const free = Deno.systemMemoryInfo().available;
  if (needed < 0.9 * free) return null;
  return `it needs ${gigabytes(needed)} of memory: ${gigabytes(free)} are free`;
}

/** A function that takes one step of the row. The arrays are kept for the next rows like it. */
export function openStep(row: Row): () => void {
  const { workload, dtype } = row;
  if (held?.workload !== workload || held.dtype !== dtype) {
    held = undefined;
    closeRoofline();
    collectGarbage();
    held = { workload, dtype, parameters: createParameters(workload, dtype) };
  }
  const optimizer = new SGD(held.parameters, optionsOf(row));
  return () => optimizer.step();
}

/**
 * Measures a step of the row in turn with the roofline and the scalar loop.
 *
 * @param times How many steps are taken where one is timed, to plant a slow-down.
 */
export function measure(row: Row, step: () => void, effort: Effort, times = 1): Figure {
  const timed = times === 1 ? step : () => {
    for (let i = 0; i < times; i++) step();
  };
  const endWatch = watchOthers();
  const figure = row.company
    ? measureCompany(row, step, timed, effort)
    : measureInTurn(row, timed, effort);
  return { ...figure, othersCores: endWatch() };
}

function measureInTurn(row: Row, step: () => void, effort: Effort): Measured {
  const { workload: { elements }, mode } = row;
  const roofline = elements >= LARGE
    ? openRoofline(trafficOf(row) / passesOf(mode), hasMomentum(mode))
    : null;
  const runs = [step, scalarLoop, ...(roofline === null ? [] : [roofline])];
  const [steps, scalars, rooflines] = sampleInTurn(runs, effort);
  const reference = roofline === null ? "scalar loop" : "roofline";
  const others = reference === "roofline" ? rooflines : scalars;
  const ns = median(steps);
  const ratios = steps.map((step, i) => step / others[i]);
  return {
    row: nameOf(row),
    reference,
    ratio: median(ratios),
    spread: spreadOf(ratios),
    ns,
    throughput: trafficOf(row) / ns,
    roofline: roofline === null ? null : trafficOf(row) / median(rooflines),
  };
}

/** The fastest of many samples are compared: other programs of the machine only make some slower. */
function measureCompany(row: Row, step: () => void, timed: () => void, effort: Effort): Measured {
  const many = { ...effort, maxRounds: 10 * effort.maxRounds };
  const [before] = sampleInTurn([step], many);
  stepCompany(row.backend);
  const [after] = sampleInTurn([timed], many);
  const ns = median(after);
  return {
    row: nameOf(row),
    reference: "itself before",
    ratio: Math.min(...after) / Math.min(...before),
    spread: spreadOf(after),
    ns,
    throughput: trafficOf(row) / ns,
    roofline: null,
  };
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
