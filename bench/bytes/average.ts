/** A step that averages weights, next to the step alone. */

import { denoProgram, descentOn } from "../peers/programs.ts";
import type { Workload } from "../workloads.ts";
import { BYTES_PER_ELEMENT, type Round, type Setting } from "./round.ts";

/** The runs of `descent_average.ts`. */
export const [STEP, AVERAGED, APART] = ["step", "step + average", "step, then update()"];

/** What is asked: 28 bytes are moved instead of 20. */
const AT_MOST = 1.45;

/** A step that averages in its pass, and one that is averaged apart, in the same process. */
export function averageRound({ threads }: Setting, workload: Workload): Round {
  const own = descentOn(threads);
  const row = (run: string, work: string, atMost: number | null) => ({
    ...{ work, own: `${own}, ${run}`, other: own, ratio: "the step's time" },
    asked: atMost === null ? null : { atMost },
  });
  return {
    workload,
    bytes: workload.elements * BYTES_PER_ELEMENT,
    obstacle: () => null,
    programs: [denoProgram(own, threads, "bytes/descent_average.ts", "cpu")],
    rows: [
      row(AVERAGED, "float32, averaged in the same pass", AT_MOST),
      row(APART, "float32, averaged after the step", null),
    ],
  };
}
