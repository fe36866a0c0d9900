/** The parts of the accuracy study: other programs' formats, gain and drift, and its text and picture. */

import { SGD } from "@descent/sgd";
import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import {
  createMapped,
  decodeMapped,
  DYNAMIC_MAP,
  encodeMapped,
  type Mapped,
} from "../../bench/accuracy/bitsandbytes.ts";
import { drawStudy } from "../../bench/accuracy/chart.ts";
import { deviationOf } from "../../bench/accuracy/deviation.ts";
import {
  compand,
  type Companded,
  createCompanded,
  expand,
} from "../../bench/accuracy/flashoptim.ts";
import { formatStudy } from "../../bench/accuracy/report.ts";
import { excessOf, type Outcome } from "../../bench/accuracy/study.ts";
import { SCHEMES } from "../../bench/accuracy/schemes.ts";
import { Model } from "../../bench/accuracy/model.ts";
import { type Epoch, type Setting, SETTINGS } from "../../bench/accuracy/training.ts";
import { readDigits } from "../../examples/digits/dataset.ts";
import { decode, encode, encodeNearest, keyOf } from "../../src/core/momentum8.ts";

const ROOT = new URL("../..", import.meta.url);

/** Values as another program encoded them; `golden/make_momentum_formats.py` writes these. */
interface Golden {
  readonly format: string;
  readonly x: readonly number[];
  readonly codes: readonly number[];
  readonly scales: readonly number[];
  readonly out: readonly number[];
}

const file = new URL("../golden/momentum_formats.jsonl", import.meta.url);
const goldens: Golden[] = Deno.readTextFileSync(file).trim().split("\n").map((line) =>
  JSON.parse(line)
);

function goldenOf(format: string): Golden {
  return goldens.find((golden) => golden.format === format)!;
}

function companded(x: readonly number[]): { stored: Companded; out: Float32Array } {
  const [stored, out] = [createCompanded(x.length), new Float32Array(x.length)];
  compand(Float32Array.from(x), stored);
  expand(stored, out);
  return { stored, out };
}

function mapped(x: readonly number[]): { stored: Mapped; out: Float32Array } {
  const [stored, out] = [createMapped(x.length), new Float32Array(x.length)];
  encodeMapped(Float32Array.from(x), stored);
  decodeMapped(stored, out);
  return { stored, out };
}

Deno.test("FlashOptim's format has the bits of FlashOptim's own kernel", () => {
  const { x, codes, scales, out } = goldenOf("FlashOptim");
  const own = companded(x);
  assertEquals([...own.stored.codes], codes);
  assertEquals([...own.stored.scales], scales);
  assertEquals([...own.out], out);
});

Deno.test("FlashOptim's format by hand: 127 * 2 (1/3) / (4/3) is 63.5, a tie upwards", () => {
  const { stored, out } = companded([3, 1, -1, 0, -3]);
  assertEquals([...stored.codes], [127, 64, -63, 0, -127]);
  assertEquals([...stored.scales], [3]);
  assertAlmostEquals(out[1], 3 * (64 / 127) / (2 - 64 / 127), 1e-6);
  assertAlmostEquals(out[2], -3 * (63 / 127) / (2 - 63 / 127), 1e-6);
});

Deno.test("FlashOptim's format loses groups whose scale is below float16", () => {
  assertEquals([...companded([2e-8, -1e-8]).out], [0, -0]);
});

Deno.test("bitsandbytes' format has the codes of bitsandbytes, and its values to a rounding", () => {
  const { x, codes, scales, out } = goldenOf("bitsandbytes");
  const own = mapped(x);
  assertEquals([...own.stored.codes], codes);
  assertEquals([...own.stored.scales], scales);
  for (const [i, value] of out.entries()) {
    assert(Math.abs(own.out[i] - value) <= 2e-7 * Math.abs(value), `${i}: ${own.out[i]}`);
  }
});

