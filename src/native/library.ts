/** Finds, opens and checks the native library: the only one that Descent opens. */

import { allowed, commandOf, runtimeName } from "../core/platform.ts";
import { failure, refusal } from "../core/validate.ts";
import { VERSION } from "../core/version.ts";
import { CHOICE, hiddenCacheVariables, listCandidates } from "./candidates.ts";
import type { Candidate } from "./candidates.ts";
import { findCaller, mayOpen, open, openingFlag } from "./ffi.ts";
import type { NativeCalls, NativeInterface } from "./ffi.ts";
import { findFlaw, MISSING } from "./library_file.ts";
import type { Flaw } from "./library_file.ts";
import { ABI, SYMBOLS } from "./symbols.ts";
import type { Symbols } from "./symbols.ts";
import { openPinned, openPinnedWorld } from "./pinned.ts";
import type { PinnedCalls, PinnedWorld } from "./pinned.ts";
import { GPU_SYMBOLS, WORLD_SYMBOLS } from "./symbols.ts";
import type { GpuSymbols, WorldSymbols } from "./symbols.ts";

/** An opened library. */
export interface Library {
  /** Where it was found. */
  readonly path: string;
  /** Its functions. */
  readonly symbols: Symbols;
  /** Its functions that run on another thread. */
  readonly pinned: PinnedCalls;
  /** Its version, SIMD level, number of threads, and whether it has a GPU path and reaches other processes. */
  readonly info: {
    readonly version: string;
    readonly simd: string;
    readonly threads: number;
    readonly gpu: boolean;
    readonly mpi: boolean;
  };
}

/**
 * Why no library was opened: it is missing, not a file, or not allowed. Anything else is an error.
 */
export interface Absent {
  /** A sentence for the user, with what to do about it. */
  readonly reason: string;
  /** Whether the file was named on purpose, so that another backend must not stand in for it. */
  readonly isFault: boolean;
}

let opened: Library | undefined;
let openedGpu: GpuSymbols | undefined;
let openedWorld: { symbols: WorldSymbols; pinned: PinnedWorld } | undefined;

/**
 * Opens the library once per process, without prompting for a permission.
 *
 * @returns The library, or why it is absent.
 * @throws {Error} If it is there and allowed, but does not work or is of another version.
 */
export function openLibrary(): Library | Absent {
  if (opened !== undefined) return opened;
  const found = findLibrary();
  if ("reason" in found) return found;
  opened = loadLibrary(found.path);
  return opened;
}

/** The library's GPU path, or why there is none. */
export function openGpuPath(): { library: Library; symbols: GpuSymbols } | Absent {
  const library = openLibrary();
  if ("reason" in library) return library;
  if (!library.info.gpu) return absent(`${library.path} was built without its feature "gpu"`);
  openedGpu ??= openSymbols(library.path, GPU_SYMBOLS);
  return { library, symbols: openedGpu };
}

/** What reaches other processes, or why nothing does. */
export function openWorldPath():
  | { library: Library; symbols: WorldSymbols; pinned: PinnedWorld }
  | Absent {
  const library = openLibrary();
  if ("reason" in library) return library;
  const { path, info } = library;
  if (!info.mpi) return absent(`${path} was built without its feature "mpi"`);
  openedWorld ??= {
    symbols: openSymbols(path, WORLD_SYMBOLS),
    pinned: openPinnedWorld(path, openSymbols),
  };
  return { library, ...openedWorld };
}

/** The text of the last error. */
export function lastError(symbols: Symbols): string {
  return readText((out, capacity) => symbols.descent_error(out, capacity));
}

/** The status of a setting from the environment that is not valid. */
export const SETTING = 1;

/**
 * Turns a status that is not 0 into an error with the library's own text.
 *
 * @throws {RangeError} If a setting from the environment is not valid.
 * @throws {Error} If the call failed in any other way.
 */
export function unwrap(symbols: Symbols, status: number): void {
  if (status === 0) return;
  const text = lastError(symbols);
  throw status === SETTING ? new RangeError(text) : new Error(text);
}

