/** Jobs of two ranks that wait to be asked for samples. */

import { fromFileUrl } from "@std/path/from-file-url";
import { lines, type Ready } from "../peers/serve.ts";

/** A job that runs. */
export interface Job {
  readonly name: string;
  readonly ready: Ready;
  /** Takes a sample of one of its runs: nanoseconds of a step. */
  readonly sample: (run: string) => Promise<number>;
  /** Ends it. */
  readonly close: () => Promise<void>;
}

/** How many ranks a job has. */
export const RANKS = 2;

/** The launchers that are tried, by engine: `mpirun` may be either one's. */
const LAUNCHERS = {
  "Open MPI": ["mpirun.openmpi", "--oversubscribe", "--bind-to", "none", "--stdin", "0"],
  "MPICH": ["mpiexec.mpich"],
} as const;

const here = (file: string) => fromFileUrl(new URL(file, import.meta.url));
const CONFIG = here("../../deno.json");

function rankCommand(length: number): string[] {
  const run = [Deno.execPath(), "run", "-q", "--no-check", "-A", "--config", CONFIG];
  return [...run, here("rank.ts"), `${length}`];
}

/** Starts a job under each engine that is installed, and names those that are not. */
export async function startEngines(length: number): Promise<Job[]> {
  const jobs: Job[] = [];
  for (const [name, [launcher, ...flags]] of Object.entries(LAUNCHERS)) {
    const command = [launcher, "-n", `${RANKS}`, ...flags, ...rankCommand(length)];
    try {
      jobs.push(await startJob(name, [command]));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      console.log(`${name} is not measured: ${launcher} is not installed.`);
    }
  }
  return jobs;
}

/** Starts a process of one rank, without a launcher. */
export function startAlone(length: number): Promise<Job> {
  return startJob("one rank", [rankCommand(length)]);
}

/** Starts torch's ranks. */
export function startTorch(python: string, length: number): Promise<Job> {
  const command = [python, here("torch_gloo.py"), `${length}`];
  return startJob("torch", Array.from({ length: RANKS }, () => command));
}

/** Starts the processes of a job, of which the first one is asked. */
async function startJob(name: string, commands: readonly (readonly string[])[]): Promise<Job> {
  const port = `${20_000 + Deno.pid % 20_000}`;
  const children = commands.map(([program, ...args], rank) =>
    new Deno.Command(program, {
      args,
      env: {
        ...{ DESCENT_THREADS: "1", OMPI_ALLOW_RUN_AS_ROOT: "1" },
        ...{ OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1", MASTER_ADDR: "127.0.0.1", MASTER_PORT: port },
        ...{ RANK: `${rank}`, WORLD_SIZE: `${commands.length}` },
      },
      ...{ stdin: rank === 0 ? "piped" : "null", stdout: rank === 0 ? "piped" : "null" },
    }).spawn()
  );
  const [first] = children;
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
      await Promise.all(children.map((child) => child.status));
      await answers.return(undefined);
    },
  };
}
