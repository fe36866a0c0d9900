/** A GPU that a worker leaves open is closed with the worker, however that ends. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { openLibrary } from "../../src/native/library.ts";
import type { Library } from "../../src/native/library.ts";
import { absence } from "./gpu.ts";

const FEW = 2;
const MANY = 20;
const program = fromFileUrl(new URL("./isolates.ts", import.meta.url));

/** How workers end. */
const ENDINGS = ["return", "exit", "close", "throw", "terminate", "a read that is under way"];

/**
 * By how much memory may grow. A device that stays open is 0.25 for each worker, so those of 3 of them
 * are noticed; what allocators keep for later workers is 0.05 to 0.2 in all.
 */
const GROWTH = 0.5;

const missing = absence ?? (Deno.build.os === "linux" ? undefined : "only on Linux");

for (const how of ENDINGS) {
  Deno.test({
    name: `gpu: workers that end by ${how} leave no device open${
      missing === undefined ? "" : ` (skipped: ${missing})`
    }`,
    ignore: missing !== undefined,
    async fn() {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--quiet", "--no-check", "--allow-all", program, how, `${FEW}`, `${MANY}`],
      }).output();
      const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
      assertEquals(code, 0, err);
      const [few, many] = JSON.parse(out) as { memory: number; threads: number }[];
      const text = `after ${FEW} and ${MANY} workers: ${out}`;
      assert(many.memory <= (1 + GROWTH) * few.memory, text);
      assert(many.threads <= 1.1 * few.threads, text);
    },
  });
}

Deno.test({
  name: `gpu: it is opened with no other permission than to open the library${
    absence === undefined ? "" : ` (skipped: ${absence})`
  }`,
  ignore: absence !== undefined,
  async fn() {
    const library = openLibrary() as Library;
    const gpu = new URL("../../gpu.ts", import.meta.url);
    const code = `import { openGpu } from "${gpu}";
      using gpu = openGpu();
      console.log((await gpu.tensor(new Float32Array([1, 2])).read()).join());`;
    const file = await Deno.makeTempFile({ suffix: ".ts" });
    await Deno.writeTextFile(file, code);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-check", "--no-prompt", `--allow-ffi=${library.path}`, file],
      env: { DENO_DESCENT_KERNELS: "" },
    }).output();
    await Deno.remove(file);
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assertEquals(out, "1,2\n", err);
  },
});
