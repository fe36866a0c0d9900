/** A bounded random run of the whole API; `deno task fuzz:api` has no bounds. */

import { assert } from "@std/assert";
import { cpuMissing } from "../support/backends.ts";
import { runCases } from "./cases.ts";

Deno.test("random calls of the whole API do the same on every backend, or are refused in words", async () => {
  const counts = { cases: 0, operations: 0, refusals: 0 };
  const backends = cpuMissing === null ? ["cpu", "js"] as const : ["js"] as const;
  await runCases({ seed: 1, count: 300, backends }, counts);
  assert(counts.refusals > 100 && counts.operations > 5 * counts.refusals, JSON.stringify(counts));
});
