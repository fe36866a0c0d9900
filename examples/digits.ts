/**
 * Trains a small network on handwritten digits with Descent: `deno task demo`.
 *
 * @module
 */

import { dirname } from "@std/path/dirname";
import { SGD } from "@descent/sgd";
import { CLASSES, PIXELS, readDigits, split } from "./digits/dataset.ts";
import type { Dataset } from "./digits/dataset.ts";
import { Network } from "./digits/network.ts";
import { HELP, parseOptions, UsageError } from "./digits/options.ts";
import type { DemoOptions } from "./digits/options.ts";
import { drawCurves } from "./digits/plot.ts";
import type { EpochResult } from "./digits/plot.ts";
import { openStream, permutation, STREAM } from "./digits/random.ts";
import { openScreen } from "./digits/screen.ts";
import type { Screen } from "./digits/screen.ts";
import { trainEpoch } from "./digits/train.ts";

const HIDDEN = 64;

interface Run {
  readonly options: DemoOptions;
  readonly train: Dataset;
  readonly test: Dataset;
  readonly network: Network;
  readonly optimizer: SGD;
}

async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args);
  if (options === "help") return console.log(HELP);
  const run = await prepare(options);
  const { train, test, optimizer } = run;
  asUser(() => Deno.mkdirSync(dirname(options.plot), { recursive: true }), options.plot);
  console.log(
    `${PIXELS}-${HIDDEN}-${CLASSES} network, ${train.length} training and ${test.length} test ` +
      `images, backend ${optimizer.backend}`,
  );
  const history = await fit(run);
  const picture = drawCurves("Training on handwritten digits", describe(options), history);
  asUser(() => Deno.writeTextFileSync(options.plot, picture), options.plot);
  console.log(`Loss and accuracy curves: ${options.plot}`);
}

async function prepare(options: DemoOptions): Promise<Run> {
  const { seed, sgd } = options;
  const network = new Network(
    { inputs: PIXELS, hidden: HIDDEN, outputs: CLASSES },
    openStream(seed, STREAM.weights),
  );
  const optimizer = asUser(() => new SGD(network.parameters, sgd));
  const digits = split(await readDigits(), openStream(seed, STREAM.split));
  return { options, network, optimizer, ...digits };
}

/** Trains for all epochs and reports each, and then the whole. */
async function fit(run: Run): Promise<EpochResult[]> {
  const { options: { epochs }, optimizer } = run;
  const screen = openScreen("training", epochs);
  const history: EpochResult[] = [];
  const start = performance.now();
  let optimizerMs = 0;
  try {
    for (let epoch = 1; epoch <= epochs; epoch++) {
      optimizerMs += runEpoch(run, epoch, history, screen);
      await screen.advance();
    }
  } finally {
    screen.close();
  }
  const ms = performance.now() - start;
  console.log(
    `Trained in ${
      (ms / 1000).toFixed(2)
    } s with backend ${optimizer.backend}; the optimizer took ` +
      `${optimizerMs.toFixed(1)} ms of it, ${(100 * optimizerMs / ms).toFixed(1)} %`,
  );
  return history;
}

/** Trains for one epoch and returns how long the optimizer took. */
function runEpoch(run: Run, epoch: number, history: EpochResult[], screen: Screen): number {
  const { options: { seed, batch, epochs }, train, test, network, optimizer } = run;
  const order = permutation(openStream(seed, STREAM.epoch(epoch)), train.length);
  const pass = trainEpoch(network, optimizer, train, order, batch);
  const { loss, correct } = network.evaluate(test);
  const testAccuracy = correct / test.length;
  if (!Number.isFinite(pass.loss) || !Number.isFinite(loss)) {
    throw new UsageError(`Cannot go on as the loss is ${loss} in epoch ${epoch}: lower --lr`);
  }
  history.push({ epoch, trainLoss: pass.loss, testLoss: loss, testAccuracy });
  screen.print(
    `epoch ${String(epoch).padStart(String(epochs).length)}/${epochs}` +
      `  loss ${pass.loss.toFixed(8)}  test loss ${loss.toFixed(8)}` +
      `  test accuracy ${(100 * testAccuracy).toFixed(2).padStart(6)} %`,
  );
  return pass.optimizerMs;
}

function describe({ sgd, batch, seed }: DemoOptions): string {
  const name = `${sgd.sign ? "sign-" : ""}SGD${sgd.nesterov ? " (Nesterov)" : ""}`;
  return `${name}, lr ${sgd.lr}, momentum ${sgd.momentum}, weight decay ${sgd.weightDecay}, ` +
    `batch ${batch}, seed ${seed}`;
}

/** Runs what fails only because of what the user asked for: an option, or a file to write. */
function asUser<T>(run: () => T, file?: string): T {
  try {
    return run();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(file === undefined ? reason : `Cannot write ${file}: ${reason}`, {
      cause,
    });
  }
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
