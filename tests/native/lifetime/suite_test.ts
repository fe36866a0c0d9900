/** A test of a user's that fails while steps run is reported, and the next file is run. */

import { assertEquals, assertMatch } from "@std/assert";
import { endOf, forEachAttempt, pathOf, start, testOnCpu } from "./attempts.ts";

testOnCpu(
  `a failing test under which steps run is reported, and the next file is run`,
  async () => {
    await forEachAttempt(async (elements, threads) => {
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
    });
  },
);
