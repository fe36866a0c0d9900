/** The sizes of bundles for browsers: at most 1 kB above what docs/node.md states. */

import { assert } from "@std/assert";
import { join } from "@std/path/join";
import { bundleProgram, installPackage } from "./bundles.ts";
import { ROOT, temporaryFolder } from "./stage.ts";

/** How far a size may be from the stated one, in kB. */
const TOLERANCE = 1;

/** What is bundled, by the name of its row in the docs. */
const BUNDLES: Readonly<Record<string, string>> = {
  "`sgd`": "export { sgd }",
  "`SGD`": "export { SGD }",
  "everything": "export *",
};

for (const [row, exported] of Object.entries(BUNDLES)) {
  Deno.test(`a bundle of ${row} is as large as the docs say, or at most 1 kB larger`, async () => {
    const { source: [minified, zipped] } = await statedSizes(row);
    await using folder = await temporaryFolder();
    const bytes = await bundleOf(folder.path, `${exported} from "file://${join(ROOT, "mod.ts")}";`);
    check(`${row}, minified`, bytes.length / 1000, minified);
    check(`${row}, gzipped`, gzip(bytes).length / 1000, zipped);
  });
}

Deno.test("bundles of the npm package are as large as the docs say, without native calls", async () => {
  await using folder = await temporaryFolder();
  await installPackage(folder.path);
  for (const [row, exported] of Object.entries(BUNDLES)) {
    const { npm: [minified, zipped] } = await statedSizes(row);
    const bytes = await bundleOf(folder.path, `${exported} from "@descent/sgd";`);
    check(`${row} of npm, minified`, bytes.length / 1000, minified);
    check(`${row} of npm, gzipped`, gzip(bytes).length / 1000, zipped);
    assert(!new TextDecoder().decode(bytes).includes("dlopen"), `${row} has native calls`);
  }
});

function check(what: string, size: number, stated: number): void {
  const difference = Math.abs(size - stated);
  assert(difference <= TOLERANCE, `${what}: ${size} kB, and docs/node.md states ${stated} kB`);
}

function gzip(bytes: Uint8Array): Uint8Array {
  return process.getBuiltinModule("node:zlib").gzipSync(bytes, { level: 9 });
}

/** The sizes in a row of the table in the docs, in kB. */
async function statedSizes(row: string): Promise<Record<"npm" | "source", number[]>> {
  const text = await Deno.readTextFile(join(ROOT, "docs", "node.md"));
  const line = text.split("\n").find((line) => line.startsWith(`| ${row}`));
  if (line === undefined) throw new Error(`docs/node.md has no row ${row}`);
  const sizes = line.split("|").slice(2, 6).map(Number);
  return { npm: sizes.slice(0, 2), source: sizes.slice(2) };
}

async function bundleOf(folder: string, program: string): Promise<Uint8Array<ArrayBuffer>> {
  return await Deno.readFile(await bundleProgram(folder, program));
}
