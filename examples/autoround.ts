/**
 * AutoRound with Descent: quantizes the digits network to 4 bits by tuning how each weight is rounded
 * and where its range is clipped, with signed gradient descent: `deno task demo:autoround`.
 *
 * As in Cheng et al., "Optimize Weight Rounding via Signed Gradient Descent for the Quantization of
 * LLMs": 200 steps per layer, a linearly falling learning rate, the layer's output as the target, and
 * the straight-through estimator for the rounding. Four bits and a scale per output cost a network
 * of this size next to nothing, so the example makes it harder: 16 hidden units, and one scale for a
 * whole matrix.
 *
 * @module
 */

import { dirname } from "@std/path/dirname";
import { HELP, parseOptions } from "./autoround/options.ts";
import type { AutoRoundOptions } from "./autoround/options.ts";
import { drawOutcomes } from "./autoround/plot.ts";
import { quantizeDigits } from "./autoround/quantize.ts";
import type { Outcome } from "./autoround/quantize.ts";
import { STEPS } from "./autoround/tune.ts";
import { CLASSES, PIXELS, readDigits } from "./digits/dataset.ts";
import { UsageError } from "./digits/options.ts";

async function main(args: readonly string[]): Promise<void> {
  const options = parseOptions(args);
  if (options === "help") return console.log(HELP);
  const digits = await readDigits();
  const outcomes: Outcome[] = [];
  for (let seed = 1; seed <= options.seeds; seed++) {
    const outcome = quantizeDigits(digits, seed, options);
    outcomes.push(outcome);
    console.log(`seed ${String(seed).padStart(2)}  ${describe(outcome)}`);
  }
  console.log(`mean     ${describe(meanOf(outcomes))}`);
  console.log(compare(outcomes));
  Deno.mkdirSync(dirname(options.plot), { recursive: true });
  Deno.writeTextFileSync(
    options.plot,
    drawOutcomes("AutoRound on handwritten digits", setting(options), outcomes),
  );
  console.log(`Picture: ${options.plot}`);
}

type Accuracies = Pick<Outcome, "float" | "nearest" | "tuned">;

function describe({ float, nearest, tuned }: Accuracies): string {
  const [a, b, c] = [float, nearest, tuned].map((x) => `${(100 * x).toFixed(2).padStart(6)} %`);
  return `float ${a}  nearest ${b}  tuned ${c}`;
}

function meanOf(outcomes: readonly Outcome[]): Accuracies {
  const mean = (key: keyof Accuracies) =>
    outcomes.reduce((sum, outcome) => sum + outcome[key], 0) / outcomes.length;
  return { float: mean("float"), nearest: mean("nearest"), tuned: mean("tuned") };
}

function compare(outcomes: readonly Outcome[]): string {
  const count = (better: (outcome: Outcome) => boolean) => outcomes.filter(better).length;
  return `Tuned is better than rounding to the nearest on ${count((o) => o.tuned > o.nearest)} ` +
    `of ${outcomes.length} seeds, equal on ${count((o) => o.tuned === o.nearest)}, ` +
    `worse on ${count((o) => o.tuned < o.nearest)}`;
}

function setting({ bits, hidden, perColumn }: AutoRoundOptions): string {
  return `${PIXELS}-${hidden}-${CLASSES} network, ${bits}-bit weights, one scale per ` +
    `${perColumn ? "column" : "matrix"}, ${STEPS} steps of sign-SGD per layer`;
}

if (import.meta.main) {
  try {
    await main(Deno.args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`${error.message}\n(deno task demo:autoround --help shows all options)`);
    Deno.exit(2);
  }
}
