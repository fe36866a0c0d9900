/**
 * Jobs of several processes, under each engine that this machine has: Open MPI, MPICH, and a library
 * of the tests that exchanges files (`fake_mpi.rs`), which is there wherever rustc is.
 */

import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { cpuMissing } from "../support/backends.ts";

/** The engines that tests know. */
export const ENGINES = ["files", "Open MPI", "MPICH"] as const;

/** `MPI 5` is MPICH 5 by its library with the interface of that standard: `.ci/run` puts it there. */
export type Engine = typeof ENGINES[number] | "MPI 5";

/** How long a job may take before it is ended, in milliseconds. */
const MOST = 90_000;

const PROGRAMS: Readonly<Record<Exclude<Engine, "files">, readonly string[]>> = {
  "Open MPI": ["mpirun.openmpi", "mpirun"],
  "MPICH": ["mpiexec.mpich", "mpiexec.hydra"],
  "MPI 5": [],
};

/** Where a Python environment has the package `mpich` 5. */
const MPI_5 = fromFileUrl(new URL("../../out/mpi5/", import.meta.url));

/** How a rank ended, or a job. */
export interface JobEnding {
  readonly code: number;
  /** What each rank printed, by rank. Output of a rank is what follows `[rank] ` at the start of a line. */
  readonly out: readonly string[];
  /** What all of them printed. */
  readonly text: string;
  readonly err: string;
  readonly milliseconds: number;
}

/** Why an engine cannot be used; null if it can. */
export function missing(engine: Engine): string | null {
  if (cpuMissing !== null) return cpuMissing;
  if (engine === "files") return isThere("rustc") ? null : "rustc is not installed";
  return findLauncher(engine) === null ? `${engine} is not installed` : null;
}

/**
 * A test under an engine.
 *
 * @param obstacle Why it cannot run here with any engine.
 */
export function testOn(
  engine: Engine,
  name: string,
  fn: () => Promise<void>,
  obstacle: string | null = null,
): void {
  const reason = missing(engine) ?? obstacle;
  const skipped = reason === null ? "" : ` (skipped: ${reason})`;
  Deno.test({ name: `${engine}: ${name}${skipped}`, ignore: reason !== null, fn });
}

/**
 * Runs a program of this folder as a job.
 *
 * @param program Its TypeScript text, after imports of what the tests use.
 */
export async function runJob(
  engine: Engine,
  size: number,
  program: string,
  env: Readonly<Record<string, string>> = {},
): Promise<JobEnding> {
  const folder = await Deno.makeTempDir({ prefix: "descent-job-" });
  try {
    const file = join(folder, "program.ts");
    await Deno.writeTextFile(file, `${PRELUDE}\n${program}\n`);
    const start = performance.now();
    const ending = engine === "files"
      ? await runFiles(size, file, folder, env)
      : await runLaunched(engine, size, file, env);
    return { ...ending, milliseconds: performance.now() - start };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const ROOT = new URL("../../", import.meta.url);
const CONFIG = fromFileUrl(new URL("deno.json", ROOT));

const PRELUDE = `
import { openWorld, WorldError, WorldUnavailableError } from "${new URL("mpi.ts", ROOT)}";
import { SGD } from "${new URL("mod.ts", ROOT)}";
const say = (text: unknown) => console.log(\`[\${rankOf()}] \${text}\`);
const rankOf = () => Deno.env.get("PMI_RANK") ?? Deno.env.get("OMPI_COMM_WORLD_RANK") ?? "0";
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
`;

const FLAGS = ["run", "--quiet", "--no-check", "--no-prompt", "--allow-all", "--config", CONFIG];

async function runLaunched(
  engine: Exclude<Engine, "files">,
  size: number,
  file: string,
  env: Readonly<Record<string, string>>,
): Promise<Omit<JobEnding, "milliseconds">> {
  return await launch(engine, size, [Deno.execPath(), ...FLAGS, file], env);
}

/**
 * Runs a command as the ranks of a job.
 *
 * @param options Options of the launcher.
 */
export async function launch(
  engine: Exclude<Engine, "files">,
  size: number,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
  options: readonly string[] = engine === "Open MPI" ? ["--oversubscribe"] : [],
): Promise<Omit<JobEnding, "milliseconds">> {
  const library: Record<string, string> = engine === "MPI 5"
    ? { DESCENT_MPI: join(MPI_5, "lib/libmpi_abi.so.1") }
    : {};
  const output = await runToEnd(
    findLauncher(engine)!,
    ["-n", `${size}`, ...options, ...command],
    { OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1", ...library, ...env },
  );
  return { ...output, text: output.out, out: linesOf(size, output.out) };
}

async function runFiles(
  size: number,
  file: string,
  folder: string,
  env: Readonly<Record<string, string>>,
): Promise<Omit<JobEnding, "milliseconds">> {
  const messages = join(folder, "messages");
  await Deno.mkdir(messages);
  const shared = {
    ...{ FAKE_MPI_FOLDER: messages, PMI_SIZE: `${size}`, MPI_LOCALNRANKS: `${size}` },
    DESCENT_MPI: await fakeLibrary(),
  };
  const failed = Promise.withResolvers<void>();
  const ranks = await Promise.all(Array.from({ length: size }, async (_, rank) => {
    const own = { ...shared, PMI_RANK: `${rank}`, ...env };
    const ending = await runToEnd(Deno.execPath(), [...FLAGS, file], own, failed.promise);
    if (ending.code !== 0) failed.resolve();
    return ending;
  }));
  const out = ranks.map(({ out }) => out).join("\n");
  return {
    code: Math.max(...ranks.map(({ code }) => code)),
    out: linesOf(size, out),
    text: out,
    err: ranks.map(({ err }) => err).join("\n"),
  };
}

let built: Promise<string> | undefined;

/** The library that exchanges files, compiled once per process. */
export function fakeLibrary(): Promise<string> {
  return built ??= buildFake();
}

async function buildFake(): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "descent-fake-mpi-" });
  addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  const extension = { darwin: "dylib", windows: "dll" }[Deno.build.os as string] ?? "so";
  const library = join(folder, `libfake_mpi.${extension}`);
  const source = fromFileUrl(new URL("fake_mpi.rs", import.meta.url));
  const args = ["--edition", "2024", "-O", "-A", "warnings", "--crate-type", "cdylib"];
  const { code, err } = await runToEnd("rustc", [...args, "-o", library, source], {});
  if (code !== 0) throw new Error(err);
  return library;
}

