/** A worker that ends while steps run in it ends alone. */

import { assertEquals } from "@std/assert";
import { forEachAttempt, run, testOnCpu } from "./attempts.ts";

const WORKERS = 4;

for (const how of ["terminate", "close", "throw"]) {
  testOnCpu(`${how} ends a worker that steps, and not the program`, async () => {
    await forEachAttempt(async (elements, threads) => {
      const count = elements > 4_000_000 ? 1 : WORKERS;
      const { code, signal, out, err } = await run(
        "workers.ts",
        [how, elements, count],
        threads,
      );
      const errors = how === "throw" ? count : 0;
      const expected = [0, null, `main lives, ${errors} errors\n`];
      assertEquals([code, signal, out], expected, `${elements}, ${threads} threads: ${err}`);
    });
  });
}
