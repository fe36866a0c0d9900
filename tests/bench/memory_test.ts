/** Tests that an optimizer keeps little beyond the caller's arrays and the momentum buffers. */

import { assert } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import type { MemoryUse } from "../../bench/breakdown/memory_use.ts";
import { cpuMissing } from "../support/backends.ts";

const SCRIPT = fromFileUrl(new URL("../../bench/breakdown/memory_use.ts", import.meta.url));
/** Bytes. About 85 on `cpu`, 150 on `js`; an object for each momentum buffer would add 200. */
const LIMIT = 200;

async function measure(...args: string[]): Promise<MemoryUse> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-check", "--v8-flags=--expose-gc", "--allow-all", SCRIPT, ...args],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

for (const backend of ["js", "cpu"]) {
  Deno.test({
    name: `${backend}: an optimizer keeps under ${LIMIT} bytes per tensor beyond momentum buffers${
      backend === "cpu" && cpuMissing !== null ? ` (skipped: ${cpuMissing})` : ""
    }`,
    ignore: backend === "cpu" && cpuMissing !== null,
    async fn() {
      const [few, many] = [
        await measure(backend, "2000", "10"),
        await measure(backend, "6000", "10"),
      ];
      const each = (many.kept - few.kept) / (many.tensors - few.tensors);
      assert(each > 0 && each < LIMIT, `${each} bytes`);
    },
  });
}
