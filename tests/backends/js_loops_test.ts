/** The loops of the `js` backend: one text for each dtype, so that none slows down another. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import type { Figure } from "../../bench/measure.ts";
import { allRows, nameOf } from "../../bench/rows.ts";
import { copyLoops } from "../../tools/loops.ts";

const ROOT = new URL("../../", import.meta.url);
const ROW_PROCESS = fromFileUrl(new URL("bench/row_process.ts", ROOT));

/** A text that is shared makes a step 5 to 6 times slower; what remains is up to 1.3. */
const LIMIT = 2;
const ATTEMPTS = 5;

Deno.test("the copies of the rule and of the loops are what `deno task loops` writes", async () => {
  const copies = await copyLoops();
  assertEquals(copies.size, 9);
  for (const [path, text] of copies) {
    assertEquals(await Deno.readTextFile(new URL(path, ROOT)), text, path);
  }
});

for (const row of allRows().filter(({ company }) => company)) {
  Deno.test(`other sizes and dtypes do not slow down a step: ${nameOf(row)}`, async () => {
    const ratios: number[] = [];
    while (ratios.length < ATTEMPTS && !ratios.some((ratio) => ratio < LIMIT)) {
      ratios.push((await measureInProcess(nameOf(row))).ratio);
    }
    assert(ratios.some((ratio) => ratio < LIMIT), `${ratios.join(", ")} times as slow`);
  });
}

async function measureInProcess(row: string): Promise<Figure> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-check", "--allow-all", ROW_PROCESS, row, "1"],
  }).output();
  const text = new TextDecoder();
  assert(success, text.decode(stderr));
  return JSON.parse(text.decode(stdout));
}
