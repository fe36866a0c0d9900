/** `deno task bench:history` finds the commits at which a row changed, and what is still to be measured. */

import { assert, assertAlmostEquals, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { DOMParser } from "@xmldom/xmldom";
import { drawHistory } from "../../bench/history/chart.ts";
import { findSteps, noiseOf, seriesOf } from "../../bench/history/changes.ts";
import { combineRuns, commitsOf, type Entry } from "../../bench/history/entries.ts";
import { formatEntry, isMeasured, parseHistory } from "../../bench/history/entries.ts";
import { describeSteps } from "../../bench/history/report.ts";

const ROW = "ResNet-50: cpu, plain, float32, foreach true";
const PROCESSOR = "a processor, 2 cores, linux";

function entry(index: number, ratios: Record<string, number>, more: Partial<Entry> = {}): Entry {
  return {
    commit: String.fromCharCode(97 + index).repeat(40),
    date: `2026-01-${String(index + 1).padStart(2, "0")}T12:00:00+00:00`,
    subject: `commit ${index}`,
    processor: PROCESSOR,
    deno: "2.9.6",
    measured: "2026-02-01",
    runs: 3,
    only: "",
    rows: Object.fromEntries(
      Object.entries(ratios).map(([row, ratio]) => [
        row,
        { reference: "roofline", ratio, deviation: 0.005 * ratio },
      ]),
    ),
    ...more,
  };
}

/** A history of one row. */
function historyOf(ratios: readonly number[]): Entry[] {
  return ratios.map((ratio, i) => entry(i, { [ROW]: ratio }));
}

/** At which commits steps are found, and whether the row became slower. */
function stepsOf(ratios: readonly number[]): [number, "slower" | "faster"][] {
  const history = historyOf(ratios);
  return seriesOf(history).flatMap(findSteps).map(({ at, before, after }) => [
    history.findIndex(({ commit }) => commit === at.commit),
    after > before ? "slower" : "faster",
  ]);
}

for (
  const [what, ratios, expected] of [
    ["noise", [1, 1.01, 0.99, 1.02, 1, 0.98, 1.01, 1], []],
    ["a slow-down", [1, 1.01, 0.99, 1.3, 1.31, 1.29, 1.3], [[3, "slower"]]],
    ["a speed-up", [1, 1.01, 0.99, 0.8, 0.81, 0.8], [[3, "faster"]]],
    ["a single outlier", [1, 1.01, 1.4, 1, 0.99, 1], []],
    ["two outliers on different sides", [1, 1.01, 1.4, 0.7, 0.99, 1], []],
    ["a slow-down that is taken back", [1, 1, 1.2, 1.2, 1, 1], [[2, "slower"], [4, "faster"]]],
    ["a change of the newest commit", [1, 1.01, 0.99, 1, 1.3], [[4, "slower"]]],
    ["a change between the only two", [1, 1.3], [[1, "slower"]]],
    ["a drift", [1, 1.02, 1.03, 1.04, 1.06, 1.08, 1.1, 1.12, 1.15], [[7, "slower"]]],
    ["one commit", [1], []],
    ["a change of 30 % where neighbors lie 20 % apart", [1, 1.2, 1, 1.2, 1, 1.2, 1, 1.3, 1.3], []],
  ] as const
) {
  Deno.test(`steps of a row: ${what}`, () => {
    assertEquals(stepsOf(ratios), expected.map((step) => [...step]));
  });
}

Deno.test("only the newest commit's step is not confirmed, and the text says so", () => {
  const steps = seriesOf(historyOf([1, 1, 1.2, 1.2, 1.5])).flatMap(findSteps);
  assertEquals(steps.map(({ confirmed }) => confirmed), [true, false]);
  assertEquals(
    describeSteps(steps),
    `ccccccc 2026-01-03 commit 2
  ${ROW}: 1.00 -> 1.20 (+20 %)
eeeeeee 2026-01-05 commit 4
  ${ROW}: 1.20 -> 1.50 (+25 %, not confirmed yet)`,
  );
  assertEquals(describeSteps([]), "No row changed by more than its noise.");
});

Deno.test("noise is what the runs lie apart, or the neighbors, and at least 1 %", () => {
  const noise = (deviation: number, ratios: readonly number[]) =>
    noiseOf(
      ratios.map((ratio, i) => ({
        at: entry(i, {}),
        ratio,
        deviation: deviation * ratio,
        busy: false,
      })),
    );
  assertEquals(noise(0, [1, 1, 1]), 0.01);
  assertAlmostEquals(noise(0.02, [1, 2, 1]), 0.02 * 1.4826, 1e-12);
  const swinging = [1, 1.1, 1, 1.1, 1, 1.1, 1];
  assertAlmostEquals(noise(0, swinging), 1.4826 * Math.log(1.1) / Math.SQRT2, 1e-12);
  assertEquals(noise(0, swinging.slice(1)), 0.01); // too few to tell noise from steps
});

Deno.test("disturbed figures are no steps, and do not hide one", () => {
  const history = historyOf([1, 9, 9, 1, 1.5, 1, 1.5]).map((one, i): Entry =>
    [1, 2, 5].includes(i) ? { ...one, rows: { [ROW]: { ...one.rows[ROW], busy: true } } } : one
  );
  const [series] = seriesOf(history);
  assertEquals(series.points.map(({ ratio }) => ratio), [1, 9, 9, 1, 1.5, 1, 1.5]);
  assertEquals(findSteps(series).map(({ at, confirmed }) => [at.commit[0], confirmed]), [
    ["e", true],
  ]);
});

Deno.test("ratios that are no numbers are no points of a row", () => {
  assertEquals(seriesOf([entry(0, { [ROW]: NaN })]), []);
});

Deno.test("a row against another reference is another series", () => {
  const [first, second] = historyOf([1, 50]);
  const other = { ...second, rows: { [ROW]: { ...second.rows[ROW], reference: "scalar loop" } } };
  const series = seriesOf([first, other]);
  assertEquals(series.map(({ reference }) => reference), ["roofline", "scalar loop"]);
  assertEquals(series.flatMap(findSteps), []);
});

Deno.test("runs of a commit become their median, its deviation, and a mark if all were disturbed", () => {
  const figure = (ratio: number, othersCores?: number) => ({
    ...{ row: ROW, reference: "roofline", ratio },
    ...(othersCores === undefined ? {} : { othersCores, spread: 0.01 }),
  });
  const runs = (...figures: ReturnType<typeof figure>[]) =>
    combineRuns(figures.map((one) => [one]))[ROW];
  const reference = "roofline";
  assertEquals(runs(figure(1), figure(4), figure(2)), { reference, ratio: 2, deviation: 1 });
  const mixed = runs(figure(9, 1.5), figure(1, 0.01), figure(2, 0.01));
  assertEquals(mixed, { reference, ratio: 1.5, deviation: 0.5 });
  const disturbed = runs(figure(9, 1.5), figure(8, 1.5), figure(7, 1.5));
  assertEquals(disturbed, { reference, ratio: 8, deviation: 1, busy: true });
});

Deno.test("a line of the history is read as it was written, and a broken one is named", () => {
  const history = historyOf([1.25, 1.5]);
  assertEquals(parseHistory(history.map(formatEntry).join("") + "\n"), history);
  assertThrows(
    () => parseHistory(`${formatEntry(history[0])}{"commit":`),
    SyntaxError,
    "Cannot read line 2 of the history as it is not JSON",
  );
  for (
    const line of [
      "{}",
      "null",
      "3",
      '{"commit":"a","date":"b","processor":"c","only":"","rows":null}',
    ]
  ) {
    assertThrows(() => parseHistory(line), SyntaxError, "line 1 of the history as it lacks commit");
  }
});

Deno.test("what is measured already is known by commit, processor and rows", () => {
  const whole = entry(0, { [ROW]: 1 });
  const part = entry(1, { [ROW]: 1 }, { only: "ResNet" });
  const ask = ({ commit }: Entry, only: string, processor = PROCESSOR) =>
    isMeasured([whole, part], { commit, processor, only });
  assert(ask(whole, "") && ask(whole, "GPT-2"));
  assert(ask(part, "ResNet") && ask(part, "ResNet-50"));
  assert(!ask(part, "") && !ask(part, "GPT-2"));
  assert(!ask(whole, "", "another processor"));
  assert(!ask(entry(2, {}), ""));
});

Deno.test("lines of one commit are merged, and commits are in the order of their dates", () => {
  const other = "GPT-2 small: cpu, plain, float32, foreach true";
  const history = [
    entry(2, { [ROW]: 3 }),
    entry(0, { [ROW]: 1 }, { only: "ResNet" }),
    entry(1, { [ROW]: 8 }, { processor: "another" }),
    entry(0, { [other]: 2 }, { only: "GPT-2" }),
  ];
  const rows = commitsOf(history, PROCESSOR).map(({ commit, rows }) => [
    commit[0],
    Object.entries(rows).map(([row, { ratio }]) => [row, ratio]),
  ]);
  assertEquals(rows, [["a", [[ROW, 1], [other, 2]]], ["c", [[ROW, 3]]]]);
});

Deno.test("the chart has a panel per workload, a line per row, and names each step", () => {
  const small = "2 x 10: js, plain, float32, foreach true";
  const history = [1, 1, 1.3, 1.3].map((ratio, i) => entry(i, { [ROW]: ratio, [small]: 2 }));
  const svg = drawHistory(PROCESSOR, history);
  const document = new DOMParser().parseFromString(svg, "image/svg+xml");
  const texts = [...document.getElementsByTagName("text")].map((text) => text.textContent ?? "");
  assertEquals(texts.filter((text) => text.includes(": times")), [
    "Steps over the commits: times the reference's time, less is better",
    "2 x 10: times the roofline's",
    "ResNet-50: times the roofline's",
  ]);
  assert(texts.includes("js, plain") && texts.includes("cpu, plain"));
  for (const { commit } of history) assert(texts.includes(commit.slice(0, 7)));
  const named = texts.filter((text) => text.includes("->"));
  assertEquals(named.length, 1);
  assertMatch(named[0], /cpu, plain 1\.00 -> 1\.30 \(\+30 %\)/);
  assertEquals(texts.filter((text) => text.startsWith("1  ccccccc 2026-01-03 commit 2")).length, 1);
});
