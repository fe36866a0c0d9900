/** The command line of the demo. */

import { parseArgs } from "@std/cli/parse-args";
import type { SGDOptions } from "@descent/sgd";

/** What a run of the demo is asked to do. */
export interface DemoOptions {
  readonly sgd: SGDOptions;
  /** Passes over the training images. */
  readonly epochs: number;
  /** Images per step. */
  readonly batch: number;
  /** Parts that a batch is cut into, whose gradients are averaged: as many ranks do the same. */
  readonly accumulate: number;
  /** Decides the split, the first weights and the order of the images. */
  readonly seed: number;
  /** File for the picture. */
  readonly plot: string;
  /** File into which the run is saved after every epoch. */
  readonly checkpoint: string | undefined;
  /** File of a run to resume. */
  readonly resume: string | undefined;
  /** The names of the options that were given. */
  readonly given: readonly string[];
}

/** What the user asked for cannot be done; the message says why. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The ranges of whole numbers. */
export const LIMITS = {
  epochs: [1, 10_000],
  batch: [1, 10_000],
  accumulate: [1, 10_000],
  seed: [0, 2 ** 32 - 1],
} as const;

/** Where the optimizer may run. */
export const BACKENDS = ["auto", "cpu", "js"] as const;

/** Runs what fails only because of what the user asked for: an option, or a file to write. */
export function asUser<T>(run: () => T, file?: string): T {
  try {
    return run();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(file === undefined ? reason : `Cannot write ${file}: ${reason}`, {
      cause,
    });
  }
}

/** The text of --help. */
export const HELP = `Trains a 64-64-10 network on 1,797 handwritten digits.

Usage: deno task demo [options]

  --lr NUMBER            learning rate (default: 0.1; with --sign 0.001)
  --momentum NUMBER      momentum factor (default: 0.9)
  --nesterov             Nesterov momentum
  --weight-decay NUMBER  weight decay, L2 (default: 0.0001)
  --sign                 step by the sign of the update
  --epochs N             passes over the training images (default: 30)
  --batch N              images per step (default: 32)
  --accumulate N         parts of a batch, whose gradients are averaged (default: 1); with
                         mpirun, each rank takes one
  --seed N               seed of the split, the weights and the shuffle (default: 1)
  --backend NAME         auto, cpu or js (default: auto)
  --checkpoint FILE      save the run after every epoch
  --resume FILE          resume a saved run with its options; --epochs and --backend may
                         differ
  --plot FILE            file of the picture (default: out/digits.svg)
  --help                 show this text`;

const SWITCHES = ["nesterov", "sign", "help"];
const VALUES = ["lr", "momentum", "weight-decay", "epochs", "batch", "accumulate", "seed"]
  .concat(["backend", "checkpoint", "resume", "plot"]);

/**
 * Reads the command line. The optimizer itself checks the ranges of its hyperparameters.
 *
 * @returns The options, or "help" if that is what was asked for.
 * @throws {UsageError} If an option does not exist or has a value that it cannot have.
 */
export function parseOptions(args: readonly string[]): DemoOptions | "help" {
  const flags = parseFlags(args);
  if (flags.help) return "help";
  const sign = flags.sign === true;
  return {
    sgd: {
      lr: readNumber(flags, "lr") ?? (sign ? 0.001 : 0.1),
      momentum: readNumber(flags, "momentum") ?? 0.9,
      weightDecay: readNumber(flags, "weight-decay") ?? 1e-4,
      nesterov: flags.nesterov === true,
      sign,
      backend: readBackend(flags),
    },
    epochs: readInteger(flags, "epochs") ?? 30,
    batch: readInteger(flags, "batch") ?? 32,
    accumulate: readInteger(flags, "accumulate") ?? 1,
    seed: readInteger(flags, "seed") ?? 1,
    plot: readText(flags, "plot") ?? "out/digits.svg",
    checkpoint: readText(flags, "checkpoint"),
    resume: readText(flags, "resume"),
    given: Object.keys(flags).filter((name) => flags[name] !== undefined && flags[name] !== false),
  };
}

type Flags = Readonly<Record<string, string | boolean | undefined>>;

function parseFlags(args: readonly string[]): Flags {
  const unknown: string[] = [];
  const flags = parseArgs([...args], {
    boolean: SWITCHES,
    string: VALUES,
    alias: { help: "h" },
    unknown: (arg: string) => {
      unknown.push(arg);
      return false;
    },
  });
  for (const name of VALUES) {
    if (flags[name] === "") throw new UsageError(`Cannot read --${name} as its value is missing`);
  }
  unknown.push(...args.filter((arg) => SWITCHES.some((name) => arg.startsWith(`--${name}=`))));
  unknown.push(...flags._.map(String));
  if (unknown.length > 0) throw new UsageError(`Cannot read ${unknown[0]} as it is not an option`);
  return flags;
}

function readText(flags: Flags, name: string): string | undefined {
  return flags[name] as string | undefined;
}

function readNumber(flags: Flags, name: string): number | undefined {
  const text = readText(flags, name);
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value)) {
    throw new UsageError(`Cannot set --${name} as it must be a number: current value is ${text}`);
  }
  return value;
}

function readInteger(flags: Flags, name: keyof typeof LIMITS): number | undefined {
  const value = readNumber(flags, name);
  const [min, max] = LIMITS[name];
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) {
    return value;
  }
  throw new UsageError(
    `Cannot set --${name} as it must be an integer from ${min} to ${max}: current value is ${value}`,
  );
}

function readBackend(flags: Flags): SGDOptions["backend"] {
  const name = readText(flags, "backend") ?? "auto";
  const backend = BACKENDS.find((known) => known === name);
  if (backend !== undefined) return backend;
  throw new UsageError(
    `Cannot set --backend as it must be auto, cpu or js: current value is ${name}`,
  );
}
