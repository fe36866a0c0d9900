/** A test of a user's that fails while steps run is reported, and the next file is run. */

import { assertEquals, assertMatch } from "@std/assert";
import { cpuMissing } from "../../support/backends.ts";
import { ATTEMPTS, endOf, pathOf, SIZES, start, THREADS } from "./attempts.ts";

Deno.test({
  name: `a failing test under which steps run is reported, and the next file is run${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  async fn() {
    for (const elements of SIZES) {
      for (const threads of THREADS) {
        for (let i = 0; i < ATTEMPTS; i++) {
          Deno.env.set("DESCENT_ELEMENTS", String(elements));
          const files = ["failing.ts", "passing.ts"].map(pathOf);
          const { code, out } = await endOf(
            start(["test", "--no-check", "--no-prompt", "--allow-all", ...files], threads),
          );
          assertEquals(code, 1);
          assertMatch(out, /a test that fails \.\.\. FAILED/);
          assertMatch(out, /Error: as it should/);
          assertMatch(out, /a test that passes \.\.\. ok/);
          assertMatch(out, /1 passed \| 1 failed/);
        }
      }
    }
  },
});
