/** A worker that ends while steps run in it ends alone. */

import { assertEquals } from "@std/assert";
import { cpuMissing } from "../../support/backends.ts";
import { ATTEMPTS, run, SIZES, THREADS } from "./attempts.ts";

const WORKERS = 4;

for (const how of ["terminate", "close", "throw"]) {
  Deno.test({
    name: `${how} ends a worker that steps, and not the program${
      cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
    }`,
    ignore: cpuMissing !== null,
    async fn() {
      for (const elements of SIZES) {
        for (const threads of THREADS) {
          const count = elements > 4_000_000 ? 1 : WORKERS;
          for (let i = 0; i < ATTEMPTS; i++) {
            const { code, signal, out, err } = await run(
              "workers.ts",
              [how, elements, count],
              threads,
            );
            const errors = how === "throw" ? count : 0;
            const expected = [0, null, `main lives, ${errors} errors\n`];
            assertEquals([code, signal, out], expected, `${elements}, ${threads} threads: ${err}`);
          }
        }
      }
    },
  });
}
