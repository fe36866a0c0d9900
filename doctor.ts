/**
 * Reports what a bug report needs: versions, the platform, where the native library is looked for,
 * its build details, GPUs, libraries of MPI, permissions, and which backend `"auto"` picks and why. Never prompts.
 *
 * ```sh
 * deno run -A jsr:@descent/sgd/doctor   # Deno
 * npx @descent/sgd doctor               # Node.js; in Bun, bunx
 * ```
 *
 * | | |
 * | --- | --- |
 * | the program | prints the report |
 * | {@linkcode diagnose} | returns the report of this process |
 *
 * Guide: [troubleshooting](https://github.com/descent/sgd/blob/main/docs/troubleshooting.md).
 *
 * @example Put the report into a log
 * ```ts
 * import { diagnose } from "@descent/sgd/doctor";
 *
 * console.log(diagnose());
 * ```
 *
 * @module
 */

import { chooseWithReason } from "./src/backends/choose.ts";
import { allowed, commandOf, environment, platform, runtimeName } from "./src/core/platform.ts";
import { readWhole } from "./src/files/probe.ts";
import { CHOICE, hiddenCacheVariables, listCandidates } from "./src/native/candidates.ts";
import type { Candidate } from "./src/native/candidates.ts";
import { findCaller, openingFlag } from "./src/native/ffi.ts";
import { openGpu } from "./src/gpu/gpu.ts";
import { judge, openLibrary, openWorldPath, readText } from "./src/native/library.ts";
import { cacheVariables } from "./src/native/release.ts";
import { canRun, checkFiles, isOwnFile, isStarted } from "./src/core/runtime.ts";
import { VERSION } from "./src/core/version.ts";

/** What there is in a browser. */
const INSTEAD = 'elsewhere there is no native library, and backend "auto" is js';

type Line = readonly [label: string, text: string];

/**
 * Reports what this process finds: versions, the library, GPUs, libraries of MPI, the backend and permissions.
 *
 * @returns Lines of text: a label and its value.
 * @throws {Error} In a browser.
 *
 * @category Install
 */
export function diagnose(): string {
  checkFiles("diagnose", INSTEAD);
  const lines = [
    ...versions(),
    ...places(),
    ...library(),
    ...gpu(),
    ...mpi(),
    ...choice(),
    ...permissions(),
  ];
  const width = Math.max(...lines.map(([label]) => label.length)) + 2;
  return lines.map(([label, text]) => label.padEnd(width) + text).join("\n");
}

function versions(): Line[] {
  return [["descent", VERSION], ...(typeof Deno === "undefined" ? nodeVersions() : denoVersions())];
}

function denoVersions(): Line[] {
  const { deno, v8, typescript } = Deno.version;
  return [
    ["deno", `${deno}, V8 ${v8}, TypeScript ${typescript}`],
    ["platform", `${Deno.build.target}, ${navigator.hardwareConcurrency} logical cores`],
  ];
}

function nodeVersions(): Line[] {
  const { versions } = process;
  const { os, arch } = platform();
  const cores = process.getBuiltinModule("node:os").availableParallelism();
  return [
    versions.bun === undefined
      ? ["node", `${versions.node}, V8 ${versions.v8}`]
      : ["bun", versions.bun],
    ["platform", `${arch}-${os}, ${cores} logical cores`],
    ["native calls", findCaller() ?? "none, add koffi"],
  ];
}

function places(): Line[] {
  const lines: Line[] = listCandidates().map((candidate) => [
    candidate.source,
    `${candidate.path}: ${describePlace(candidate)}`,
  ]);
  const hidden = hiddenCacheVariables();
  if (hidden.length > 0) lines.push(["cache", `not known, add --allow-env=${hidden}`]);
  return lines;
}

function describePlace(candidate: Candidate): string {
  const { path, released } = candidate;
  const verdict = judge(candidate);
  if (verdict === "forbidden") return `not allowed, add ${openingFlag(path)}`;
  if (verdict !== "ready") {
    const { kind, reason } = verdict;
    return kind === "missing" ? "not there" : kind === "damaged" ? `damaged: ${reason}` : reason;
  }
  const sha256 = released && hashOf(path);
  return sha256 === undefined || sha256 === released?.sha256
    ? "there"
    : `there, but not the released file: its SHA-256 must be ${released?.sha256}: current value ` +
      `is ${sha256}: run ${commandOf("install", VERSION)}`;
}

