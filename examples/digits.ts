/**
 * Trains a small network on handwritten digits with Descent: `deno task demo`.
 *
 * @module
 */

import { dirname } from "@std/path/dirname";
import { SGD } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import type { World } from "@descent/sgd/mpi";
import { continueWith, loadRun, saveRun } from "./digits/checkpoint.ts";
import { CLASSES, PIXELS, readDigits, split } from "./digits/dataset.ts";
import type { Dataset } from "./digits/dataset.ts";
import { Network } from "./digits/network.ts";
import { asUser, HELP, parseOptions, UsageError } from "./digits/options.ts";
import type { DemoOptions } from "./digits/options.ts";
import { drawCurves } from "./digits/plot.ts";
import type { EpochResult } from "./digits/plot.ts";
import { openStream, permutation, STREAM } from "./digits/random.ts";
import { describeRun, epochLine } from "./digits/report.ts";
import { openScreen, SILENT } from "./digits/screen.ts";
import type { Screen } from "./digits/screen.ts";
import { trainEpoch } from "./digits/train.ts";
import type { Shares } from "./digits/train.ts";

const HIDDEN = 64;

interface Run {
  readonly world: World;
  readonly options: DemoOptions;
  readonly train: Dataset;
  readonly test: Dataset;
  readonly network: Network;
  readonly optimizer: SGD;
  /** The epochs so far. */
  readonly history: EpochResult[];
}

async function main(args: readonly string[]): Promise<void> {
  const asked = parseOptions(args);
  if (asked === "help") return console.log(HELP);
  using world = openWorld();
  const run = await prepare(asked, world);
  const { options, train, test, optimizer, history } = run;
  if (history.length >= options.epochs) {
    return console.log(
      `The run in ${options.resume} has completed all of its ${history.length} epochs: ` +
        `a higher --epochs continues it`,
    );
  }
  for (const file of [options.plot, options.checkpoint ?? options.plot]) {
    asUser(() => Deno.mkdirSync(dirname(file), { recursive: true }), file);
  }
  const job = world.size > 1 ? `, ${world.size} ranks with ${world.engine}` : "";
  tell(
    world,
    `${PIXELS}-${HIDDEN}-${CLASSES} network, ${train.length} training and ${test.length} test ` +
      `images, backend ${optimizer.backend}${job}`,
  );
  await fit(run);
  if (world.rank > 0) return;
  const picture = drawCurves("Training on handwritten digits", describeRun(options), history);
  asUser(() => Deno.writeTextFileSync(options.plot, picture), options.plot);
  console.log(`Loss and accuracy curves: ${options.plot}`);
}

/** Rank 0 speaks for all. */
function tell({ rank }: World, text: string): void {
  if (rank === 0) console.log(text);
}

async function prepare(asked: DemoOptions, world: World): Promise<Run> {
  const saved = asked.resume === undefined ? null : await loadRun(asked.resume);
  const options = saved === null ? asked : continueWith(asked, saved);
  const { seed, sgd } = options;
  const network = new Network(
    { inputs: PIXELS, hidden: HIDDEN, outputs: CLASSES },
    openStream(seed, STREAM.weights),
  );
  const optimizer = asUser(() => new SGD(network.parameters, { ...sgd, world }));
  if (saved !== null) asUser(() => optimizer.loadStateDict(saved.dict, { parameters: true }));
  const digits = split(await readDigits(), openStream(seed, STREAM.split));
  return { world, options, network, optimizer, ...digits, history: [...saved?.history ?? []] };
}

/** Trains for the epochs that are left and reports each, and then the whole. */
async function fit(run: Run): Promise<void> {
  const { world, options, optimizer, history } = run;
  const { epochs, checkpoint } = options;
  const screen = world.rank > 0 ? SILENT : openScreen("training", epochs, history.length);
  const start = performance.now();
  let optimizerMs = 0;
  try {
    for (let epoch = history.length + 1; epoch <= epochs; epoch++) {
      optimizerMs += runEpoch(run, epoch, screen);
      if (checkpoint !== undefined && world.rank === 0) {
        await saveRun(checkpoint, optimizer, options, history);
      }
      await screen.advance();
    }
  } finally {
    screen.close();
  }
  const ms = performance.now() - start;
  tell(
    world,
    `Trained in ${
      (ms / 1000).toFixed(2)
    } s with backend ${optimizer.backend}; the optimizer took ` +
      `${optimizerMs.toFixed(1)} ms of it, ${(100 * optimizerMs / ms).toFixed(1)} %`,
  );
}

/** Trains for one epoch and returns how long the optimizer took. */
function runEpoch(run: Run, epoch: number, screen: Screen): number {
  const { options: { seed, batch, epochs }, train, test, network, optimizer, history } = run;
  const order = permutation(openStream(seed, STREAM.epoch(epoch)), train.length);
  const pass = trainEpoch(network, optimizer, train, order, batch, sharesOf(run));
  const { loss, correct } = network.evaluate(test);
  const testAccuracy = correct / test.length;
  if (!Number.isFinite(pass.loss) || !Number.isFinite(loss)) {
    throw new UsageError(`Cannot continue as the loss is ${loss} in epoch ${epoch}: lower --lr`);
  }
  const result = { epoch, trainLoss: pass.loss, testLoss: loss, testAccuracy };
  history.push(result);
  screen.print(epochLine(result, epochs));
  return pass.optimizerMs;
}

/** A part of each batch for each rank, or as many parts as are to be accumulated. */
function sharesOf({ world, options: { accumulate } }: Run): Shares {
  if (world.size > 1) {
    return {
      count: world.size,
      own: [world.rank],
      sum: (values) => world.sum(values),
    };
  }
  const own = Array.from({ length: accumulate }, (_, part) => part);
  return { count: accumulate, own, sum: (values) => values };
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n(deno task demo --help shows all options)`);
    Deno.exit(2);
  }
}
