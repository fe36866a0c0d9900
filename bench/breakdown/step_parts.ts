/**
 * Prints as JSON where the time of a step goes. The native call of the last step is called again by
 * itself, with the arguments that the step gave it; the rest of a step is bookkeeping in TypeScript.
 * The number of threads is that of the environment.
 */

import { SGD } from "@descent/sgd";
import { createParameters } from "../memory.ts";
import { LARGE } from "../measure.ts";
import { type Library, unwrap } from "../../src/native/library.ts";
import { library, openRoofline } from "../references.ts";
import { LR, MAIN_MODE, MODES } from "../rows.ts";
import { FULL, median, sampleInTurn } from "../sampler.ts";
import { createWorkload, repeat, type Workload, WORKLOADS } from "../workloads.ts";

/** Ten times as many tensors as `161 x 10`: between the two lies what a tensor costs. */
export const MANY = createWorkload("1610 x 10", repeat(1610, [10]));

/** Medians in nanoseconds. */
export interface Parts {
  readonly workload: string;
  readonly tensors: number;
  readonly elements: number;
  /** The whole step. */
  readonly step: number;
  /** The native call in it. */
  readonly native: number;
  /** A native call that does nothing. */
  readonly empty: number;
  /** The roofline, if the arrays are large. */
  readonly roofline: number | null;
}

if (import.meta.main) {
  const only = Deno.args[0] ?? "";
  const nativeCall = spyOnStep();
  const workloads = [...WORKLOADS, MANY].filter(({ name }) => name.includes(only));
  console.log(JSON.stringify(workloads.map((workload) => measureParts(workload, nativeCall))));
}

function measureParts(workload: Workload, nativeCall: () => void): Parts {
  if ("reason" in library) throw new Error(library.reason);
  const { descent_abi } = library.symbols;
  const options = { lr: LR, ...MODES[MAIN_MODE], backend: "cpu" } as const;
  const optimizer = new SGD(createParameters(workload, "float32"), options);
  const step = () => optimizer.step();
  const { name, elements, shapes } = workload;
  const roofline = elements >= LARGE ? openRoofline(4 * elements, true) : null;
  for (let i = 0; i < 2; i++) step(); // so that the call to repeat is not a first step's
  const emptyCall = () => void descent_abi(); // a call that is written out is the fast kind
  const runs = [step, nativeCall, emptyCall, ...(roofline === null ? [] : [roofline])];
  const [whole, native, empty, rooflines] = sampleInTurn(runs, FULL).map(median);
  return {
    ...{ workload: name, tensors: shapes.length, elements, step: whole, native, empty },
    roofline: rooflines ?? null,
  };
}

/** Puts itself between the backend and the library, before the first optimizer opens it. */
function spyOnStep(): () => void {
  if ("reason" in library) throw new Error(library.reason);
  const { descent_step } = library.symbols;
  let [rows, rowCount, from, to, groups, count, row] = [] as unknown as Parameters<
    typeof descent_step
  >;
  const spy: typeof descent_step = (...args) => {
    [rows, rowCount, from, to, groups, count, row] = args;
    return descent_step(rows, rowCount, from, to, groups, count, row);
  };
  Object.defineProperty(library.symbols, "descent_step", { value: spy });
  const repeat = () => descent_step(rows, rowCount, from, to, groups, count, row);
  return () => unwrap((library as Library).symbols, repeat());
}
