/** A program that ends by its own error while steps run says so, as it would without Descent. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { cpuMissing } from "../../support/backends.ts";
import { ATTEMPTS, run, SIZES, THREADS } from "./attempts.ts";
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
  Deno.test({
    name: `an uncaught error ${how} ends a program that steps as any other${
      cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
    }`,
    ignore: cpuMissing !== null,
    async fn() {
      const expected = await end([how, "none"], 1);
      assertEquals([expected.code, expected.out], [1, "stepping\n"]);
      assertStringIncludes(expected.err, error);
      for (const elements of SIZES) {
        for (const threads of THREADS) {
          for (let i = 0; i < ATTEMPTS; i++) {
            const ending = await end([how, elements, "own"], threads);
            assertEquals(ending, expected, `${elements} elements, ${threads} threads, ${i}`);
          }
        }
      }
    },
  });
}

for (const memory of ["shared", "wasm"] as const) {
  Deno.test({
    name: `an uncaught error ends a program that steps ${memory} memory as any other${
      cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
    }`,
    ignore: cpuMissing !== null,
    async fn() {
      const expected = await end(["at top level", "none"], 1);
      for (let i = 0; i < 2 * ATTEMPTS; i++) {
        const args = ["at top level", 4_000_000, memory];
        assertEquals(await end(args, THREADS[i % 2]), expected);
      }
    },
  });
}
