/** Saving and loading need the permissions that their docs name, and no others. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { leftoverOf, script } from "./process.ts";

const LEFT = await leftoverOf("run");

async function outputOf(name: string, args: string[], permissions: string[]): Promise<string> {
  const { stdout } = await script(name, args, permissions).output();
  return new TextDecoder().decode(stdout).trim();
}

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

Deno.test("saving needs the folder, loading the file; sweeping is done where it is allowed", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/run`;
  const all = [`--allow-read=${folder}`, `--allow-write=${folder}`];
  assertEquals(await outputOf("saver.ts", [path, "1", "7"], all), "7");
  await Deno.writeTextFile(`${folder}/${LEFT}`, "left");
  assertEquals(await outputOf("loader.ts", [path], [`--allow-read=${path}`]), "7");
  assertEquals(filesIn(folder), [LEFT, "run"]);
  assertEquals(await outputOf("loader.ts", [path], all), "7");
  assertEquals(filesIn(folder), ["run"]);
  assertEquals(await outputOf("loader.ts", [path], []), "NotCapable");
  const refused = await outputOf("saver.ts", [path, "1", "8"], [`--allow-read=${folder}`]);
  assertStringIncludes(refused, "NotCapable: Requires write access");
  assertEquals(await outputOf("loader.ts", [path], all), "7");
  await Deno.remove(folder, { recursive: true });
});
