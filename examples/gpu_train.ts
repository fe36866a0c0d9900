/**
 * Trains the network of the main demo on a GPU alone: `deno task demo:gpu`.
 *
 * Images, parameters, gradients and momentum stay on the device; the order of the images goes there
 * once per epoch, and three numbers come back.
 *
 * @module
 */

import { dirname } from "@std/path/dirname";
import { SGD } from "@descent/sgd";
import { GpuUnavailableError, openGpu } from "@descent/sgd/gpu";
import type { Gpu, GpuMemory, GpuTensor } from "@descent/sgd/gpu";
import { CLASSES, PIXELS, readDigits, split } from "./digits/dataset.ts";
import { Batches } from "./digits/gpu/batches.ts";
import { GpuNetwork } from "./digits/gpu/network.ts";
import { HELP, parseGpuOptions } from "./digits/gpu/options.ts";
import { asUser, UsageError } from "./digits/options.ts";
import type { DemoOptions } from "./digits/options.ts";
import { drawCurves } from "./digits/plot.ts";
import type { EpochResult } from "./digits/plot.ts";
import { openStream, permutation, STREAM } from "./digits/random.ts";
import { describeRun, epochLine } from "./digits/report.ts";
import { openScreen } from "./digits/screen.ts";

const SIZES = { inputs: PIXELS, hidden: 64, outputs: CLASSES };

interface Run {
  readonly gpu: Gpu;
  readonly options: DemoOptions;
  /** How many training images there are. */
  readonly images: number;
  readonly batches: Batches;
  readonly network: GpuNetwork;
  readonly optimizer: SGD<GpuTensor>;
}

async function main(args: readonly string[]): Promise<void> {
  const options = parseGpuOptions(args);
  if (options === "help") return console.log(HELP);
  asUser(() => Deno.mkdirSync(dirname(options.plot), { recursive: true }), options.plot);
  using gpu = openGpu();
  const run = await prepare(gpu, options);
  const history = await fit(run);
  const title = `Training on handwritten digits, on ${gpu.info.name}`;
  const picture = drawCurves(title, describeRun(options), history);
  asUser(() => Deno.writeTextFileSync(options.plot, picture), options.plot);
  console.log(`Loss and accuracy curves: ${options.plot}`);
}

async function prepare(gpu: Gpu, options: DemoOptions): Promise<Run> {
  const { seed, batch } = options;
  const { train, test } = split(await readDigits(), openStream(seed, STREAM.split));
  const random = openStream(seed, STREAM.weights);
  const network = new GpuNetwork(gpu, SIZES, random, { train, test, batch });
  const optimizer = asUser(() => new SGD(network.parameters, options.sgd));
  const { name, backend, driver, type } = gpu.info;
  console.log(
    `${Object.values(SIZES).join("-")} network, ${train.length} training and ${test.length} test ` +
      `images, on ${name} (${backend}, ${driver})` +
      (type === "cpu" ? ", which computes on the processor" : ""),
  );
  const batches = new Batches(gpu, train.length, batch);
  return { gpu, options, images: train.length, batches, network, optimizer };
}

/** Trains, reports each epoch, and then how long it took and what crossed the bus. */
async function fit(run: Run): Promise<EpochResult[]> {
  const { gpu, options: { epochs } } = run;
  const history: EpochResult[] = [];
  const screen = openScreen("training", epochs, 0);
  const before = gpu.memory;
  const start = performance.now();
  try {
    for (let epoch = 1; epoch <= epochs; epoch++) {
      const result = await runEpoch(run, epoch);
      history.push(result);
      screen.print(epochLine(result, epochs));
      await screen.advance();
    }
  } finally {
    screen.close();
  }
  reportCost(run, performance.now() - start, before);
  return history;
}

/** Says how long training took, and what crossed the bus before it and in its course. */
function reportCost({ gpu, batches, options }: Run, ms: number, before: GpuMemory): void {
  const steps = options.epochs * batches.views.length;
  const { toDevice, toHost } = gpu.memory;
  const perStep = (bytes: number) => (bytes / steps).toFixed(1);
  console.log(`Trained in ${(ms / 1000).toFixed(2)} s, ${steps} steps, on ${gpu.info.name}`);
  console.log(
    `Bytes that crossed the bus per step: ${perStep(toDevice - before.toDevice)} to the device ` +
      `(order of the images, the optimizer's tables), ${perStep(toHost - before.toHost)} back ` +
      `(losses, accuracy); once, before the first step: ${before.toDevice} (images, weights)`,
  );
}

/** Queues all steps of an epoch and waits once, for how it went. */
async function runEpoch(run: Run, epoch: number): Promise<EpochResult> {
  const { options: { seed }, images, batches, network, optimizer } = run;
  batches.write(permutation(openStream(seed, STREAM.epoch(epoch)), images));
  for (const batch of batches.views) {
    network.gradients(batch);
    optimizer.step();
  }
  const result = { epoch, ...await network.score() };
  const loss = [result.trainLoss, result.testLoss].find((loss) => !Number.isFinite(loss));
  if (loss === undefined) return result;
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
