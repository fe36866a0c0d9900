/** The sizes of bundles for browsers: at most 1 kB above what docs/node.md states. */

import { assert } from "@std/assert";
import { join } from "@std/path/join";
import { ROOT, run, temporaryFolder } from "./stage.ts";

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
    const [minified, zipped] = await statedSizes(row);
    await using folder = await temporaryFolder();
    const [source, output] = [join(folder.path, "main.ts"), join(folder.path, "main.js")];
    await Deno.writeTextFile(source, `${exported} from "file://${join(ROOT, "mod.ts")}";`);
    const args = ["bundle", "--quiet", "--minify", "--platform", "browser", "--output", output];
    const { code, err } = await run(Deno.execPath(), [...args, source], { cwd: ROOT });
    assert(code === 0, err);
    const bytes = await Deno.readFile(output);
    check(`${row}, minified`, bytes.length / 1000, minified);
    check(`${row}, gzipped`, gzip(bytes).length / 1000, zipped);
  });
}

function check(what: string, size: number, stated: number): void {
  const difference = Math.abs(size - stated);
  assert(difference <= TOLERANCE, `${what}: ${size} kB, and docs/node.md states ${stated} kB`);
}

function gzip(bytes: Uint8Array): Uint8Array {
  return process.getBuiltinModule("node:zlib").gzipSync(bytes, { level: 9 });
}

/** The sizes in a row of the table in the docs, in kB. */
async function statedSizes(row: string): Promise<number[]> {
  const text = await Deno.readTextFile(join(ROOT, "docs", "node.md"));
  const line = text.split("\n").find((line) => line.startsWith(`| ${row}`));
  if (line === undefined) throw new Error(`docs/node.md has no row ${row}`);
  return line.split("|").slice(2, 4).map(Number);
}
