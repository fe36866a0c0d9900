/** `deno task bench:bytes` divides the times that its rows name, and says what it cannot measure. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { formatObstacle, FORMATS } from "../../bench/bytes/formats.ts";
import { evaluate, formatOutcomes, isMet } from "../../bench/bytes/report.ts";
import type { BytesRow } from "../../bench/bytes/round.ts";
import { listRounds } from "../../bench/bytes/rows.ts";
import { cpuMissing } from "../support/backends.ts";

const ROOT = new URL("../..", import.meta.url);

const ROW: BytesRow = {
  ...{ work: "lean", own: "Descent", other: "Descent, float32", ratio: "float32's time" },
  ...{ asked: { atMost: 0.8 }, torch: (contender) => contender.startsWith("torch") },
};

function result(contender: string, samples: readonly number[]) {
  const ns = samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)];
  return { workload: "w", contender, samples, ns, spread: 0.02 };
}

const RESULTS = [
  result("Descent", [5, 6, 9]),
  result("Descent, float32", [10, 10, 12]),
  result("torch, default", [40, 40, 40]),
  result("torch, fused", [20, 20, 20]),
];

Deno.test("a ratio is the median of the rounds' ratios, beside torch's fastest way", () => {
  const measured = evaluate(ROW, RESULTS, 0.05);
  const torch = { contender: "torch, fused", ns: 20 };
  assertEquals(measured, { ns: 6, ratio: 0.6, torch, spread: 0.02, othersCores: 0.05 });
});

Deno.test("a gain is the other's time over the own one", () => {
  const measured = evaluate({ ...ROW, inverse: true }, RESULTS, 0);
  if (typeof measured === "string") throw new Error(measured);
  assertEquals(measured.ratio, 10 / 6);
});

Deno.test("a contender that was not measured is named", () => {
  assertEquals(evaluate(ROW, RESULTS.slice(0, 1), 0), '"Descent, float32" was not measured');
  assertEquals(evaluate(ROW, RESULTS.slice(1), 0), '"Descent" was not measured');
});

Deno.test("at most and at least include the limit", () => {
  assert(isMet(0.8, { atMost: 0.8 }) && !isMet(0.81, { atMost: 0.8 }));
  assert(isMet(0.95, { atLeast: 0.95 }) && !isMet(0.94, { atLeast: 0.95 }));
  assert(!isMet(NaN, { atMost: 0.8 }) && !isMet(NaN, { atLeast: 0.8 }));
});

Deno.test("the table says of each row whether it is met, and why it is not available", () => {
  const outcome = (measured: ReturnType<typeof evaluate>) => ({
    workload: "w",
    row: ROW,
    measured,
  });
  const slow = [result("Descent", [9, 9, 9]), ...RESULTS.slice(1)];
  const text = formatOutcomes([
    outcome(evaluate(ROW, RESULTS, 0)),
    outcome(evaluate(ROW, slow, 0)),
    outcome("no such option"),
  ]);
  assertMatch(text, /w: lean +\| +6\.00 ns \| +0\.600 of float32's time \| +at most 0\.8, met/);
  assertMatch(text, /w: lean +\| +9\.00 ns \| .* at most 0\.8, \*\*not met\*\*/);
  assertMatch(text, /w: lean +\| +- \| +unavailable \| +at most 0\.8 \| +- \|/);
  assertStringIncludes(text, "Unavailable:\n\n- 1 row: no such option");
});

Deno.test("rows have names of their own, and those of the goals have their limits", () => {
  const rounds = listRounds({ python: "python3", threads: 2 });
  const rows = rounds.flatMap(({ workload, rows }) =>
    rows.map(({ work, asked }) => [`${workload.name}: ${work}`, asked] as const)
  );
  assertEquals(new Set(rows.map(([name]) => name)).size, rows.length);
  assertEquals(Object.fromEntries(rows.filter(([, asked]) => asked !== null)), {
    "ResNet-50: bfloat16, float32 momentum": { atMost: 0.85 },
    "GPT-2 small: bfloat16, float32 momentum": { atMost: 0.75 },
    "GPT-2 small: float16, float32 momentum": { atMost: 0.8 },
    "GPT-2 small: float32, 8-bit momentum": { atMost: 0.85 },
    "GPT-2 small: bfloat16, split masters, 8-bit momentum": { atMost: 0.7 },
    "GPT-2 small: bfloat16, split24 masters, 8-bit momentum": { atMost: 0.62 },
    "4,096 of 50,000 x 256: sparse, sorted, with momentum": { atMost: 0.75 },
    "4,096 of 50,000 x 256: sparse, sorted, with momentum, all rows in use": { atMost: 1 },
    "4,096 of 50,000 x 256: sparse, sorted, with momentum, all rows in use, beside a dense step": {
      atMost: 1.9,
    },
    "ResNet-50: unscale + check + clip + step + zero, js": { atMost: 3.5 },
    "MLP 784-256-128-10: unscale + check + clip + step + zero, 2 threads": { atLeast: 1.4 },
    "ResNet-50: clipGradNorm alone, 1 thread": { atMost: 1 },
    "ResNet-50: float32, averaged in the same pass": { atMost: 1.45 },
    "MLP 784-256-128-10: float32, float32 momentum": { atLeast: 0.95 },
  });
});

Deno.test("a format whose options do not exist, or do nothing, cannot be measured", () => {
  assertEquals(formatObstacle(FORMATS.bfloat16, "js"), null);
  const unknown = { ...FORMATS.bfloat16, momentumBits: 7 as 8 };
  assertMatch(formatObstacle(unknown, "js") ?? "", /momentumBits/);
  const ignored = { ...FORMATS.float16, dtype: "float32", masterWeights: "split" } as const;
  assert(formatObstacle(ignored, "js") !== null);
});

Deno.test({
  name: `bench:bytes measures a row without torch, and names it${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  async fn() {
    const only = ["--only", "MLP 784-256-128-10: float32, float32", "--rounds", "1"];
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "--no-check", "-A", "bench/bytes.ts", ...only],
      cwd: ROOT,
      env: { NO_COLOR: "1", DESCENT_PYTHON: "no-such-python" },
    }).output();
    const out = new TextDecoder().decode(stdout);
    assert(success, new TextDecoder().decode(stderr));
    assertMatch(out, /^torch is not measured: no-such-python does not exist\.$/m);
    assertMatch(out, /^\| MLP .* of the roofline's speed \| at least 0\.95, /m);
  },
});
