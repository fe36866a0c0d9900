/**
 * Learns a learning rate by descending on it: `deno task demo:learn-lr`.
 *
 * A softmax regression trains on handwritten digits for 20 steps, with `differentiable: true`. The
 * loss on images that were held out flows back through these steps to the learning rate, and another
 * optimizer takes its logarithm one step down. What it finds is compared with a sweep over all
 * learning rates.
 *
 * @module
 */

import { parseArgs } from "@std/cli/parse-args";
import { dirname } from "@std/path/dirname";
import { SGD } from "@descent/sgd";
import { readDigits, split } from "./digits/dataset.ts";
import type { Dataset } from "./digits/dataset.ts";
import { openStream, STREAM } from "./digits/random.ts";
import { drawPath } from "./learn_lr/plot.ts";
import type { Point } from "./learn_lr/plot.ts";
import { train } from "./learn_lr/unroll.ts";

const START = 0.01;
const DESCENT_STEPS = 40;
const SWEEP = { from: 0.005, to: 20, points: 60 };
/** Images to train on: few, so that a learning rate can be too high. */
const IMAGES = 300;

interface Images {
  readonly train: Dataset;
  readonly held: Dataset;
}

async function main(args: readonly string[]): Promise<void> {
  const { plot } = parseArgs([...args], {
    string: ["plot"],
    default: { plot: "out/learn_lr.svg" },
    unknown(arg: string) {
      console.error(`Cannot read ${arg} as it is not an option: there is --plot FILE`);
      Deno.exit(2);
    },
  });
  const images = await readImages();
  const path = descend(images);
  const sweep = Array.from({ length: SWEEP.points }, (_, i): Point => {
    const lr = SWEEP.from * (SWEEP.to / SWEEP.from) ** (i / (SWEEP.points - 1));
    return { lr, loss: train(lr, images, false).loss };
  });
  const best = sweep.reduce((a, b) => a.loss <= b.loss ? a : b);
  console.log(`The best of ${SWEEP.points} learning rates: ${describe(best)}`);
  Deno.mkdirSync(dirname(plot), { recursive: true });
  const subtitle = `${IMAGES} images, 20 steps with momentum 0.9, judged on images held out`;
  Deno.writeTextFileSync(plot, drawPath("Learning a learning rate", subtitle, sweep, path));
  console.log(`Picture: ${plot}`);
}

async function readImages(): Promise<Images> {
  const { train, test } = split(await readDigits(), openStream(1, STREAM.split));
  const few = {
    length: IMAGES,
    images: train.images.slice(0, IMAGES * train.images.length / train.length),
    labels: train.labels.slice(0, IMAGES),
  };
  return { train: few, held: test };
}

/** Goes down the loss by the logarithm of the learning rate. */
function descend(images: Images): Point[] {
  const logLr = { data: Float64Array.of(Math.log(START)), grad: new Float64Array(1) };
  const optimizer = new SGD([logLr], { lr: 0.3, momentum: 0.5 });
  const path: Point[] = [];
  for (let step = 0; step <= DESCENT_STEPS; step++) {
    const lr = Math.exp(logLr.data[0]);
    const { loss, slope } = train(lr, images, true);
    path.push({ lr, loss });
    if (step % 5 === 0) console.log(`step ${String(step).padStart(2)}  ${describe({ lr, loss })}`);
    logLr.grad[0] = slope * lr;
    optimizer.step();
  }
  return path;
}

function describe({ lr, loss }: Point): string {
  return `learning rate ${lr.toFixed(4)}  loss ${loss.toFixed(5)}`;
}

if (import.meta.main) await main(Deno.args);