function findLibrary(): { path: string } | Absent {
  if (findCaller() === null) return absent(explainNoCaller());
  const candidates = listCandidates();
  for (const candidate of candidates) {
    const { source, path } = candidate;
    const verdict = judge(candidate);
    if (verdict === "ready") return { path };
    if (typeof verdict === "string") continue;
    if (verdict.kind === "damaged") throw damaged(candidate, verdict.reason);
    if (source === CHOICE) return absent(`${path} ${verdict.reason}: ${CHOICE} names it`, true);
  }
  return absent(explainAbsence(candidates));
}

/** Why this runtime cannot call native code. */
function explainNoCaller(): string {
  return runtimeName() === "node"
    ? `Node.js ${process.versions.node} calls native code with koffi only: run npm install koffi, or ` +
      "use Node.js 26.1 or newer"
    : "the native library needs Deno, Node.js or Bun: use the js backend here";
}

function absent(reason: string, isFault = false): Absent {
  return { reason, isFault };
}

/**
 * Whether a library can be opened, may be there but must not be opened, or what is wrong with it.
 */
export function judge({ path, released }: Candidate): "ready" | "forbidden" | Flaw {
  const permitted = mayOpen(path);
  if (allowed({ name: "read", path })) {
    const flaw = findFlaw(path, released?.size);
    if (flaw !== null && (permitted || flaw.kind !== "damaged")) return flaw;
  } else if (permitted && !canOpen(path)) {
    return MISSING;
  }
  return permitted ? "ready" : "forbidden";
}

function damaged({ source, path }: Candidate, reason: string): Error {
  const remedies = {
    cache: `run ${commandOf("install", VERSION)}`,
    "own build": "build it again with deno task build",
    [CHOICE]: `copy it again, or correct ${CHOICE}`,
  };
  return new Error(
    failure(
      `load ${path} as a native library of Descent`,
      `the file is damaged, as it ${reason}: ${remedies[source]}`,
    ),
  );
}

function explainAbsence(candidates: readonly Candidate[]): string {
  const forbidden = candidates.find((candidate) => judge(candidate) === "forbidden");
  if (forbidden !== undefined) {
    const { path } = forbidden;
    return `loading ${path} is not allowed: run with ${openingFlag(path)}`;
  }
  const build = candidates.find(({ source }) => source === "own build");
  if (build !== undefined) return `${build.path} does not exist: build it with deno task build`;
  const install = `run ${commandOf("install", VERSION)}`;
  const hidden = hiddenCacheVariables();
  return hidden.length === 0
    ? `no native library is installed: ${install}`
    : `the cache folder of the native library is not known: run with --allow-env=${hidden}` +
      `; if it is not installed yet, ${install}`;
}

/**
 * Without the permission to look, the loader's own message is the only way to know. It waits for the
 * other end of a pipe, and a file that is cut short may end the process.
 */
function canOpen(path: string): boolean {
  try {
    open(path, { descent_abi: SYMBOLS.descent_abi });
    return true;
  } catch (error) {
    return !/no such file|cannot find|could not be found/i.test(String(error));
  }
}

function loadLibrary(path: string): Library {
  const { descent_abi } = openSymbols(path, { descent_abi: SYMBOLS.descent_abi });
  const abi = descent_abi();
  if (abi !== ABI) {
    throw new Error(
      refusal(`use ${path}`, `its interface must have number ${ABI}`, abi, "number") +
        ". Build or install the library of this version",
    );
  }
  const symbols = openSymbols(path, SYMBOLS);
  unwrap(symbols, symbols.descent_open());
  const info = JSON.parse(readText((out, capacity) => symbols.descent_info(out, capacity)));
  return { path, symbols, pinned: openPinned(path, openSymbols), info };
}

function openSymbols<S extends NativeInterface>(path: string, symbols: S): NativeCalls<S> {
  try {
    return open(path, symbols);
  } catch (cause) {
    throw new Error(failure(`load ${path} as a native library of Descent`, `${cause}`), { cause });
  }
}

/** Reads a text that a function writes as far as it fits, and whose whole length it returns. */
export function readText(
  write: (out: Uint8Array<ArrayBuffer>, capacity: number) => number,
): string {
  let out = new Uint8Array(1024);
  const length = write(out, out.length);
  if (length > out.length) {
    out = new Uint8Array(length);
    write(out, length);
  }
  return new TextDecoder().decode(out.subarray(0, length));
}
