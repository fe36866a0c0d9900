/**
 * Runs the tests under AddressSanitizer: `deno task test:asan [count]`.
 *
 * The Rust tests, then the Deno tests and a random run of the whole API over a library that is built
 * with it. The arguments are those of `deno task fuzz:api`: how many random cases, for one. The last line counts tests and reports; the exit code is 1 if a test
 * failed or there is a report. What the normal builds have made is left alone.
 */

import { prepare } from "./asan/prepare.ts";
import { denoTests } from "./asan/tests.ts";
import { CARGO_TESTS, finish, runStages } from "./stage.ts";
import type { Stage } from "./stage.ts";

const CASES = "20000";

async function main(): Promise<void> {
  const args = Deno.args.length > 0 ? Deno.args : [CASES];
  const asan = await prepare();
  const { cargo, buildEnv, runEnv } = asan;
  const rust: Stage = {
    name: "cargo test, under AddressSanitizer",
    command: ["cargo", "test", ...cargo],
    env: { ...buildEnv, ASAN_OPTIONS: runEnv.ASAN_OPTIONS },
    count: CARGO_TESTS,
  };
  const random: Stage = {
    name: "random calls, under AddressSanitizer",
    command: [Deno.execPath(), "run", "-q", "-A", "tests/random_api/main.ts", ...args],
    env: runEnv,
  };
  const total = await runStages([rust, ...await denoTests(runEnv), random]);
  const reports = await asan.readReports();
  for (const report of reports) console.log(`\n${report}`);
  if (reports.length > 0 && total.failed === 0) {
    total.failed++;
    total.broken.push("AddressSanitizer");
  }
  finish(total, `, ${reports.length} reports of AddressSanitizer`);
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  Deno.exit(1);
}
