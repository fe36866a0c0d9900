/** The suite in a browser, whose WebGPU refuses more than Deno's. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { chromium, runInBrowser } from "../support/browser.ts";
import type { PageResult } from "./page.ts";

const missing = chromium === undefined ? " (skipped: no Chromium or Chrome)" : "";

Deno.test({
  name: `the suite of WebGPU passes in a browser${missing}`,
  ignore: chromium === undefined,
  async fn() {
    const page = fromFileUrl(new URL("page.ts", import.meta.url));
    const { traits, adapter, cases } = await runInBrowser(page) as PageResult;
    console.log(`${adapter}: fma rounds ${traits?.rounds}, subnormals are ${traits?.subnormals}`);
    console.log(`${cases.length} cases`);
    const failed = cases.filter(({ error }) => error !== null);
    assertEquals(failed.map(({ name, error }) => `${name}: ${error}`), []);
    assert(cases.length >= 18, `only ${cases.length} cases were run`);
  },
});
