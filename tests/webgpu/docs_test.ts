/** The program of `docs/webgpu.md`, as somebody would copy it. */

import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { ROOT, run, temporaryFolder } from "../publish/stage.ts";

const adapter = await navigator.gpu?.requestAdapter() ?? null;

Deno.test({
  name: `the program of docs/webgpu.md runs, and prints what it says${
    adapter === null ? " (skipped: WebGPU finds no adapter)" : ""
  }`,
  ignore: adapter === null,
  async fn() {
    const text = await Deno.readTextFile(join(ROOT, "docs", "webgpu.md"));
    const [, program] = text.match(
      /```ts ignore\n((?:(?!```)[^])*requestAdapter(?:(?!```)[^])*)```/,
    )!;
    const said = [...program.matchAll(/^console\.log\(.*\); \/\/ (.*)$/gm)].map(([, said]) => said);
    await using folder = await temporaryFolder();
    const path = join(folder.path, "program.ts");
    await Deno.writeTextFile(path, program);
    const args = ["run", "--quiet", "--check", "-A", "--config", join(ROOT, "deno.json"), path];
    const { code, out, err } = await run(Deno.execPath(), args, { cwd: folder.path });
    assertEquals([code, err], [0, ""]);
    assertEquals(out.trimEnd().split("\n"), said);
    assertEquals(said.length, 1);
  },
});
