/**
 * Random calls of the whole API, on every backend in lockstep: `deno task fuzz:api [count]`.
 *
 * `--seed N` repeats a run, `--from N` begins it with that case, `--without a,b` leaves operations and
 * kinds of hostility out, `--all` runs on after a failure, and `--trace` prints each operation before
 * it is done, for the case that a process ends in the midst of one.
 */

import { parseArgs } from "@std/cli/parse-args";
import { cpuMissing } from "../support/backends.ts";
import { CaseError, runCases } from "./cases.ts";
import type { RunOptions } from "./cases.ts";
import { leaveOut } from "./hostile.ts";

const PIECE = 500;

const options = parseArgs(Deno.args, {
  string: ["seed", "from", "without"],
  boolean: ["all", "trace"],
});
const count = Number(options._[0] ?? 10_000);
const seed = Number(options.seed ?? Date.now() % 2 ** 31);
leaveOut(new Set(options.without?.split(",")));

const run: RunOptions = {
  ...{ seed, count: 0 },
  backends: cpuMissing === null ? ["cpu", "js"] : ["js"],
  onOperation: options.trace
    ? (number, name) => console.error(`case ${number}: ${name}`)
    : undefined,
};
const total = { cases: 0, operations: 0, refusals: 0, failures: 0 };

/** Runs some cases, and returns the number of the next one. */
async function runPiece(from: number, count: number): Promise<number> {
  try {
    const counts = await runCases({ ...run, from, count }, total);
    return from + counts;
  } catch (error) {
    if (!options.all || !(error instanceof CaseError)) throw error;
    console.log(error.message);
    total.failures++;
    return error.number + 1;
  }
}

if (cpuMissing !== null) console.log(`Only js runs: ${cpuMissing}`);
console.log(`${count} cases, seed ${seed}`);
const first = Number(options.from ?? 0);
const end = first + count;
for (let next = first; next < end;) {
  next = await runPiece(next, Math.min(PIECE, end - next));
  if (next % PIECE === 0 && next < end) console.log(`${next - first} cases done`);
}
const { cases, operations, refusals, failures } = total;
console.log(
  `${cases} cases passed, ${operations} operations, ${refusals} refused alike; ${failures} failed`,
);
if (failures > 0) Deno.exit(1);
