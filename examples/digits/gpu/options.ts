/** The command line of the demo on the GPU. */

import { parseOptions, UsageError } from "../options.ts";
import type { DemoOptions } from "../options.ts";

/** The text of --help. */
export const HELP = `Trains a 64-64-10 network on 1,797 handwritten digits, all of it on the GPU.

Usage: deno task demo:gpu [options]

  --webgpu               use the WebGPU of Deno, not the native library
  --lr NUMBER            learning rate (default: 0.1; with --sign 0.001)
  --momentum NUMBER      momentum factor (default: 0.9)
  --nesterov             Nesterov momentum
  --weight-decay NUMBER  weight decay, L2 (default: 0.0001)
  --sign                 step by the sign of the update
  --epochs N             passes over the training images (default: 30)
  --batch N              images per step (default: 32)
  --seed N               seed of the split, the weights and the shuffle (default: 1)
  --plot FILE            where the picture goes (default: out/gpu_digits.svg)
  --help                 show this text`;

/** Options of the main demo that this one does not have. */
const HOST_ONLY = ["backend", "checkpoint", "resume"];

/** What a run on a GPU is asked to do. */
export interface GpuDemoOptions extends DemoOptions {
  /** Whether it is to be a device of Deno's WebGPU. */
  readonly isWebGpu: boolean;
}

/**
 * Reads the command line.
 *
 * @returns The options, or "help" if that is what was asked for.
 * @throws {UsageError} If an option does not exist or has a value that it cannot have.
 */
export function parseGpuOptions(args: readonly string[]): GpuDemoOptions | "help" {
  const isWebGpu = args.includes("--webgpu");
  const options = parseOptions(args.filter((arg) => arg !== "--webgpu"));
  if (options === "help") return "help";
  const other = HOST_ONLY.find((name) => options.given.includes(name));
  if (other !== undefined) throw new UsageError(`Cannot read --${other} as it is not an option`);
  const plot = options.given.includes("plot") ? options.plot : "out/gpu_digits.svg";
  return { ...options, plot, isWebGpu };
}
