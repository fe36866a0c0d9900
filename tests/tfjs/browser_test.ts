/** The adapter in a page, on the WebGPU backend of tfjs: a browser refuses more than Deno does. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { chromium, runInBrowser } from "../support/browser.ts";
import { notFetched } from "./libraries.ts";
import type { PageResult } from "./page.ts";

const reason = chromium === undefined ? "no Chromium or Chrome" : notFetched("webgpu");

Deno.test({
  name: `tfjs on webgpu in a browser: a model learns, and resumes from what is saved${
    reason === null ? "" : ` (skipped: ${reason})`
  }`,
  ignore: reason !== null,
  async fn() {
    const page = fromFileUrl(new URL("page.ts", import.meta.url));
    const results = await runInBrowser(page) as readonly PageResult[];
    assertEquals(results.map(({ memory }) => memory), ["copy", "view"], JSON.stringify(results));
    for (const { stepped, losses, learned, distance, resumed: [own, loaded] } of results) {
      assertEquals(stepped, "webgpu");
      assert(losses.at(-1)! < losses[0] / 2, `${losses}`);
      assert(learned > 0.05 && distance < 2e-5, `${learned}, ${distance}`);
      assertEquals(loaded, own);
    }
    assertEquals(results[0].losses, results[1].losses);
  },
});
