/** What a publication holds. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { VERSION } from "../../src/core/version.ts";
import { dryRunPublish, ENTRIES, publishableFiles, ROOT, run } from "./stage.ts";

/** The most names that the main entry may export: few functions and classes, and the types in their signatures. */
const MOST_NAMES = 80;

const LIMIT = 1_550_000; // bytes: source text, comments included

Deno.test("a publication is clean: no slow types, no warning", async () => {
  const { code, out, err } = await dryRunPublish();
  assertEquals(code, 0, err);
  assertStringIncludes(`${out}${err}`, "Dry run complete");
  assertEquals(`${out}${err}`.match(/warning/i), null);
});

Deno.test("a publication holds the package's code and its texts, and nothing else", async () => {
  const files = await publishableFiles();
  const others = files.filter((file) => !/^src\/[\w/]+\.ts$/.test(file));
  const texts = ["CHANGELOG.md", "LICENSE", "README.md"];
  assertEquals(others, [...texts, "bin.ts", "deno.json", ...ENTRIES.values()].sort());
  assertEquals(files.filter((file) => file.startsWith("src/")), await listSources("src"));
});

Deno.test(`a publication is smaller than ${LIMIT / 1000} kB`, async () => {
  let bytes = 0;
  for (const file of await publishableFiles()) bytes += (await Deno.stat(join(ROOT, file))).size;
  assert(bytes < LIMIT, `${bytes} bytes`);
});

Deno.test("the package depends on no other package", async () => {
  const forDeno = ["./install", "./doctor"];
  for (const [name, entry] of ENTRIES) {
    const { out } = await run(Deno.execPath(), ["info", "--json", entry], { cwd: ROOT });
    const specifiers = (JSON.parse(out).modules as { specifier: string }[])
      .map(({ specifier }) => specifier)
      .filter((specifier) => !/^file:/.test(specifier));
    assertEquals(specifiers.filter((it) => !/^node:(path|url)$/.test(it)), [], entry);
    if (!forDeno.includes(name)) assertEquals(specifiers, [], `${entry} must run in a browser`);
  }
});

Deno.test(`the main entry exports at most ${MOST_NAMES} names`, async () => {
  const names = await exportedNames("mod.ts");
  assert(names.includes("SGD"));
  assert(names.length <= MOST_NAMES, `${names.length} names`);
});

Deno.test("no name is exported by two entries", async () => {
  const owners = new Map<string, string>();
  for (const entry of ENTRIES.values()) {
    for (const name of await exportedNames(entry)) {
      assertEquals(owners.get(name), undefined, `${name} is in ${entry} as well`);
      owners.set(name, entry);
    }
  }
});

Deno.test("each entry has a page: what is in it, and an example", async () => {
  for (const entry of ENTRIES.values()) {
    const text = await Deno.readTextFile(join(ROOT, entry));
    const [page] = text.match(/^\/\*\*[^]*?\*\//)!;
    for (const part of ["@module", "@example", "https://github.com/descent/sgd/blob/main/docs/"]) {
      assertStringIncludes(page, part, entry);
    }
  }
});

Deno.test("every exported name has a category, by which the reference is grouped", async () => {
  for (const entry of ENTRIES.values()) {
    for (const { name, declarations } of await symbolsOf(entry)) {
      const tags = declarations.flatMap(({ jsDoc }) => jsDoc?.tags ?? []);
      assert(tags.some(({ kind }) => kind === "category"), `${entry}: ${name}`);
    }
  }
});

Deno.test("package, library and changelog are of one version", async () => {
  const read = (file: string) => Deno.readTextFile(join(ROOT, file));
  assertEquals(JSON.parse(await read("deno.json")).version, VERSION);
  assertEquals((await read("kernels/Cargo.toml")).match(/^version = "(.*)"$/m)?.[1], VERSION);
  assertEquals((await read("CHANGELOG.md")).match(/^## (\d+\.\d+\.\d+)/m)?.[1], VERSION);
});

/** What an entry exports, as `deno doc --json` describes it. */
interface Exported {
  readonly name: string;
  readonly declarations: readonly { readonly jsDoc?: { readonly tags?: { kind: string }[] } }[];
}

async function symbolsOf(entry: string): Promise<readonly Exported[]> {
  const { code, out, err } = await run(Deno.execPath(), ["doc", "--json", entry], { cwd: ROOT });
  assertEquals(code, 0, err);
  const { nodes } = JSON.parse(out) as { nodes: Record<string, { symbols: Exported[] }> };
  return Object.values(nodes).flatMap(({ symbols }) => symbols);
}

async function exportedNames(entry: string): Promise<string[]> {
  return [...new Set((await symbolsOf(entry)).map(({ name }) => name))];
}

async function listSources(folder: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(join(ROOT, folder)));
  const lists = entries.map(({ name, isDirectory }) =>
    isDirectory ? listSources(`${folder}/${name}`) : [`${folder}/${name}`]
  );
  return (await Promise.all(lists)).flat().sort();
}
