/** Steps of 4,096 rows of a matrix, with momentum. */

import { denoProgram, descentOn, torchOn, torchPrograms } from "../peers/programs.ts";
import { createWorkload } from "../workloads.ts";
import type { BytesRow, Round, Setting } from "./round.ts";

/**
 * The time of a sparse step with momentum over a dense one's when it went over all rows, in use or
 * not: 7.36 ms on a machine that took 7.7 ms for ResNet-50, which has twice the elements.
 */
const BEFORE = 1.9;

const WORKLOAD = createWorkload("4,096 of 50,000 x 256", [[50_000, 256]]);
const MOMENTUM = "with momentum";
const ALL_ROWS = `${MOMENTUM}, all rows in use`;
const DENSE = "dense";

/** With the rows of the gradient in use alone, and with all rows in use. */
export function sparseRound(setting: Setting): Round {
  const { threads } = setting;
  const own = descentOn(threads);
  const torch = torchPrograms(setting.python, threads, "sparse/torch_sparse.py");
  return {
    workload: WORKLOAD,
    bytes: 1e9,
    obstacle: () => null,
    programs: [
      {
        ...denoProgram(own, threads, "sparse/descent.ts", "cpu"),
        runs: [`sorted, ${MOMENTUM}`, `sorted, ${ALL_ROWS}`, DENSE],
      },
      ...torch.map((program) => ({
        ...program,
        input: undefined, // it knows the matrix
        runs: [`coalesced, ${MOMENTUM}`, `coalesced, ${ALL_ROWS}`],
      })),
    ],
    rows: [
      beside(threads, MOMENTUM, 0.75),
      beside(threads, ALL_ROWS, 1),
      {
        work: `sparse, sorted, ${ALL_ROWS}, beside a dense step`,
        own: `${own}, sorted, ${ALL_ROWS}`,
        other: `${own}, ${DENSE}`,
        ratio: "the dense step's time",
        asked: { atMost: BEFORE },
      },
    ],
  };
}

function beside(threads: number, run: string, limit: number): BytesRow {
  const other = `${torchOn(threads)}, coalesced, ${run}`;
  return {
    work: `sparse, sorted, ${run}`,
    own: `${descentOn(threads)}, sorted, ${run}`,
    other,
    ratio: "torch's time",
    asked: { atMost: limit },
    torch: (contender) => contender === other,
  };
}