/** How long a rank gets to end by itself when another one has failed, as launchers give it. */
const GRACE = 2000;

/**
 * Runs a program to its end.
 *
 * @param ended Settles when the program is to end soon.
 */
async function runToEnd(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
  ended: Promise<void> = new Promise(() => {}),
) {
  const child = new Deno.Command(program, {
    ...{ args: [...args], env: { NO_COLOR: "1", DESCENT_THREADS: "1", ...env } },
    ...{ stdin: "null", stdout: "piped", stderr: "piped" },
  }).spawn();
  const timers = [setTimeout(() => child.kill("SIGTERM"), MOST)];
  let isRunning = true;
  ended.then(() => {
    if (isRunning) timers.push(setTimeout(() => child.kill("SIGKILL"), GRACE));
  });
  const { code, stdout, stderr } = await child.output();
  isRunning = false;
  timers.forEach(clearTimeout);
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out, err };
}

/** The lines of each rank, joined. */
function linesOf(size: number, text: string): string[] {
  const lines = text.split("\n");
  return Array.from({ length: size }, (_, rank) => {
    const mark = `[${rank}] `;
    return lines.filter((line) => line.startsWith(mark)).map((line) => line.slice(mark.length))
      .join("\n");
  });
}

function findLauncher(engine: Exclude<Engine, "files">): string | null {
  if (engine === "MPI 5") {
    const launcher = join(MPI_5, "bin/mpiexec");
    return isFile(launcher) && isFile(join(MPI_5, "lib/libmpi_abi.so.1")) ? launcher : null;
  }
  return PROGRAMS[engine].find((name) => isThere(name) && isOf(engine, name)) ?? null;
}

/** Whether a launcher is that of an engine: `mpirun` may be either one's. */
function isOf(engine: Engine, program: string): boolean {
  const { stdout } = new Deno.Command(program, { args: ["--version"] }).outputSync();
  const text = new TextDecoder().decode(stdout);
  return text.includes(engine === "Open MPI" ? "Open MPI" : "HYDRA");
}

function isThere(program: string): boolean {
  const folders = (Deno.env.get("PATH") ?? "").split(Deno.build.os === "windows" ? ";" : ":");
  const names = Deno.build.os === "windows" ? [`${program}.exe`] : [program];
  return folders.some((folder) => names.some((name) => isFile(join(folder, name))));
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
