/**
 * Trains the network of the main demo on a GPU alone: `deno task demo:gpu`, or with `--webgpu` on a
 * device of Deno's own WebGPU.
 *
 * Images, parameters, gradients and momentum stay on the device; the order of the images goes there
 * once per epoch, and three numbers come back.
 *
 * @module
 */

import { dirname } from "@std/path/dirname";
import { GpuUnavailableError, openGpu } from "@descent/sgd/gpu";
import type { Gpu, GpuMemory } from "@descent/sgd/gpu";
import { readDigits } from "./digits/dataset.ts";
import type { Compute, ComputeTensor } from "./digits/gpu/compute.ts";
import { onNativeGpu } from "./digits/gpu/native.ts";
import { HELP, parseGpuOptions } from "./digits/gpu/options.ts";
import type { GpuDemoOptions } from "./digits/gpu/options.ts";
import { SIZES, Training } from "./digits/gpu/training.ts";
import { openWebGpu } from "./digits/gpu/webgpu.ts";
import { asUser, UsageError } from "./digits/options.ts";
import { drawCurves } from "./digits/plot.ts";
import type { EpochResult } from "./digits/plot.ts";
import { describeRun, epochLine } from "./digits/report.ts";
import { openScreen } from "./digits/screen.ts";

/** An open device. */
interface Machine<T extends ComputeTensor> {
  readonly compute: Compute<T>;
  readonly name: string;
  /** What it is driven by. */
  readonly driver: string;
  readonly isProcessor: boolean;
  /** What crosses the bus, where that is known. */
  readonly memory: (() => GpuMemory) | null;
}

async function main(args: readonly string[]): Promise<void> {
  const options = parseGpuOptions(args);
  if (options === "help") return console.log(HELP);
  asUser(() => Deno.mkdirSync(dirname(options.plot), { recursive: true }), options.plot);
  if (options.isWebGpu) return await runOnWebGpu(options);
  using gpu = openGpu();
  await trainOn(describeNative(gpu), options);
}

async function runOnWebGpu(options: GpuDemoOptions): Promise<void> {
  const { device, name, compute } = await openWebGpu();
  await trainOn(
    {
      compute,
      name,
      driver: "WebGPU",
      isProcessor: /llvmpipe|swiftshader/i.test(name),
      memory: null,
    },
    options,
  );
  device.destroy();
}

function describeNative(gpu: Gpu) {
  const { name, backend, driver, type } = gpu.info;
  return {
    ...{ compute: onNativeGpu(gpu), name, driver: `${backend}, ${driver}` },
    ...{ isProcessor: type === "cpu", memory: () => gpu.memory },
  };
}

async function trainOn<T extends ComputeTensor>(
  machine: Machine<T>,
  options: GpuDemoOptions,
): Promise<void> {
  const digits = await readDigits();
  const training = asUser(() => new Training(machine.compute, digits, options));
  const { train, test } = training.images;
  console.log(
    `${Object.values(SIZES).join("-")} network, ${train} training and ${test} test images, on ` +
      `${machine.name} (${machine.driver})` +
      (machine.isProcessor ? ", which computes on the processor" : ""),
  );
  const history = await fit(machine, training, options);
  const title = `Training on handwritten digits, on ${machine.name}`;
  const picture = drawCurves(title, describeRun(options), history);
  asUser(() => Deno.writeTextFileSync(options.plot, picture), options.plot);
  console.log(`Loss and accuracy curves: ${options.plot}`);
}

/** Trains, reports each epoch, and then how long it took and what crossed the bus. */
async function fit<T extends ComputeTensor>(
  machine: Machine<T>,
  training: Training<T>,
  { epochs }: GpuDemoOptions,
): Promise<EpochResult[]> {
  const history: EpochResult[] = [];
  const screen = openScreen("training", epochs, 0);
  const before = machine.memory?.() ?? null;
  const start = performance.now();
  try {
    for (let epoch = 1; epoch <= epochs; epoch++) {
      const result = checkLoss(await training.run(epoch));
      history.push(result);
      screen.print(epochLine(result, epochs));
      await screen.advance();
    }
  } finally {
    screen.close();
  }
  const ms = performance.now() - start;
  const steps = epochs * training.steps;
  console.log(`Trained in ${(ms / 1000).toFixed(2)} s, ${steps} steps, on ${machine.name}`);
  if (before !== null) reportBytes(steps, before, machine.memory!());
  return history;
}

/** Says what crossed the bus before training and in its course. */
function reportBytes(steps: number, before: GpuMemory, { toDevice, toHost }: GpuMemory): void {
  const perStep = (bytes: number) => (bytes / steps).toFixed(1);
  console.log(
    `Bytes that crossed the bus per step: ${perStep(toDevice - before.toDevice)} to the device ` +
      `(order of the images, the optimizer's tables), ${perStep(toHost - before.toHost)} back ` +
      `(losses, accuracy); once, before the first step: ${before.toDevice} (images, weights)`,
  );
}

function checkLoss(result: EpochResult): EpochResult {
  const loss = [result.trainLoss, result.testLoss].find((loss) => !Number.isFinite(loss));
  if (loss === undefined) return result;
  const { epoch } = result;
  throw new UsageError(`Cannot continue as the loss is ${loss} in epoch ${epoch}: lower --lr`);
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    if (error instanceof GpuUnavailableError) {
      console.error(error.message);
      Deno.exit(1);
    }
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n(deno task demo:gpu --help shows all options)`);
    Deno.exit(2);
  }
}
