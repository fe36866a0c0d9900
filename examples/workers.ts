/**
 * Trains the network of the digits data-parallel: each worker computes the gradients of its share of the
 * images, and one step of the optimizer adds them up. `deno task demo:workers`
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { SGD } from "@descent/sgd";
import { readDigits, split } from "./digits/dataset.ts";
import type { Dataset } from "./digits/dataset.ts";
import { Network } from "./digits/network.ts";
import type { Tensor } from "./digits/network.ts";
import { openStream, permutation, STREAM } from "./digits/random.ts";
import { epochLine } from "./digits/report.ts";
import { beginRound, createBarrier, endRounds, roundEnded } from "./workers/barrier.ts";
import type { Range } from "./workers/barrier.ts";
import { createShard, SIZES } from "./workers/shard.ts";
import type { ShardData } from "./workers/shard.ts";

const HELP = `Trains a network on handwritten digits, data-parallel.

Usage: deno task demo:workers [options]

  --workers N  among how many the images of a step are divided (default: 2)
  --alone      compute all their shares in this thread: the numbers are the same
  --epochs N   passes over the training images (default: 10)
  --help       show this text`;

const [SEED, BATCH] = [1, 32];

/** Computes the gradients of all shards for the images of a step. */
interface Team {
  run(range: Range): Promise<void>;
  end(): void;
}

/** Memory that threads share. */
function share(like: Float32Array): Float32Array {
  const array = new Float32Array(new SharedArrayBuffer(like.byteLength));
  array.set(like);
  return array;
}

/** The parameters on shared memory, once for each shard: with the same data and gradients of its own. */
function shareTensors(tensors: readonly Tensor[], shards: number): Tensor[][] {
  const shared = tensors.map((tensor) => ({ ...tensor, data: share(tensor.data) }));
  return Array.from(
    { length: shards },
    () => shared.map((tensor) => ({ ...tensor, grad: share(tensor.grad) })),
  );
}

function startWorkers(shards: readonly ShardData[]): Team {
  const words = createBarrier();
  const { promise: failure, reject } = Promise.withResolvers<never>();
  failure.catch(() => {}); // it may come when nobody waits
  const workers = shards.map((shard) => {
    const worker = new Worker(new URL("workers/worker.ts", import.meta.url), { type: "module" });
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`A worker failed: ${event.message}`));
    };
    worker.postMessage({ ...shard, words });
    return worker;
  });
  return {
    async run(range) {
      beginRound(words, workers.length, range);
      await Promise.race([roundEnded(words), failure]);
    },
    end: () => endRounds(words),
  };
}

function workAlone(shards: readonly ShardData[]): Team {
  const runs = shards.map(createShard);
  return {
    run: (range) => Promise.resolve(runs.forEach((run) => run(range))),
    end() {},
  };
}

interface Options {
  readonly workers: number;
  readonly alone: boolean;
  readonly epochs: number;
}

async function train({ workers, alone, epochs }: Options): Promise<void> {
  const { train, test } = split(await readDigits(), openStream(SEED, STREAM.split));
  const first = new Network(SIZES, openStream(SEED, STREAM.weights));
  const [own, ...others] = shareTensors(first.parameters, workers);
  const order = new Uint32Array(new SharedArrayBuffer(4 * train.length));
  const losses = new Float64Array(new SharedArrayBuffer(8 * workers));
  const shards = [own, ...others].map((tensors, index) => {
    return { index, count: workers, tensors, images: train, order, losses };
  });
  const team = alone ? workAlone(shards) : startWorkers(shards);
  const optimizer = new SGD(own, { lr: 0.1, momentum: 0.9, weightDecay: 1e-4 });
  // The parameters have the gradients of the first shard; those of the others are added to them.
  const addGradients = others.map((tensors) => tensors.map(({ grad }) => grad));
  const network = new Network(SIZES, null, (name) => own.find((tensor) => tensor.name === name)!);
  try {
    for (let epoch = 1; epoch <= epochs; epoch++) {
      order.set(permutation(openStream(SEED, STREAM.epoch(epoch)), train.length));
      let loss = 0;
      for (let from = 0; from < train.length; from += BATCH) {
        const to = Math.min(from + BATCH, train.length);
        await team.run({ from, to });
        loss += losses.reduce((sum, part) => sum + part) * (to - from);
        optimizer.step({ addGradients, zeroGrad: true });
      }
      report(network, test, { epoch, epochs, trainLoss: loss / train.length });
    }
  } finally {
    team.end();
  }
}

function report(
  network: Network,
  test: Dataset,
  { epoch, epochs, trainLoss }: { epoch: number; epochs: number; trainLoss: number },
): void {
  const { loss: testLoss, correct } = network.evaluate(test);
  const testAccuracy = correct / test.length;
  console.log(epochLine({ epoch, trainLoss, testLoss, testAccuracy }, epochs));
}

function readOptions(args: readonly string[]): Options | "help" {
  const flags = parseArgs([...args], {
    string: ["workers", "epochs"],
    boolean: ["alone", "help"],
    unknown(arg: string) {
      throw new RangeError(`Cannot read ${arg} as it is not an option`);
    },
  });
  if (flags.help) return "help";
  const whole = (name: "workers" | "epochs", most: number, otherwise: number) => {
    const value = Number(flags[name] ?? otherwise);
    if (Number.isInteger(value) && value >= 1 && value <= most) return value;
    throw new RangeError(
      `Cannot set --${name} as it must be an integer from 1 to ${most}: current value is ${value}`,
    );
  };
  const [workers, epochs] = [whole("workers", 32, 2), whole("epochs", 10_000, 10)];
  return { workers, alone: flags.alone, epochs };
}

if (import.meta.main) {
  try {
    const options = readOptions(Deno.args);
    if (options === "help") console.log(HELP);
    else await train(options);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    console.error(`${error.message}\n(deno task demo:workers --help shows all options)`);
    Deno.exit(2);
  }
}