Deno.test("bitsandbytes' map by hand: 64 values from 0.1 to 1, 1 from 1e-7 to 1e-6", () => {
  assertEquals(DYNAMIC_MAP.length, 256);
  const positive = [...DYNAMIC_MAP].filter((value) => value > 0);
  assertAlmostEquals(positive[0], 0.55e-6, 1e-12);
  assertAlmostEquals(positive[1], 0.325e-5, 1e-11);
  assertAlmostEquals(positive.at(-2)!, 1 - 0.9 / 128, 1e-6);
  assertEquals(positive.at(-1), 1);
  assertEquals(positive.filter((value) => value > 0.1 && value < 1).length, 64);
  assertEquals(DYNAMIC_MAP.filter((value) => value < 0).length, 127);
});

Deno.test("bitsandbytes' format by hand: 0.5 lies between 0.4938 and 0.5078", () => {
  const { stored, out } = mapped([-4, 2, 0]);
  assertEquals([...stored.scales], [4]);
  assertAlmostEquals(out[0], -4 * (1 - 0.9 / 128), 1e-6);
  assertAlmostEquals(out[1], 4 * (0.1 + 0.9 * 28.5 / 64), 1e-6);
  assertEquals(out[2], 0);
});

Deno.test("gain is the part along the exact momentum, drift all of the difference", () => {
  const exact = Float32Array.of(3, 4);
  assertEquals(deviationOf(exact, exact), { gain: 1, drift: 0 });
  assertEquals(deviationOf(Float32Array.of(1.5, 2), exact), { gain: 0.5, drift: 0.5 });
  assertEquals(deviationOf(Float32Array.of(-1, 7), exact), { gain: 1, drift: 1 });
});

const digits = await readDigits();

/** The gradients of the large layer in so many float32 steps. */
function recordGradients(momentum: number, lr: number, steps: number): Float32Array[] {
  const model = new Model(1, "float32");
  const optimizer = new SGD([...model.parameters], { lr, momentum, nesterov: true, backend: "js" });
  return Array.from({ length: steps }, (_, step) => {
    model.gradients(digits, Uint32Array.from({ length: 32 }, (_, i) => (step * 32 + i) % 1797));
    optimizer.step();
    return model.parameters[0].grad!.slice() as Float32Array;
  });
}

/** 8-bit momentum as the format says: decoded, updated and encoded again in each step. */
class Compressed {
  readonly #momentum: number;
  readonly #isDithered: boolean;
  readonly #values = new Int8Array(4096);
  readonly #scales = new Uint8Array(4096 / 32);
  readonly buffer = new Float32Array(4096);
  #counter = 0;

  constructor(momentum: number, isDithered: boolean) {
    this.#momentum = momentum;
    this.#isDithered = isDithered;
  }

