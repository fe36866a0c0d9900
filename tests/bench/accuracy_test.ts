/** The parts of the accuracy study: other programs' formats, gain and drift, and its text and picture. */

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
import { type Epoch, SETTINGS } from "../../bench/accuracy/training.ts";

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
      fading: i === 0 ? { steps: null, left: 6e-45 } : { steps: 700 + i, left: 0 },
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
  assertMatch(text, /\| float32 +\| +4 \| 1\.000 \| +1\.0 % \| +stays at 6e-45 \|/);
  assertMatch(
    text,
    /\| momentumBits: 8 +\| +1\.031 \| 0\.850 \| +16\.0 % \| +0 after 703 steps \|/,
  );
  assertMatch(text, /\| momentumBits: 8 +\| 2\.3000 \| +\+15\.0 % \[0\.0, \+30\.0\] \|/);
});

Deno.test("the picture has a panel for each figure and setting, and all schemes in the legend", () => {
  const svg = drawStudy("Title", "machine", createOutcomes());
  for (const { name } of SCHEMES) assert(svg.includes(name.replaceAll('"', "&quot;")), name);
  for (const { momentum } of SETTINGS) assert(svg.includes(`momentum ${momentum},`));
  assertEquals(svg.split("drift of the momentum").length - 1, SETTINGS.length);
});
