/**
 * The examples of the documents with a world run, with one rank, and print what they say. They open the
 * native library, which the other examples of the documents may not.
 */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { cpuMissing } from "../support/backends.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

const PAGES = [
  ...["mpi.ts", "docs/distributed.md", "src/world/open.ts", "src/world/world.ts"],
  ...["docs/checkpoints.md", "docs/recipes.md"],
];

const BLOCK = /^ *(?:\* )?```ts ignore\n([^]*?)^ *\*? *```$/gm;

for (const page of PAGES) {
  const reason = cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`;
  Deno.test({
    name: `the examples of ${page} run alone, and print what they say${reason}`,
    ignore: cpuMissing !== null,
    async fn() {
      const text = await Deno.readTextFile(join(ROOT, page));
      const blocks = Array.from(text.matchAll(BLOCK), ([, code]) => code)
        .map((code) => code.replaceAll(/^ +\* ?/gm, ""));
      assert(blocks.length > 0);
      for (const code of blocks) await check(code);
    },
  });
}

async function check(code: string): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const file = join(folder, "example.ts");
    await Deno.writeTextFile(file, code);
    const args = ["run", "-q", "--check", "-A", "--config", join(ROOT, "deno.json"), file];
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    assert(success, `${code}\n${err}`);
    const said = Array.from(code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm), ([, text]) => text);
    for (const text of said) assertEquals(out.split("\n").includes(text), true, out);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
