/** Memory that is transferred away while a step runs is there until the step is over. */

import { assertEquals, assertMatch } from "@std/assert";
import { forEachAttempt, run, testOnCpu } from "./attempts.ts";
import { REFUSALS } from "./refusals.ts";

for (const [which, refusal] of Object.entries(REFUSALS)) {
  testOnCpu(
    `the ${which} can be transferred while a step runs, which rejects it by name`,
    async () => {
      await forEachAttempt(async (elements, threads) => {
        const { code, signal, out, err } = await run("transfer.ts", [which, elements], threads);
        assertEquals([code, signal], [0, null], `${elements}, ${threads} threads: ${err}`);
        assertMatch(out, refusal);
      });
    },
  );
}
