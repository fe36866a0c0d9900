/** The rows of `bench:bytes`, and what is asked of them. */

import type { BackendName } from "@descent/sgd";
import { ROOFLINE } from "../peers/duel.ts";
import { denoProgram, descentOn, torchPrograms } from "../peers/programs.ts";
import { findWorkload, type Workload } from "../workloads.ts";
import { type Format, type FormatName, formatObstacle, FORMATS } from "./formats.ts";
import { averageRound } from "./average.ts";
import { optionsRound } from "./options.ts";
import { BYTES_PER_ELEMENT, type Round, type Setting } from "./round.ts";
import { sparseRound } from "./sparse.ts";

const [GPT2, RESNET, MLP] = ["GPT-2 small", "ResNet-50", "MLP 784-256-128-10"].map(findWorkload);

/** What is asked of a format's time over float32's on `cpu`, per workload. */
const ASKED: ReadonlyMap<Workload, Partial<Record<FormatName, number>>> = new Map([
  [GPT2, { bfloat16: 0.75, float16: 0.8, momentum8: 0.85, split: 0.7, split24: 0.62 }],
  [RESNET, { bfloat16: 0.85 }],
]);

/** All rounds, the smallest first. */
export function listRounds(setting: Setting): Round[] {
  const keys = Object.keys(FORMATS) as FormatName[];
  return [
    cachedRound(setting),
    optionsRound(setting, MLP, { fasterThanOneThread: 1.4 }),
    sparseRound(setting),
    optionsRound(setting, RESNET, { jsOverCpu: 3.5, normOverTorch: 1 }),
    averageRound(setting, RESNET),
    ...[MLP, RESNET, GPT2].flatMap((workload) =>
      keys.map((key) => formatRound(setting, workload, "cpu", key))
    ),
    ...keys.map((key) => formatRound(setting, RESNET, "js", key)),
  ];
}

/** A step in a format and one in float32, in the same process. */
function formatRound(
  setting: Setting,
  workload: Workload,
  backend: BackendName,
  key: FormatName,
): Round {
  const { threads } = setting;
  const format: Format = FORMATS[key];
  const own = backend === "cpu" ? descentOn(threads) : "Descent, js";
  const limit = backend === "cpu" ? ASKED.get(workload)?.[key] : undefined;
  const torch = backend === "cpu" && format.torch !== undefined
    ? torchPrograms(setting.python, threads, "peers/torch_steps.py", format.torch)
    : [];
  return {
    workload,
    bytes: workload.elements * BYTES_PER_ELEMENT,
    obstacle: () => formatObstacle(format, backend),
    programs: [denoProgram(own, threads, "bytes/descent.ts", backend, key), ...torch],
    rows: [{
      work: `${format.name}${backend === "js" ? ", js" : ""}`,
      own,
      other: `${own}, float32`,
      ratio: "float32's time",
      asked: limit === undefined ? null : { atMost: limit },
      torch: (contender) => contender.startsWith("torch"),
    }],
  };
}

/** The step of float32 on the MLP, which the caches hold. */
function cachedRound({ threads }: Setting): Round {
  const own = descentOn(threads);
  return {
    workload: MLP,
    bytes: 0,
    obstacle: () => null,
    programs: [denoProgram(own, threads, "peers/descent.ts", "cpu", "roofline")],
    rows: [{
      work: "float32, float32 momentum",
      own,
      other: ROOFLINE,
      ratio: "of the roofline's speed",
      asked: { atLeast: 0.95 },
      inverse: true,
    }],
  };
}
