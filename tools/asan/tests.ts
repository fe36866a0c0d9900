/** The Deno tests that can say something under AddressSanitizer. */

import { DENO_TESTS, ROOT } from "../stage.ts";
import type { Stage } from "../stage.ts";

/** What is left out, and why. */
const LEFT_OUT: readonly (readonly [path: RegExp, reason: string])[] = [
  [/^tests\/publish\//, "they install libraries of their own"],
  [/^tests\/bench\//, "they measure time and memory"],
  [/^tests\/native\/library_test/, "it is about where a library is found"],
  [/^tests\/gpu\//, "the library has no GPU path here"],
  [
    /^tests\/examples\/(digits|learn_lr)_test/,
    "these programs are not allowed to pass LD_PRELOAD on",
  ],
  [/^tests\/random_api\//, "the random run is a stage of its own"],
];

/** A stage for each file, so that one that ends its process does not hide the others. */
export async function denoTests(env: Readonly<Record<string, string>>): Promise<Stage[]> {
  const files = (await listTests("tests")).sort();
  for (const [path, reason] of LEFT_OUT) {
    const left = files.filter((file) => path.test(file));
    if (left.length > 0) console.log(`Left out, as ${reason}: ${left.join(", ")}`);
  }
  return files.filter((file) => !LEFT_OUT.some(([path]) => path.test(file))).map((file) => ({
    name: `${file}, under AddressSanitizer`,
    command: [
      ...[Deno.execPath(), "test", "--no-check", "--no-prompt", "--quiet", "-A", file],
    ],
    env,
    count: DENO_TESTS,
    mayBeEmpty: true,
  }));
}

async function listTests(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${ROOT}/${folder}`)) {
    if (isDirectory) found.push(...await listTests(`${folder}/${name}`));
    else if (name.endsWith("_test.ts")) found.push(`${folder}/${name}`);
  }
  return found;
}
