/** A GPU that a worker leaves open is closed with the worker, however that ends. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { absence } from "./gpu.ts";

const FEW = 2;
const MANY = 20;
const program = fromFileUrl(new URL("./isolates.ts", import.meta.url));

const ENDINGS = ["return", "exit", "close", "throw", "terminate", "a read that is under way"];

for (const how of ENDINGS) {
  Deno.test({
    name: `gpu: workers that end by ${how} leave no device open`,
    ignore: absence !== undefined || Deno.build.os !== "linux",
    async fn() {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--quiet", "--no-check", "--allow-all", program, how, `${FEW}`, `${MANY}`],
      }).output();
      const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
      assertEquals(code, 0, err);
      const [few, many] = JSON.parse(out) as { memory: number; threads: number }[];
      const text = `after ${FEW} and ${MANY} workers: ${out}`;
      assert(many.memory <= 1.1 * few.memory, text);
      assert(many.threads <= 1.1 * few.threads, text);
    },
  });
}
