/** Memory that is transferred away while a step runs is there until the step is over. */

import { assertEquals, assertMatch } from "@std/assert";
import { forEachAttempt, run, testOnCpu } from "./attempts.ts";

const NAMES: Record<string, RegExp> = {
  "data": /^Error: Cannot .* as data of parameter 1 \("b"\) was detached or resized/,
  "grad": /^Error: Cannot .* as grad of parameter 1 \("b"\) was detached or resized/,
  // They share memory: the first one is named.
  "momentum buffer": /^Error: Cannot .* as momentum buffer of parameter 0 \("a"\) was detached/,
  "master weight": /^Error: Cannot .* as master weight of parameter 0 \("a"\) was detached/,
  "sparse values": /^Error: Cannot .* as grad of parameter 1 \("b"\) was detached or resized/,
};

for (const [which, refusal] of Object.entries(NAMES)) {
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
