/** The benchmark says when the machine was too busy for its figures, and prints one for each row. */

import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { formatComparison } from "../../bench/comparison.ts";
import { isBusy, othersCores } from "../../bench/load.ts";
import type { Figure } from "../../bench/measure.ts";
import { spreadOf } from "../../bench/sampler.ts";
import { describeLoad, formatFigures } from "../../bench/text.ts";

const ROOT = new URL("../..", import.meta.url);

function figure(row: string, more: Partial<Figure> = {}): Figure {
  return {
    ...{ row, reference: "roofline", ratio: 1.25, ns: 2000, throughput: 40, roofline: 50 },
    ...{ spread: 0.02, othersCores: 0.01, ...more },
  };
}

Deno.test("other programs' cores are the machine's busy time less the own, per time that passed", () => {
  const before = { wall: 1000, busy: 50_000, own: 300 };
  const after = (busy: number, own: number) => ({
    wall: 3000,
    busy: 50_000 + busy,
    own: 300 + own,
  });
  assertEquals(othersCores(before, after(4000, 4000)), 0); // two own threads
  assertAlmostEquals(othersCores(before, after(4000, 2000)), 1, 1e-12);
  assertAlmostEquals(othersCores(before, after(500, 0)), 0.25, 1e-12);
  assertEquals(othersCores(before, after(1990, 2000)), 0); // the clocks' ticks differ
});

Deno.test("figures beside other programs, or far apart, are marked and told", () => {
  const quiet = [figure("a"), figure("b", { othersCores: 0.08 })];
  assertMatch(describeLoad(quiet), /^The machine was quiet: other programs used at most 0\.08 of/);
  assert(!formatFigures(quiet).includes("busy"));
  const busy = [figure("a"), figure("b", { othersCores: 1.5 }), figure("c", { spread: 0.5 })];
  assertEquals(busy.map(isBusy), [false, true, true]);
  assertMatch(
    describeLoad(busy),
    /too busy for 2 of 3 figures, .* up to 1\.50 of \d+ cores.* 50 %/,
  );
  const lines = formatFigures(busy).split("\n").slice(2);
  assertEquals(lines.map((line) => line.includes("(busy)")), [false, true, true]);
});

Deno.test("the headings of bench's table name the units, and which way is better", () => {
  const [head, , row] = formatFigures([figure("a")]).split("\n").map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  assertEquals(head, [
    ...[
      "row",
      "time of a step, ns, us or ms (less is better)",
      "times the reference's (less is better)",
    ],
    ...["reference", "moved, GB/s (more is better)"],
  ]);
  assertEquals(row, ["a", "2.00 us", "1.25", "roofline", "40.0"]);
});

Deno.test("the spread is what the quartiles lie apart, as a share of the median", () => {
  assertEquals(spreadOf([2, 2, 2]), 0);
  assertEquals(spreadOf([1, 2, 3, 4, 5]), 2 / 3);
});

Deno.test("bench prints each row once, with one figure", async () => {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-check", "-A", "bench/main.ts", "--quick", "--only", "2 x 10: js"],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const out = new TextDecoder().decode(stdout);
  assert(success, new TextDecoder().decode(stderr));
  assertEquals(out.match(/2 x 10: js/g)?.length, 1, out);
  assertEquals(out.match(/[\d.]+ (ns|us|ms|s) /g)?.length, 1, out);
  assertMatch(out, /^The machine was (quiet|too busy)/m);
});

Deno.test("the table of a comparison has each row of both, the worst first", () => {
  const of = (row: string, ratio: number) => ({ row, reference: "roofline", ratio });
  const before = [of("same", 1), of("better", 1), of("worse", 1), of("gone", 1)];
  const now = [of("same", 1.1), of("better", 0.5), of("worse", 2), of("new", 1)];
  const lines = formatComparison(before, now, 0.25).split("\n");
  const cells = lines.slice(2, 7).map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  assertEquals(cells, [
    ["gone", "", "", "-", "-", "**missing**"],
    ["worse", "roofline", "1.00", "2.00", "+100 %", "**worse**"],
    ["same", "roofline", "1.00", "1.10", "+10 %", ""],
    ["better", "roofline", "1.00", "0.500", "-50 %", "better"],
    ["new", "roofline", "-", "1.00", "-", "new"],
  ]);
  assertEquals(lines.at(-1), "1 worse, 1 better, 1 missing, 1 new.");
});