  step(gradient: Float32Array | null): void {
    update(this.buffer, this.#momentum, gradient);
    const key = keyOf({ seed: 1, counter: this.#counter++ }, 0);
    if (this.#isDithered) encode(this.buffer, this.#values, this.#scales, key);
    else encodeNearest(this.buffer, this.#values, this.#scales);
    decode(this.#values, this.#scales, this.buffer);
  }
}

function update(buffer: Float32Array, momentum: number, gradient: Float32Array | null): void {
  for (let i = 0; i < buffer.length; i++) buffer[i] = momentum * buffer[i] + (gradient?.[i] ?? 0);
}

/** Feeds the gradients of 400 steps to the format, and compares it with float32. */
function follow({ momentum, lr }: Setting, isDithered: boolean) {
  const exact = new Float32Array(4096);
  const compressed = new Compressed(momentum, isDithered);
  for (const gradient of recordGradients(momentum, lr, 400)) {
    update(exact, momentum, gradient);
    compressed.step(gradient);
  }
  return { compressed, ...deviationOf(compressed.buffer, exact) };
}

for (const [i, most] of [0.04, 0.12].entries()) {
  Deno.test(`the format keeps the momentum ${SETTINGS[i].momentum} of recorded gradients`, () => {
    const { gain, drift } = follow(SETTINGS[i], true);
    assert(Math.abs(gain - 1) < 0.01, `gain ${gain}`);
    assert(drift < most, `drift ${drift}`);
  });
}

Deno.test("without the dither the same gradients drift too far at momentum 0.99", () => {
  const { drift } = follow(SETTINGS[1], false);
  assert(drift > 0.12, `drift ${drift}`);
});

Deno.test("without gradients dithered momentum becomes 0, and what is not dithered never does", () => {
  for (const isDithered of [true, false]) {
    const { compressed } = follow(SETTINGS[0], isDithered);
    for (let steps = 0; steps < 1500; steps++) compressed.step(null);
    assertEquals(compressed.buffer.every((value) => value === 0), isDithered);
  }
});

/** Outcomes with made-up losses: scheme i ends 10 i % above float32 in the first seed. */
function createOutcomes(): Outcome[] {
  const epochs = (excess: number): Epoch[] =>
    [2, 1].map((loss) => ({
      ...{ trainLoss: loss * (1 + excess), testLoss: 2 * loss * (1 + excess) },
      ...{ gain: 1 - excess, drift: 0.01 + excess },
    }));
  return SETTINGS.flatMap((setting) =>
    SCHEMES.map((scheme, i) => ({
      ...{ scheme, setting, runs: [epochs(i / 10), epochs(0), epochs(i / 20)] },
      fading: { steps: 700 + i, left: i === 0 ? 6e-45 : 0 },
    }))
  );
}

Deno.test("losses are compared with float32's of the same seed and setting", () => {
  const outcomes = createOutcomes();
  const excess = excessOf(outcomes[2], outcomes, "testLoss");
  assertEquals(excess.map((share) => Math.round(1000 * share)), [0, 100, 200]);
});

Deno.test("the tables have a row for each scheme, with medians and ranges", () => {
  const text = formatStudy(createOutcomes());
  for (const { name } of SCHEMES) {
    assertEquals(text.split(`\n| ${name} `).length - 1 >= 2, true, name);
  }
  assertMatch(text, /\| float32 +\| +4 \| 1\.000 \| +1\.0 % \| +6e-45 after 700 steps \|/);
  assertMatch(
    text,
    /\| momentumBits: 8 +\| +1\.03 \| 0\.850 \| +16\.0 % \| +0 after 703 steps \|/,
  );
  assertMatch(text, /\| momentumBits: 8 +\| +5\.03 \| 2\.3000 \| +\+15\.0 % \[0\.0, \+30\.0\] \|/);
});

Deno.test("the picture has a panel for each figure and setting, and all schemes in the legend", () => {
  const svg = drawStudy("Title", "machine", createOutcomes());
  for (const { name } of SCHEMES) assert(svg.includes(name.replaceAll('"', "&quot;")), name);
  for (const { momentum } of SETTINGS) assert(svg.includes(`momentum ${momentum},`));
  assertEquals(svg.split("drift of the momentum").length - 1, SETTINGS.length);
});

Deno.test("deno task bench:accuracy --quick trains each scheme and draws the curves", async () => {
  const chart = await Deno.makeTempFile({ suffix: ".svg" });
  try {
    const args = [
      "run",
      "-q",
      "-A",
      "--no-check",
      "bench/accuracy.ts",
      "--quick",
      "--chart",
      chart,
    ];
    const output = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT }).output();
    const [text, errors] = [output.stdout, output.stderr].map((bytes) =>
      new TextDecoder().decode(bytes)
    );
    assert(output.success, errors);
    for (const { name } of SCHEMES) assertEquals(errors.split(`: ${name}\n`).length - 1, 2, name);
    assertMatch(text, /\| FlashOptim int8 +\| +1\.06 \| [01]\.\d{3} \|/);
    assertEquals(await Deno.readTextFile(chart).then((svg) => svg.slice(0, 4)), "<svg");
  } finally {
    await Deno.remove(chart);
  }
});
