/** The examples of docs/tfjs.md run, and print what they say. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { testOn } from "./libraries.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

/** The examples as one program, in which each has a scope of its own inside of that of the first. */
function joinExamples(page: string): string {
  const all = Array.from(
    page.matchAll(/^( *)```ts ignore\n([^]*?)^ *```$/gm),
    ([, indent, code]) => code.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  );
  const lines = all.flatMap((code, i) => i === 0 ? [code] : ["{", code, "}"]).join("\n").split(
    "\n",
  );
  const isImport = (line: string) => line.startsWith("import ");
  return [...lines.filter(isImport), ...lines.filter((line) => !isImport(line))].join("\n");
}

testOn(
  "cpu",
  "the examples of docs/tfjs.md type-check, run, and print what they say",
  async () => {
    const page = await Deno.readTextFile(join(ROOT, "docs/tfjs.md"));
    const code = joinExamples(page);
    assertEquals(code.match(/model\.fit\(/g)?.length, 2);
    const folder = await Deno.makeTempDir();
    try {
      const file = join(folder, "example.ts");
      await Deno.writeTextFile(file, code);
      const args = ["run", "-q", "--check", "-A", "--config", join(ROOT, "deno.json"), file];
      const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args })
        .output();
      const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
      assert(success, err);
      const expected = Array.from(
        code.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm),
        ([, text]) => text,
      );
      const printed = out.split("\n").filter((line) => expected.includes(line));
      assertEquals(printed, expected, out);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);