/** The SHA-256 of a file, if it may be read. */
function hashOf(path: string): string | undefined {
  if (!allowed({ name: "read", path })) return undefined;
  // An import of the module would be looked for by bundlers for browsers.
  const { createHash } = process.getBuiltinModule("node:crypto");
  return createHash("sha256").update(readWhole(path)).digest("hex");
}

function library(): Line[] {
  try {
    const library = openLibrary();
    if ("reason" in library) return [["library", `none: ${library.reason}`]];
    const info: Line[] = Object.entries(library.info).map(([name, value]) => [
      `  ${name}`,
      typeof value === "string" ? value : JSON.stringify(value),
    ]);
    return [["library", library.path], ...info];
  } catch (error) {
    return [["library", `broken: ${(error as Error).message}`]];
  }
}

/** The adapter that `openGpu()` opens. */
function gpu(): Line[] {
  try {
    const opened = withRuntimeFolder(openGpu);
    const { name, type, backend, driver, float16 } = opened.info;
    opened[Symbol.dispose](); // not every runtime that imports this can parse `using`
    const traits = [type, backend, driver, `float16: ${float16 ? "yes" : "no"}`];
    return [["gpu", `${name} (${traits.join(", ")})`]];
  } catch (error) {
    return [["gpu", `none: ${(error as Error).message}`]];
  }
}

/**
 * Does something with `XDG_RUNTIME_DIR` set: without it, Vulkan's drivers for screens print to stderr that
 * it is missing, which a reader of the report would take for an error.
 */
function withRuntimeFolder<T>(look: () => T): T {
  const variable = "XDG_RUNTIME_DIR";
  const isMissing = platform().os === "linux" && allowed({ name: "env", variable }) &&
    environment(variable) === undefined;
  if (!isMissing) return look();
  setVariable(variable, "/nonexistent");
  try {
    return look();
  } finally {
    setVariable(variable, undefined);
  }
}

/** Sets an environment variable of this process, or removes it. */
function setVariable(variable: string, value: string | undefined): void {
  if (typeof Deno === "undefined") {
    if (value === undefined) delete process.env[variable];
    else process.env[variable] = value;
  } else if (value === undefined) Deno.env.delete(variable);
  else Deno.env.set(variable, value);
}

/** What `openWorld()` would find. It opens no world. */
function mpi(): Line[] {
  try {
    const path = openWorldPath();
    if ("reason" in path) return [["mpi", `none: ${path.reason}`]];
    const { descent_world_probe } = path.symbols;
    const text = readText((out, capacity) => descent_world_probe(out, capacity));
    return text.split("\n").map((line) => ["mpi", line]);
  } catch (error) {
    return [["mpi", `none: ${(error as Error).message}`]];
  }
}

function choice(): Line[] {
  try {
    const { backend, reason } = chooseWithReason("auto");
    return [['backend "auto"', `${backend.name}, as ${reason}`]];
  } catch {
    return [['backend "auto"', "an error, as the library cannot be used"]];
  }
}

function permissions(): Line[] {
  const names = ["ffi", "read", "write", "net", "sys"] as const;
  const granted = names.filter((name) => allowed({ name }));
  const variables = [CHOICE, ...cacheVariables(platform().os), "DESCENT_THREADS", "DESCENT_SIMD"];
  const readable = variables.filter((variable) => allowed({ name: "env", variable }));
  const described = readable.map(describeVariable).join(", ");
  if (runtimeName() !== "deno") return [["variables", described]];
  return [
    ["allowed", granted.join(", ") || "nothing without a limit"],
    ["allowed env", described || "none of those it looks at"],
  ];
}

function describeVariable(variable: string): string {
  const value = environment(variable);
  return value === undefined ? `${variable} (not set)` : `${variable}=${value}`;
}

if ((import.meta.main ?? isStarted(import.meta.url)) && isOwnFile(import.meta.url, "doctor")) {
  if (canRun("diagnose", INSTEAD)) console.log(diagnose());
}
