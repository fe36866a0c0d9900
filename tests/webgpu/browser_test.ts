/** The suite in a browser, whose WebGPU refuses more than Deno's. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { describeHabits } from "../gpu/reference.ts";
import { chromium, runInBrowser } from "../support/browser.ts";
import type { PageResult } from "./page.ts";

const missing = chromium === undefined ? " (skipped: no Chromium or Chrome)" : "";

Deno.test({
  name: `the suite of WebGPU passes in a browser${missing}`,
  ignore: chromium === undefined,
  async fn() {
    const page = fromFileUrl(new URL("page.ts", import.meta.url));
    const { traits, adapter, cases } = await runInBrowser(page) as PageResult;
    assertNotEquals(traits, null, "the browser has no adapter");
    console.log(`${describeHabits({ name: adapter }, traits!)}; ${cases.length} cases`);
    const failed = cases.filter(({ error }) => error !== null);
    assertEquals(failed.map(({ name, error }) => `${name}: ${error}`), []);
    assert(cases.length >= 18, `only ${cases.length} cases were run`);
  },
});
