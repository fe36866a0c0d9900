/** The command line of the AutoRound example. */

import { parseArgs } from "@std/cli/parse-args";
import { UsageError } from "../digits/options.ts";

/** What a run is asked to do. */
export interface AutoRoundOptions {
  /** Bits of a quantized weight. */
  readonly bits: number;
  /** Units of the hidden layer. */
  readonly hidden: number;
  /** A scale for each column of a matrix, instead of one for the matrix. */
  readonly perColumn: boolean;
  /** How many networks are trained and quantized, with seeds 1, 2, ... */
  readonly seeds: number;
  readonly backend: "auto" | "cpu" | "js";
  /** File for the picture. */
  readonly plot: string;
}

/** The text of --help. */
export const HELP = `Quantizes the digits network by signed gradient descent, as AutoRound does.

Usage: deno task demo:autoround [options]

  --bits N        bits of a weight, 2 to 8 (default: 4)
  --hidden N      units of the hidden layer (default: 16)
  --per-column    a scale for each column of a matrix instead of one for the matrix
  --seeds N       networks to train and quantize (default: 10)
  --backend NAME  auto, cpu or js (default: auto)
  --plot FILE     file of the picture (default: out/autoround.svg)
  --help          show this text`;

/**
 * Reads the command line.
 *
 * @returns The options, or "help" if that is what was asked for.
 * @throws {UsageError} If an option does not exist or has a value that it cannot have.
 */
export function parseOptions(args: readonly string[]): AutoRoundOptions | "help" {
  const unknown: string[] = [];
  const flags = parseArgs([...args], {
    boolean: ["per-column", "help"],
    string: ["bits", "hidden", "seeds", "backend", "plot"],
    default: { bits: "4", hidden: "16", seeds: "10", backend: "auto", plot: "out/autoround.svg" },
    unknown: (arg: string) => {
      unknown.push(arg);
      return false;
    },
  });
  if (unknown.length > 0) throw new UsageError(`Cannot read ${unknown[0]} as it is not an option`);
  if (flags.help) return "help";
  if (!["auto", "cpu", "js"].includes(flags.backend)) {
    throw new UsageError(
      `Cannot set --backend as it must be auto, cpu or js: current value is ${flags.backend}`,
    );
  }
  if (flags.plot === "") throw new UsageError("Cannot read --plot as its value is missing");
  return {
    bits: readInteger("bits", flags.bits, 2, 8),
    hidden: readInteger("hidden", flags.hidden, 1, 1024),
    perColumn: flags["per-column"],
    seeds: readInteger("seeds", flags.seeds, 1, 1000),
    backend: flags.backend,
    plot: flags.plot,
  };
}

function readInteger(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new UsageError(
    `Cannot set --${name} as it must be an integer from ${min} to ${max}: current value is ${text}`,
  );
}
