/** Steps that unscale, check, clip and zero gradients, and the norm alone. */

import { denoProgram, descentOn, torchOn, torchPrograms } from "../peers/programs.ts";
import type { Workload } from "../workloads.ts";
import { BYTES_PER_ELEMENT, type BytesRow, type Round } from "./round.ts";
import type { Setting } from "./round.ts";

/** What is asked of a workload's ratios. */
export interface OptionsAsked {
  readonly jsOverCpu?: number;
  readonly fasterThanOneThread?: number;
  readonly normOverTorch?: number;
}

const WORK = "unscale + check + clip + step + zero";
const SCRIPT = "mixed/descent.ts";
const [STEP, NORM, TORCH_NORM] = ["step", "clipGradNorm alone", "clip_grad_norm_ alone"];

/** `js` and `cpu`, on one thread and on all. */
export function optionsRound(setting: Setting, workload: Workload, asked: OptionsAsked): Round {
  const counts = [...new Set([1, setting.threads])];
  const own = [
    ...counts.map((threads) => denoProgram(descentOn(threads), threads, SCRIPT, "cpu")),
    denoProgram("Descent, js", 1, SCRIPT, "js"),
  ];
  return {
    workload,
    bytes: workload.elements * 4 * BYTES_PER_ELEMENT,
    obstacle: () => null,
    programs: [
      ...own.map((program) => ({ ...program, runs: [STEP, NORM] })),
      ...counts.flatMap((threads) =>
        torchPrograms(setting.python, threads, "mixed/torch_mixed.py")
      ),
    ],
    rows: [...stepRows(setting.threads, asked), normRow(asked)],
  };
}

function stepRows(threads: number, { jsOverCpu, fasterThanOneThread }: OptionsAsked): BytesRow[] {
  const [one, all] = [descentOn(1), descentOn(threads)];
  const onTorch = (threads: number) => (contender: string) =>
    contender.startsWith(torchOn(threads)) && !contender.endsWith(TORCH_NORM);
  return [
    {
      work: `${WORK}, js`,
      own: "Descent, js",
      other: all,
      ratio: "cpu's time",
      asked: jsOverCpu === undefined ? null : { atMost: jsOverCpu },
    },
    {
      work: `${WORK}, 1 thread`,
      own: one,
      other: all,
      ratio: `${threads} threads' time`,
      asked: null,
      torch: onTorch(1),
    },
    {
      work: `${WORK}, ${threads} threads`,
      own: all,
      other: one,
      ratio: "times as fast as 1 thread",
      asked: fasterThanOneThread === undefined ? null : { atLeast: fasterThanOneThread },
      torch: onTorch(threads),
      inverse: true,
    },
  ];
}

function normRow({ normOverTorch }: OptionsAsked): BytesRow {
  const other = `${torchOn(1)}, ${TORCH_NORM}`;
  return {
    work: `${NORM}, 1 thread`,
    own: `${descentOn(1)}, ${NORM}`,
    other,
    ratio: "torch's time",
    asked: normOverTorch === undefined ? null : { atMost: normOverTorch },
    torch: (contender) => contender === other,
  };
}
