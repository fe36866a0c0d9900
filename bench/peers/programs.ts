/** The programs that are measured against each other, and talking to them. */

import { fromFileUrl } from "@std/path/from-file-url";
import type { Workload } from "../workloads.ts";
import { lines, type Ready } from "./serve.ts";

/** A program, and how it is started. */
export interface Program {
  readonly name: string;
  readonly command: (workload: Workload) => readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** What it reads before it starts. */
  readonly input?: (workload: Workload) => string;
  /** The most elements that it can take. */
  readonly maxElements?: number;
  /** Which of its runs are measured; all of them by default. */
  readonly runs?: readonly string[];
}

/** A program that runs and waits to be asked. */
export interface Running {
  readonly name: string;
  readonly ready: Ready;
  /** Takes one sample of one of its runs; nanoseconds per call. */
  readonly sample: (run: string) => Promise<number>;
  /** Ends it. */
  readonly close: () => Promise<void>;
}

/** Descent's name with that many threads. */
export function descentOn(threads: number): string {
  return `Descent, ${threads} ${threads === 1 ? "thread" : "threads"}`;
}

/** torch's name with that many threads. */
export function torchOn(threads: number): string {
  return `torch, ${threads} ${threads === 1 ? "thread" : "threads"}`;
}

/** The numbers of threads that are measured; the last one is the one that the rows are about. */
export const THREADS: readonly number[] = [1, 2];

/** The runs in which Descent steps the variables of tfjs. */
export const IN_TFJS = { copies: "Descent with copies", views: "Descent with views" } as const;

/** WebAssembly's memory holds the parameters of ResNet-50 and its temporaries, not GPT-2's. */
const TFJS_MAX = 1e8;

/** The programs in Deno, and torch's if there is a Python that has it. */
export function listPrograms(python: string | null): Program[] {
  return [
    ...THREADS.map((threads) =>
      denoProgram(
        descentOn(threads),
        threads,
        "peers/descent.ts",
        ...["cpu", ...(threads > 1 ? ["roofline"] : [])],
      )
    ),
    denoProgram("Descent, js", 1, "peers/descent.ts", "js"),
    denoProgram("plain TypeScript loop", 1, "peers/loop.ts"),
    { ...denoProgram("tfjs, wasm", 1, "peers/tfjs.ts"), maxElements: TFJS_MAX },
    ...THREADS.flatMap((threads) => torchPrograms(python, threads, "peers/torch_steps.py")),
  ];
}

/** A program in Deno; `script` is relative to `bench`. Its first argument is the workload's name. */
export function denoProgram(
  name: string,
  threads: number,
  script: string,
  ...args: readonly string[]
): Program {
  const start = [Deno.execPath(), "run", "-q", "--no-check", "-A", inBench(script)];
  return {
    name,
    command: (workload) => [...start, workload.name, ...args],
    env: { DESCENT_THREADS: String(threads) },
  };
}

/** A program of torch that reads the workload's shapes; none without a Python that has torch. */
export function torchPrograms(
  python: string | null,
  threads: number,
  script: string,
  ...args: readonly string[]
): Program[] {
  if (python === null) return [];
  return [{
    name: torchOn(threads),
    command: () => [python, "-W", "ignore", inBench(script), String(threads), ...args],
    input: ({ shapes }) => JSON.stringify(shapes),
  }];
}

/** Starts a program; it has made its parameters and is warm when this returns. */
export async function start(program: Program, workload: Workload): Promise<Running> {
  const [file, ...args] = program.command(workload);
  const { env } = program;
  const child = new Deno.Command(file, { args, env, stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const output = lines(child.stdout);
  const say = (line: string) => writer.write(new TextEncoder().encode(`${line}\n`));
  const hear = async () => {
    const { value, done } = await output.next();
    if (done) throw new Error(`Cannot measure ${program.name} on ${workload.name}: it ended`);
    return value;
  };
  if (program.input !== undefined) await say(program.input(workload));
  const ready: Ready = JSON.parse(await hear());
  const isWanted = (run: string) => program.runs === undefined || program.runs.includes(run);
  return {
    name: program.name,
    ready: { ...ready, runs: ready.runs.filter(isWanted) },
    sample: async (run) => {
      await say(run);
      return Number(await hear());
    },
    close: async () => {
      await writer.close();
      await child.status;
    },
  };
}

function inBench(file: string): string {
  return fromFileUrl(new URL(`../${file}`, import.meta.url));
}
