/** `deno task bench:compare` distinguishes a slower step from a slower machine. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { compare, type Compared, describe, passes } from "../../bench/comparison.ts";
import { batchSize, median, quantile, sampleInTurn } from "../../bench/sampler.ts";

const ROOT = new URL("../..", import.meta.url);

function figure(row: string, ratio: number, reference = "roofline"): Compared {
  return { row, reference, ratio };
}

/** As a run measures it: both times, of which only the ratio counts. */
function timed(row: string, ns: number, referenceNs: number): Compared {
  return figure(row, ns / referenceNs);
}

const BASELINE = [timed("small", 700, 10_000), timed("large", 9e6, 8.8e6), timed("huge", 5e7, 5e7)];

Deno.test("a planted slow-down is caught and named, in a row of any size", () => {
  for (const [index, { row }] of BASELINE.entries()) {
    const now = BASELINE.map((f, i) => i === index ? figure(f.row, 1.26 * f.ratio) : f);
    const comparison = compare(BASELINE, now, 0.25);
    assertEquals(comparison.worse.map((change) => change.row), [row]);
    assertEquals(comparison.same, 2);
    assert(!passes(comparison));
    assertMatch(describe(comparison, 0.25), new RegExp(`^WORSE +${row}: .*\\(26 %\\)$`, "m"));
  }
});

Deno.test("noise within the tolerance is neither worse nor better", () => {
  for (const factor of [0.81, 0.95, 1, 1.05, 1.24]) {
    const now = BASELINE.map(({ row, ratio }) => figure(row, factor * ratio));
    const comparison = compare(BASELINE, now, 0.25);
    assertEquals(comparison.same, 3);
    assert(passes(comparison));
  }
});

Deno.test("a machine that is slower on the whole passes", () => {
  const now = [timed("small", 2800, 40_000), timed("large", 36e6, 35.2e6), timed("huge", 2e8, 2e8)];
  const comparison = compare(BASELINE, now, 0.01);
  assertEquals(comparison.same, 3);
  assert(passes(comparison));
});

Deno.test("the tolerance is the one that is asked for", () => {
  const now = [figure("row", 1.2)];
  assert(passes(compare([figure("row", 1)], now, 0.25)));
  assert(!passes(compare([figure("row", 1)], now, 0.1)));
});

Deno.test("a row that got faster is reported and passes", () => {
  const comparison = compare(BASELINE, [...BASELINE.slice(1), figure("small", 0.01)], 0.25);
  assertEquals(comparison.better.map(({ row }) => row), ["small"]);
  assertMatch(describe(comparison, 0.25), /^better +small: 0\.0700 -> 0\.0100 .*\(-86 %\)$/m);
  assert(passes(comparison));
});

Deno.test("a row that is missing is reported and fails; a new one is reported and passes", () => {
  const less = compare(BASELINE, BASELINE.slice(1), 0.25);
  assertEquals(less.missing, ["small"]);
  assertMatch(describe(less, 0.25), /^missing small$/m);
  assert(!passes(less));
  const more = compare(BASELINE.slice(1), BASELINE, 0.25);
  assertEquals(more.added, ["small"]);
  assertMatch(describe(more, 0.25), /^new +small$/m);
  assert(passes(more));
});

Deno.test("ratios to different references are not compared", () => {
  const comparison = compare([figure("a", 1)], [figure("a", 9, "scalar loop")], 0.25);
  assertEquals([comparison.missing, comparison.added, comparison.worse], [["a"], ["a"], []]);
  assert(!passes(comparison));
});

Deno.test("a ratio that is no number is a row that got worse", () => {
  assert(!passes(compare([figure("a", 1)], [figure("a", NaN)], 0.25)));
});

Deno.test("medians and quantiles do not depend on the order", () => {
  assertEquals(median([5, 1, 3]), 3);
  assertEquals(median([4, 1, 3, 2]), 2.5);
  assertEquals(quantile([4, 0, 2, 1, 3], 0.25), 1);
  assertEquals(quantile([10, 0], 0.1), 1);
});

Deno.test("functions are sampled in turn, each as often as the others", () => {
  const calls: string[] = [];
  const wait = (name: string) => () => {
    calls.push(name);
    const start = performance.now();
    while (performance.now() - start < 2);
  };
  const effort = { warmMs: 0, sampleMs: 1, budgetMs: 0, maxRounds: 99 };
  const samples = sampleInTurn([wait("a"), wait("b")], effort);
  assertEquals(samples.map((times) => times.length), [5, 5]);
  assert(samples.flat().every((ns) => ns >= 2e6));
  assertEquals(calls.join(""), "ab" + "ab".repeat(5));
});

Deno.test("a short function is called in batches that take as long as a sample has to", () => {
  let calls = 0;
  const size = batchSize(() => calls++, { warmMs: 1, sampleMs: 1 });
  assert(size > 100 && calls > size, `${size} of ${calls}`);
});

const SMALL_ROW = "2 x 10: js, plain";

/** The whole tool on one small row. */
async function runCompare(folder: string, ...args: string[]) {
  const files = ["--out", `${folder}/bench.json`, "--baseline", `${folder}/baseline.json`];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-check", "--allow-all", "bench/compare.ts", ...files, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  return { code, out: text.decode(stdout), err: text.decode(stderr) };
}

Deno.test("bench:compare passes a row against itself, and fails it when its steps are slowed down", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const none = await runCompare(folder, "--only", SMALL_ROW);
    assertEquals(none.code, 2);
    assertMatch(none.err, /^Cannot compare as there is no .*: make one with --save$/m);

    assertEquals((await runCompare(folder, "--only", SMALL_ROW, "--save")).code, 0);
    const saved = await Deno.readTextFile(`${folder}/baseline.json`);
    assertEquals(saved, await Deno.readTextFile(`${folder}/bench.json`));
    assert(JSON.parse(saved).figures[0].row.startsWith(SMALL_ROW));

    // The limits are far apart, so that no noise decides: 1 step passes, 100 for one do not.
    const wide = ["--only", SMALL_ROW, "--tolerance", "9"];
    const summary = `${folder}/summary.md`;
    await Deno.writeTextFile(summary, "before\n");
    const same = await runCompare(folder, ...wide, "--summary", summary);
    assertEquals(same.code, 0, same.out + same.err);
    const table = await Deno.readTextFile(summary);
    assertMatch(table, new RegExp(`^before\n## Benchmarks\n[^]*^\\| ${SMALL_ROW}`, "m"));
    const slow = await runCompare(folder, ...wide, "--slow-down", "100");
    assertEquals(slow.code, 1, slow.out + slow.err);
    assertMatch(slow.out, new RegExp(`^WORSE +${SMALL_ROW}`, "m"));
    assertEquals(await Deno.readTextFile(`${folder}/baseline.json`), saved);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the saved baseline is one of this benchmark's rows", async () => {
  const { allRows, nameOf } = await import("../../bench/rows.ts");
  const { figures } = JSON.parse(
    await Deno.readTextFile(new URL("bench/baseline.json", ROOT)),
  ) as { figures: Compared[] };
  assertEquals(figures.map(({ row }) => row).sort(), allRows().map(nameOf).sort());
  assert(figures.every(({ ratio }) => ratio > 0));
});
