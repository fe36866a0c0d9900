/** A program that ends by its own error while steps run says so, as it would without Descent. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { cpuMissing } from "../backends.ts";
import { ATTEMPTS, run, SIZES, THREADS } from "./attempts.ts";

const ERRORS = {
  "at top level": "SyntaxError: ",
  "in a timer": "SyntaxError: ",
  "as a rejection": "RangeError: nobody handles this",
};

for (const [how, error] of Object.entries(ERRORS)) {
  Deno.test({
    name: `an uncaught error ${how} ends a program that steps as any other`,
    ignore: cpuMissing !== null,
    async fn() {
      const expected = await run("uncaught.ts", [how, "none"], 1);
      assertEquals([expected.code, expected.out], [1, "stepping\n"]);
      assertStringIncludes(expected.err, error);
      for (const elements of SIZES) {
        for (const threads of THREADS) {
          for (let i = 0; i < ATTEMPTS; i++) {
            const ending = await run("uncaught.ts", [how, elements, "own"], threads);
            assertEquals(ending, expected, `${elements} elements, ${threads} threads, ${i}`);
          }
        }
      }
    },
  });
}

for (const memory of ["shared", "wasm"] as const) {
  Deno.test({
    name: `an uncaught error ends a program that steps ${memory} memory as any other`,
    ignore: cpuMissing !== null,
    async fn() {
      const expected = await run("uncaught.ts", ["at top level", "none"], 1);
      for (let i = 0; i < 2 * ATTEMPTS; i++) {
        const args = ["at top level", 4_000_000, memory];
        assertEquals(await run("uncaught.ts", args, THREADS[i % 2]), expected);
      }
    },
  });
}
