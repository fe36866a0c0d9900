/** The rows of `bench:bytes`: which two times are divided, and what is asked of the ratio. */

import { fromFileUrl } from "@std/path/from-file-url";
import type { BackendName } from "@descent/sgd";
import { ROOFLINE } from "../peers/duel.ts";
import { descentOn, type Program, torchOn } from "../peers/programs.ts";
import { createWorkload, findWorkload, type Workload } from "../workloads.ts";
import { type FormatName, formatObstacle, FORMATS } from "./formats.ts";

/** What a ratio should be. */
export interface Asked {
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** One ratio: the time of one contender over another's, of the same rounds. */
export interface BytesRow {
  readonly work: string;
  /** The contender that is measured, and what its time is divided by. */
  readonly own: string;
  readonly other: string;
  /** What the ratio is of, in words. */
  readonly ratio: string;
  readonly asked: Asked | null;
  /** Contenders of torch that do the same, if it can: the fastest one is shown beside. */
  readonly torch?: (contender: string) => boolean;
  /** Whether the ratio is the other's time over the own one: a gain, of which more is better. */
  readonly inverse?: true;
}

/** Rows whose programs run side by side, a sample of each in turn. */
export interface Round {
  readonly workload: Workload;
  readonly programs: readonly Program[];
  readonly rows: readonly BytesRow[];
  /** Bytes that the programs hold at the same time. */
  readonly bytes: number;
  /** Why it cannot be measured. */
  readonly obstacle: () => string | null;
}

/** What the round's programs are started with. */
export interface Setting {
  /** A Python that has torch, or null. */
  readonly python: string | null;
  readonly threads: number;
}

const [GPT2, RESNET, MLP] = ["GPT-2 small", "ResNet-50", "MLP 784-256-128-10"].map(findWorkload);

/** What is asked of a format's time over float32's, per workload. */
const ASKED: ReadonlyMap<Workload, Partial<Record<FormatName, number>>> = new Map([
  [GPT2, { bfloat16: 0.75, float16: 0.8, momentum8: 0.85, split: 0.7, split24: 0.62 }],
  [RESNET, { bfloat16: 0.85 }],
  [MLP, {}],
]);

/**
 * The time of a sparse step with momentum over a dense one's when it went over all rows, in use or
 * not: 7.36 ms on a machine that took 7.7 ms for ResNet-50, which has twice the elements.
 */
const SPARSE_BEFORE = 1.9;

/** Parameters, gradients and momentum of float32, the format's and torch's, and its temporaries. */
const BYTES_PER_ELEMENT = 12 + 12 + 6 + 6;

/** All rounds, the smallest first. */
export function listRounds(setting: Setting): Round[] {
  return [
    steps(setting),
    options(setting, MLP),
    sparse(setting),
    options(setting, RESNET),
    ...[MLP, RESNET, GPT2].flatMap((workload) => formats(setting, workload, "cpu")),
    ...formats(setting, RESNET, "js"),
  ];
}

function formats(setting: Setting, workload: Workload, backend: BackendName): Round[] {
  return (Object.keys(FORMATS) as FormatName[]).map((key) => {
    const format = FORMATS[key];
    const dtype = "torch" in format && backend === "cpu" ? format.torch : null;
    const own = backend === "cpu" ? descentOn(setting.threads) : "Descent, js";
    return {
      workload,
      bytes: workload.elements * BYTES_PER_ELEMENT,
      obstacle: () => formatObstacle(format, backend),
      programs: [
        {
          name: own,
          command: ({ name }) => deno("bytes/descent.ts", name, backend, key),
          env: threadsOf(setting.threads),
        },
        ...(dtype === null ? [] : torch(setting, [setting.threads], "peers/torch_steps.py", dtype)),
      ],
      rows: [{
        work: `${format.name}${backend === "js" ? ", js" : ""}`,
        own,
        other: `${own}, float32`,
        ratio: "float32's time",
        asked: backend === "cpu" ? atMost(ASKED.get(workload)?.[key]) : null,
        ...(dtype === null ? {} : { torch: (contender) => contender.startsWith("torch") }),
      }],
    };
  });
}

/** The step of float32 on the MLP, which the caches hold. */
function steps({ threads }: Setting): Round {
  return {
    ...{ workload: MLP, bytes: 0, obstacle: () => null },
    programs: [{
      name: descentOn(threads),
      command: ({ name }) => deno("peers/descent.ts", name, "cpu", "roofline"),
      env: threadsOf(threads),
    }],
    rows: [{
      work: "float32, float32 momentum",
      own: descentOn(threads),
      other: ROOFLINE,
      ratio: "of the roofline's speed",
      asked: { atLeast: 0.95 },
      inverse: true,
    }],
  };
}

/** Unscale, check, clip, step and zero, and the norm alone. */
function options(setting: Setting, workload: Workload): Round {
  const [one, two] = [descentOn(1), descentOn(setting.threads)];
  const work = "unscale + check + clip + step + zero";
  const onTorch = (threads: number) => (contender: string) =>
    contender.startsWith(torchOn(threads)) && !contender.endsWith("alone");
  const isResnet = workload === RESNET;
  const runs = ["step", "clipGradNorm alone"];
  return {
    ...{ workload, bytes: workload.elements * 4 * BYTES_PER_ELEMENT, obstacle: () => null },
    programs: [
      ...[...new Set([1, setting.threads])].map((threads) => ({
        name: descentOn(threads),
        command: ({ name }: Workload) => deno("mixed/descent.ts", name, "cpu"),
        env: threadsOf(threads),
        runs,
      })),
      {
        name: "Descent, js",
        command: ({ name }) => deno("mixed/descent.ts", name, "js"),
        runs,
      },
      ...torch(setting, [...new Set([1, setting.threads])], "mixed/torch_mixed.py"),
    ],
    rows: [
      {
        ...{ work: `${work}, js`, own: "Descent, js", other: two, ratio: "cpu's time" },
        asked: isResnet ? { atMost: 3.5 } : null,
      },
      {
        ...{
          work: `${work}, 1 thread`,
          own: one,
          other: two,
          ratio: `${setting.threads} threads'`,
        },
        ...{ asked: null, torch: onTorch(1) },
      },
      {
        ...{ work: `${work}, ${setting.threads} threads`, own: two, other: one },
        ...{ ratio: "times as fast as 1 thread", inverse: true },
        ...{ asked: isResnet ? null : { atLeast: 1.4 }, torch: onTorch(setting.threads) },
      },
      {
        work: "clipGradNorm alone, 1 thread",
        own: `${one}, clipGradNorm alone`,
        other: `${torchOn(1)}, clip_grad_norm_ alone`,
        ratio: "torch's time",
        asked: isResnet ? { atMost: 1 } : null,
        torch: (contender) => contender === `${torchOn(1)}, clip_grad_norm_ alone`,
      },
    ],
  };
}

/** 4,096 rows of a matrix, with momentum. */
function sparse(setting: Setting): Round {
  const own = descentOn(setting.threads);
  const row = (run: string, torchRun: string, limit: number): BytesRow => {
    const other = `${torchOn(setting.threads)}, ${torchRun}`;
    return {
      ...{ work: `sparse, ${run}`, own: `${own}, ${run}`, other, ratio: "torch's time" },
      ...{ asked: { atMost: limit }, torch: (contender) => contender === other },
    };
  };
  const momentum = "with momentum";
  const all = `${momentum}, all rows in use`;
  return {
    ...{ workload: createWorkload("4,096 of 50,000 x 256", [[50_000, 256]]), obstacle: () => null },
    bytes: 1e9,
    programs: [
      {
        name: own,
        command: () => deno("sparse/descent.ts", "cpu"),
        env: threadsOf(setting.threads),
        runs: [`sorted, ${momentum}`, `sorted, ${all}`, "dense"],
      },
      ...torch(setting, [setting.threads], "sparse/torch_sparse.py").map((program) => ({
        ...{ ...program, input: undefined }, // it knows the matrix
        runs: [`coalesced, ${momentum}`, `coalesced, ${all}`],
      })),
    ],
    rows: [
      row(`sorted, ${momentum}`, `coalesced, ${momentum}`, 0.75),
      row(`sorted, ${all}`, `coalesced, ${all}`, 1),
      {
        work: `sparse, sorted, ${all}, beside a dense step`,
        own: `${own}, sorted, ${all}`,
        other: `${own}, dense`,
        ratio: "the dense step's time",
        asked: { atMost: SPARSE_BEFORE },
      },
    ],
  };
}

function torch(
  { python }: Setting,
  threads: readonly number[],
  script: string,
  ...args: readonly string[]
): Program[] {
  if (python === null) return [];
  return threads.map((count) => ({
    name: torchOn(count),
    command: () => [python, "-W", "ignore", here(script), String(count), ...args],
    input: ({ shapes }) => JSON.stringify(shapes),
  }));
}

function atMost(limit: number | undefined): Asked | null {
  return limit === undefined ? null : { atMost: limit };
}

function threadsOf(threads: number): Record<string, string> {
  return { DESCENT_THREADS: String(threads) };
}

function deno(script: string, ...args: readonly string[]): string[] {
  return [Deno.execPath(), "run", "-q", "--no-check", "-A", here(script), ...args];
}

function here(file: string): string {
  return fromFileUrl(new URL(`../${file}`, import.meta.url));
}
