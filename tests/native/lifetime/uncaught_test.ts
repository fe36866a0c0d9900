/** A program that ends by its own error while steps run reports it, as it would without Descent. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { ATTEMPTS, forEachAttempt, run, testOnCpu, THREADS } from "./attempts.ts";
import type { Ending } from "./attempts.ts";

const ERRORS = {
  "at top level": "SyntaxError: ",
  "in a timer": "SyntaxError: ",
  "as a rejection": "RangeError: nobody handles this",
};

/** What a program says, without the frames of Deno's own event loop, which vary. */
async function end(args: readonly (string | number)[], threads: number): Promise<Ending> {
  const { err, ...ending } = await run("uncaught.ts", args, threads);
  return { ...ending, err: err.replaceAll(/^ +at .*ext:.*\n/gm, "") };
}

for (const [how, error] of Object.entries(ERRORS)) {
  testOnCpu(`an uncaught error ${how} ends a program that steps as any other`, async () => {
    const expected = await end([how, "none"], 1);
    assertEquals([expected.code, expected.out], [1, "stepping\n"]);
    assertStringIncludes(expected.err, error);
    await forEachAttempt(async (elements, threads) => {
      const ending = await end([how, elements, "own"], threads);
      assertEquals(ending, expected, `${elements} elements, ${threads} threads`);
    });
  });
}

for (const memory of ["shared", "wasm"] as const) {
  testOnCpu(
    `an uncaught error ends a program that steps ${memory} memory as any other`,
    async () => {
      const expected = await end(["at top level", "none"], 1);
      for (let i = 0; i < 2 * ATTEMPTS; i++) {
        const args = ["at top level", 4_000_000, memory];
        assertEquals(await end(args, THREADS[i % 2]), expected);
      }
    },
  );
}
