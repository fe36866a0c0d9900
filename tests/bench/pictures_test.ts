/** Pictures can be read in every viewer: also where the font is as wide as DejaVu. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { drawHistory } from "../../bench/history/chart.ts";
import { ticksOf } from "../../bench/history/axes.ts";
import type { Entry } from "../../bench/history/entries.ts";
import { drawChart } from "../../bench/peers/chart.ts";
import { drawOutcomes } from "../../examples/autoround/plot.ts";
import { drawCurves } from "../../examples/digits/plot.ts";
import { drawPath } from "../../examples/learn_lr/plot.ts";
import { drawSvg } from "../../examples/picture/svg.ts";
import { assertReadable, readTexts } from "../support/pictures.ts";

const ROOT = new URL("../../", import.meta.url);

const COMMITTED = [
  "bench/history.svg",
  "bench/peers.svg",
  "docs/accuracy.svg",
  "docs/lr_range.svg",
  "docs/speed.svg",
];

for (const file of COMMITTED) {
  Deno.test(`the texts of ${file} can be read`, async () => {
    assertReadable(await Deno.readTextFile(new URL(file, ROOT)));
  });
}

const PROCESSOR = "AMD EPYC, 2 cores, linux";

/** Commits with rows of the longest names, all of which change at the same commits. */
function historyOf(commits: number): Entry[] {
  const names = ["cpu, plain, float32", "cpu, nesterov + decay, bfloat16", "js, momentum, float64"];
  const rows = ["foreach true", "foreach false", "foreach true, split24"].flatMap((end) =>
    names.map((name) => `ResNet-50: ${name}, ${end}`)
  );
  return Array.from({ length: commits }, (_, i) => ({
    commit: String(i).padStart(3, "0").repeat(14).slice(0, 40),
    date: `2026-01-01T12:00:${String(i % 60).padStart(2, "0")}+00:00`,
    subject: `commit ${i}`,
    processor: PROCESSOR,
    ...{ deno: "2.9.6", measured: "2026-02-01", runs: 3, only: "" },
    rows: Object.fromEntries(rows.map((row, k) => {
      const ratio = (1 + k / 4) * (i >= commits / 2 ? 1.5 : 1);
      return [row, { reference: "roofline", ratio, deviation: 0.005 }];
    })),
  }));
}

const epochs = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    ...{ epoch: i + 1, trainLoss: 1 / (i + 1), testLoss: 2 / (i + 1) },
    testAccuracy: 1 - 0.3 / (i + 1),
  }));

const sweep = Array.from({ length: 60 }, (_, i) => ({ lr: 0.005 * 1.15 ** i, loss: 1 + i / 60 }));

const outcome = (seed: number) => ({
  ...{ seed, float: 0.97, nearest: 0.91, tuned: 0.96 },
  losses: [[1, 0.5, 0.4], [2, 0.9, 0.3]],
});

const results = ["roofline", "tfjs, wasm", "torch, 2 threads, foreach", "plain TypeScript loop"]
  .map((contender, i) => {
    const ns = 9.99e5 * (i + 1);
    return { workload: "MLP 784-256-128-10", contender, samples: [ns], ns, spread: 0.01 };
  });

for (
  const [what, draw] of [
    ["a history of 3 commits", () => drawHistory(PROCESSOR, historyOf(3))],
    ["a history of 9 commits", () => drawHistory(PROCESSOR, historyOf(9))],
    ["a history of 40 commits", () => drawHistory(PROCESSOR, historyOf(40))],
    ["the comparison with other programs", () => drawChart("Title", PROCESSOR, results)],
    ["a training run of one epoch", () => drawCurves("Title", "subtitle", epochs(1))],
    ["a training run of 30 epochs", () => drawCurves("Title", "subtitle", epochs(30))],
    ["a learning rate's path", () => drawPath("Title", "subtitle", sweep, sweep.slice(0, 9))],
    ["quantized networks", () => drawOutcomes("Title", "subtitle", [1, 2, 3].map(outcome))],
  ] as const
) {
  Deno.test(`texts neither collide nor leave the picture: ${what}`, () => assertReadable(draw()));
}

Deno.test("lines of the history are named by what differs", () => {
  const svg = drawHistory(PROCESSOR, historyOf(9));
  const texts = readTexts(svg).map(({ text }) => text);
  for (
    const name of [
      "cpu, plain",
      "cpu, plain, foreach false",
      "cpu, nesterov + decay, bfloat16, split24 master weights",
      "js, momentum, float64",
    ]
  ) assert(texts.includes(name), name);
  assertEquals(texts.filter((text) => /float32,|foreach true/.test(text)), []);
});

Deno.test("lines of the history have the color of what they compute, and dashes on js", () => {
  const rows = ["cpu, plain", "js, plain", "cpu, momentum"].map((name) => `ResNet-50: ${name}`);
  const history = historyOf(3).map((entry, i) => ({
    ...entry,
    rows: Object.fromEntries(rows.map((row, k) => [
      `${row}, float32, foreach true`,
      { reference: "roofline", ratio: 1 + k + i / 10, deviation: 0.1 },
    ])),
  }));
  const drawn = drawHistory(PROCESSOR, history).match(
    /<path d="M70 [^"]*L[^>]*fill="none"[^>]*>/g,
  )!;
  const lines = drawn.filter((path) => path.includes('stroke-width="1.4"'));
  const [cpu, js, momentum] = lines.map((path) => /stroke="(#\w+)"/.exec(path)![1]);
  assertEquals(lines.map((path) => path.includes("stroke-dasharray")), [false, true, false]);
  assert(cpu === js && cpu !== momentum, `${[cpu, js, momentum]}`);
});

Deno.test("ticks of a logarithmic axis are round numbers within it, and at most eight", () => {
  for (
    const [min, max, expected] of [
      [0.9, 4.2, [1, 1.5, 2, 3, 4]],
      [0.007, 0.09, [0.007, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07]],
      [0.9, 1100, [1, 3, 10, 30, 100, 300, 1000]],
    ] as const
  ) {
    const ticks = ticksOf(min, max);
    assert(ticks.length <= 8 && ticks.length >= 3, `${ticks}`);
    assertEquals(ticks, [...expected]);
  }
});

Deno.test("a picture whose texts collide or leave it is found", () => {
  const titled = (...titles: unknown[]) => drawSvg(200, 100, { title: titles });
  const [one, other] = [10, 40].map((left) => ({ text: "Much text", left, top: 10 }));
  assertReadable(titled(one));
  assertThrows(() => assertReadable(titled(one, other)), Error, "texts collide");
  assertThrows(() => assertReadable(titled({ ...one, left: 120 })), Error, "leave the picture");
});
