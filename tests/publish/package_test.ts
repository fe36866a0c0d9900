/** What a publication holds. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { VERSION } from "../../src/core/version.ts";
import { dryRunPublish, publishableFiles, ROOT, run } from "./stage.ts";

const LIMIT = 700_000; // bytes

Deno.test("a publication is clean: no slow types, no warning", async () => {
  const { code, out, err } = await dryRunPublish();
  assertEquals(code, 0, err);
  assertStringIncludes(`${out}${err}`, "Dry run complete");
  assertEquals(`${out}${err}`.match(/warning/i), null);
});

Deno.test("a publication holds the package's code and its texts, and nothing else", async () => {
  const files = await publishableFiles();
  const others = files.filter((file) => !/^src\/[\w/]+\.ts$/.test(file));
  const expected = ["CHANGELOG.md", "LICENSE", "README.md"];
  assertEquals(others, [...expected, "deno.json", "doctor.ts", "install.ts", "mod.ts"]);
  assertEquals(files.filter((file) => file.startsWith("src/")), await listSources("src"));
});

Deno.test(`a publication is smaller than ${LIMIT / 1000} kB`, async () => {
  let bytes = 0;
  for (const file of await publishableFiles()) bytes += (await Deno.stat(join(ROOT, file))).size;
  assert(bytes < LIMIT, `${bytes} bytes`);
});

Deno.test("the package depends on no other package", async () => {
  for (const entry of ["mod.ts", "install.ts", "doctor.ts"]) {
    const { out } = await run(Deno.execPath(), ["info", "--json", entry], { cwd: ROOT });
    const specifiers = (JSON.parse(out).modules as { specifier: string }[])
      .map(({ specifier }) => specifier)
      .filter((specifier) => !/^file:/.test(specifier));
    assertEquals(specifiers.filter((it) => !/^node:(path|url|util)$/.test(it)), [], entry);
    if (entry === "mod.ts") assertEquals(specifiers, [], "mod.ts must run in a browser");
  }
});

Deno.test("package, library and changelog are of one version", async () => {
  const read = (file: string) => Deno.readTextFile(join(ROOT, file));
  assertEquals(JSON.parse(await read("deno.json")).version, VERSION);
  assertEquals((await read("kernels/Cargo.toml")).match(/^version = "(.*)"$/m)?.[1], VERSION);
  assertEquals((await read("CHANGELOG.md")).match(/^## (\d+\.\d+\.\d+)/m)?.[1], VERSION);
});

async function listSources(folder: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(join(ROOT, folder)));
  const lists = entries.map(({ name, isDirectory }) =>
    isDirectory ? listSources(`${folder}/${name}`) : [`${folder}/${name}`]
  );
  return (await Promise.all(lists)).flat().sort();
}
