/** A test that fails while steps run; `suite_test.ts` runs it, and `passing.ts` after it. */

import { delay, stepForEver } from "./stepping.ts";

Deno.test({
  name: "a test that fails",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    stepForEver(Number(Deno.env.get("DESCENT_ELEMENTS")));
    await delay(20);
    throw new Error("as it should");
  },
});
