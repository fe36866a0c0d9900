/** The examples of docs/tfjs.md run as one program, and print what they say. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { testOn } from "./libraries.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

testOn(
  "cpu",
  "the example of docs/tfjs.md type-checks, runs, and prints what it says",
  async () => {
    const page = await Deno.readTextFile(join(ROOT, "docs/tfjs.md"));
    const [first, second] = Array.from(
      page.matchAll(/^( *)```ts ignore\n([^]*?)^\1```$/gm),
      ([, , code]) => code,
    );
    assert(second.includes("new LRScheduler("));
    const imports = `import { cosineAnnealingLR, LRScheduler } from "@descent/sgd/schedules";`;
    const ending = "console.log(scheduler.lastEpoch, optimizer.sgd!.paramGroups[0].lr); // 20 0";
    const code = [imports, first, "{", second, ending, "}"].join("\n");
    assert(code.includes("model.fit("));
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
