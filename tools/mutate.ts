/**
 * Changes a source, one place at a time, and reports which changes its tests do not notice:
 * `deno task mutate src/core/rule.ts [count] [arguments of deno test]`, such as other test files or a
 * filter.
 *
 * The changes are those of `mutate/mutants.ts`; with a count, that many are taken at even distances.
 * Everything runs in a copy of the repository, so that the sources stay as they are. A change that
 * makes the tests hang counts as noticed. The exit code is 1 if a change has survived.
 */

import { dirname } from "@std/path/dirname";
import { join } from "@std/path/join";
import { mutantsOf } from "./mutate/mutants.ts";
import type { Mutant } from "./mutate/mutants.ts";
import { DENO_TESTS, outputOf, ROOT } from "./stage.ts";

/** The tests that hold a source, by their names in any folder of `tests/`, but for those of the GPU. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  "src/core/rule.ts": ["parity_test.ts", "wasm_test.ts", "sgd_test.ts"],
  "src/memory/overlap.ts": [
    "overlap_test.ts",
    "bad_memory_test.ts",
    "own_arrays_test.ts",
    "sparse_test.ts",
  ],
  "src/plan/aliasing.ts": [
    "aliasing_test.ts",
    "bad_memory_test.ts",
    "clip_test.ts",
    "own_arrays_test.ts",
    "sparse_test.ts",
  ],
  "src/checkpoint/json.ts": ["encoding_test.ts", "hostile_test.ts", "safetensors_test.ts"],
  "src/checkpoint/safetensors.ts": ["header_test.ts", "hostile_test.ts", "safetensors_test.ts"],
};

/** How many times longer than without a change the tests may take, and how long at least. */
const [SLOWER, LEAST_MS] = [5, 30_000];

async function filesOfRepository(): Promise<string[]> {
  const list = await outputOf("git", "ls-files", "--cached", "--others", "--exclude-standard");
  return list!.split("\n");
}

/** Copies the repository to a folder; the built library is linked. */
async function copyRepository(folder: string): Promise<void> {
  for (const file of await filesOfRepository()) {
    await Deno.mkdir(join(folder, dirname(file)), { recursive: true });
    await Deno.copyFile(join(ROOT, file), join(folder, file));
  }
  await Deno.symlink(join(ROOT, "kernels/target"), join(folder, "kernels/target"));
}

/** The test files that are named for a source. */
async function testsOf(source: string): Promise<string[]> {
  const names = TESTS[source];
  if (names === undefined) throw new Error(`Cannot find tests of ${source}: name them`);
  const files = await filesOfRepository();
  const named = names.map((name) => {
    return files.filter((file) => file.startsWith("tests/") && file.endsWith(`/${name}`));
  });
  return named.flat().filter((file) => !file.startsWith("tests/gpu/"));
}

/** How many tests pass in a folder; 0 if one fails, or they take too long. */
async function countPassed(folder: string, tests: readonly string[], ms?: number): Promise<number> {
  const args = ["test", "--no-check", "--no-prompt", "--fail-fast", "-A", ...tests];
  const signal = ms === undefined ? undefined : AbortSignal.timeout(ms);
  const options = { args, cwd: folder, env: { NO_COLOR: "1" }, signal } as const;
  const { success, stdout } = await new Deno.Command(Deno.execPath(), options).output();
  const counts = new TextDecoder().decode(stdout).matchAll(DENO_TESTS);
  return success ? Number([...counts].at(-1)?.[1] ?? 0) : 0;
}

function describe(path: string, source: string, { start, end, text }: Mutant): string {
  const line = source.slice(0, start).split("\n").length;
  const from = source.lastIndexOf("\n", start) + 1;
  const to = source.indexOf("\n", end);
  const changed = source.slice(from, start) + text + source.slice(end, to);
  return `${path}:${line}\n  - ${source.slice(from, to).trim()}\n  + ${changed.trim()}`;
}

/** Runs the tests over mutants of a source, and returns how many they have not noticed. */
async function mutate(path: string, count: number, tests: readonly string[]): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "mutate-" });
  try {
    await copyRepository(folder);
    const begin = performance.now();
    if (await countPassed(folder, tests) === 0) {
      throw new Error(`Cannot change ${path} as ${tests.join(", ")} must pass as it is`);
    }
    const limit = Math.max(LEAST_MS, SLOWER * (performance.now() - begin));
    const source = await Deno.readTextFile(join(ROOT, path));
    const all = mutantsOf(source);
    const step = Math.max(1, all.length / count);
    let [tried, survived] = [0, 0];
    for (let at = 0; at < all.length; at += step, tried++) {
      const mutant = all[Math.floor(at)];
      const text = source.slice(0, mutant.start) + mutant.text + source.slice(mutant.end);
      await Deno.writeTextFile(join(folder, path), text);
      if (await countPassed(folder, tests, limit) === 0) continue;
      survived++;
      console.log(`Survived: ${describe(path, source, mutant)}`);
    }
    console.log(
      `${path}: ${tried - survived} of ${tried} mutants noticed (of ${all.length} in all)`,
    );
    return survived;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const [path, count = "", ...tests] = Deno.args;
const isCount = /^\d+$/.test(count);
const given = isCount || count === "" ? tests : [count, ...tests];
const named = given.length > 0 ? given : await testsOf(path);
Deno.exit(await mutate(path, isCount ? Number(count) : Infinity, named) > 0 ? 1 : 0);
