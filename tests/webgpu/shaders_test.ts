/** Both GPU paths step with one text. */

import { assertEquals } from "@std/assert";
import { COPY, copyShaders } from "../../tools/shaders.ts";

Deno.test("the shaders in the package are those of the native library: deno task shaders", async () => {
  const copy = await Deno.readTextFile(new URL(`../../${COPY}`, import.meta.url));
  assertEquals(copy, await copyShaders());
});
