/** Jobs of two ranks, on this machine or on two that a cable joins. */

import { fromFileUrl } from "@std/path/from-file-url";
import { lines, type Ready } from "../peers/serve.ts";
import type { Machines } from "./machines.ts";

/** A job that waits to be asked for samples. */
export interface Job {
  readonly name: string;
  readonly ready: Ready;
  /** Takes a sample of one of its runs: nanoseconds of a step. */
  readonly sample: (run: string) => Promise<number>;
  /** Ends it. */
  readonly close: () => Promise<void>;
}

/** The programs of a job, and what rank 0 reads and writes. */
interface Processes {
  readonly first: Deno.ChildProcess;
  readonly all: readonly Deno.ChildProcess[];
}

/** How many ranks a job has. */
export const RANKS = 2;

/** The engines that are tried, with their launchers: `mpirun` may be either one's. */
export const ENGINES = { "Open MPI": "mpirun.openmpi", "MPICH": "mpiexec.mpich" } as const;

/** The name of an engine. */
export type Engine = keyof typeof ENGINES;

const here = (file: string) => fromFileUrl(new URL(file, import.meta.url));
const CONFIG = here("../../deno.json");

/** What starts a program of this folder with Deno. */
function programCommand(file: string, length: number): string[] {
  const run = [Deno.execPath(), "run", "-q", "--no-check", "-A", "--config", CONFIG];
  return [...run, here(file), `${length}`];
}

/** What starts it as the ranks of a job. */
function launchCommand(engine: Engine, machines: Machines | null, command: readonly string[]) {
  const launcher = ENGINES[engine];
  const count = ["-n", `${RANKS}`];
  const isOpen = engine === "Open MPI";
  const bound = isOpen ? ["--oversubscribe", "--bind-to", "none", "--stdin", "0"] : [];
  if (machines === null) return [launcher, ...count, ...bound, ...command];
  const { hosts, agent, network, enter } = machines;
  const placed = isOpen
    ? [
      ...["--host", hosts.join(), "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self"],
      ...["btl_tcp_if_include", "oob_tcp_if_include"].flatMap((name) => ["--mca", name, network]),
    ]
    : ["-launcher", "ssh", "-launcher-exec", agent, "-hosts", hosts.join()];
  return [...enter(0), launcher, ...count, ...bound, ...placed, ...command];
}

const OPEN_MPI_AS_ROOT = { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" };

/** Keeps MPICH from sharing memory between machines that are namespaces of one. */
const environmentOn = ({ folder }: Machines) => ({ UCX_TLS: "tcp,self", TMPDIR: folder });

/** Tells glibc to take new pages for large blocks, as freed ones that it has would hide some. */
const LARGE_BLOCKS_ARE_PAGES = { MALLOC_MMAP_THRESHOLD_: "131072" };

/** Whether an engine is installed; if not, that is printed. */
export function isInstalled(engine: Engine): boolean {
  const launcher = ENGINES[engine];
  try {
    new Deno.Command(launcher, { args: ["--version"], stdout: "null" }).outputSync();
    return true;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log(`${engine} is not measured: ${launcher} is not installed.`);
    return false;
  }
}

/** Starts a job whose ranks wait to be asked for steps. */
export function startEngine(engine: Engine, machines: Machines | null, length: number) {
  const env = { ...OPEN_MPI_AS_ROOT, ...machines === null ? {} : environmentOn(machines) };
  const command = launchCommand(engine, machines, programCommand("rank.ts", length));
  return serve(engine, start([{ command, env }]));
}

/** Starts torch's ranks. */
export function startTorch(python: string, machines: Machines | null, length: number) {
  const port = `${20_000 + Deno.pid % 20_000}`;
  const ranks = Array.from({ length: RANKS }, (_, rank) => ({
    command: [...machines?.enter(rank) ?? [], python, here("torch_gloo.py"), `${length}`],
    env: {
      ...{ MASTER_ADDR: machines?.hosts[0] ?? "127.0.0.1", MASTER_PORT: port },
      ...{ RANK: `${rank}`, WORLD_SIZE: `${RANKS}` },
      ...machines === null ? {} : { GLOO_SOCKET_IFNAME: machines.cards[rank] },
    },
  }));
  return serve("torch", start(ranks));
}

/**
 * Runs a program of this folder to its end.
 *
 * @param engine Whose launcher starts it, as the ranks of a job; null for a process by itself.
 * @returns What it prints, a value as JSON.
 */
export async function runOnce<T>(engine: Engine | null, file: string, length: number): Promise<T> {
  const command = programCommand(file, length);
  const [program, ...args] = engine === null ? command : launchCommand(engine, null, command);
  const env = { DESCENT_THREADS: "1", ...OPEN_MPI_AS_ROOT, ...LARGE_BLOCKS_ARE_PAGES };
  const { success, stdout } = await new Deno.Command(program, {
    ...{ args, env, stdin: "null", stderr: "inherit" },
  }).output();
  if (!success) throw new Error(`Cannot measure ${file} as it has failed`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

interface Rank {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** Starts programs, of which the first one is asked. */
function start(ranks: readonly Rank[]): Processes {
  const all = ranks.map(({ command: [program, ...args], env }, rank) =>
    new Deno.Command(program, {
      ...{ args, env: { DESCENT_THREADS: "1", ...env } },
      ...{ stdin: rank === 0 ? "piped" : "null", stdout: rank === 0 ? "piped" : "null" },
    }).spawn()
  );
  return { first: all[0], all };
}

async function serve(name: string, { first, all }: Processes): Promise<Job> {
  const answers = lines(first.stdout);
  const next = async () => {
    const { value, done } = await answers.next();
    if (done) throw new Error(`Cannot measure ${name} as it has ended`);
    return value;
  };
  const input = first.stdin.getWriter();
  return {
    name,
    ready: JSON.parse(await next()),
    async sample(run) {
      await input.write(new TextEncoder().encode(`${run}\n`));
      return Number(await next());
    },
    async close() {
      await input.close();
      await Promise.all(all.map((child) => child.status));
      await answers.return(undefined);
    },
  };
}
