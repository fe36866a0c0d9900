/**
 * What the compiler says of mistakes, and that it takes programs as people write them. `deno check`
 * reads all programs at once.
 */

import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { ROOT, run, temporaryFolder } from "../publish/stage.ts";

const HEAD = `
import { BFloat16Array, SGD } from "@descent/sgd";
import type { FloatArray, HalfArray, Parameter, SparseGrad, Tensor } from "@descent/sgd";
const floats = () => new Float32Array(2);
const w = { data: floats(), grad: floats() };
const options = { lr: 0.1 };
`;

/** Programs with a mistake, and the first line that the compiler says of it. */
const MISTAKES: Record<string, { program: string; said: string }> = {};

/** Programs without one. */
const PROGRAMS: Record<string, string> = {};

/** The first line of each error, by the number of the program. */
async function check(programs: readonly string[]): Promise<Map<number, string[]>> {
  await using folder = await temporaryFolder();
  const files = programs.map((_, i) => join(folder.path, `program_${i}.ts`));
  for (const [i, program] of programs.entries()) await Deno.writeTextFile(files[i], HEAD + program);
  const config = join(ROOT, "deno.json");
  const { err } = await run(Deno.execPath(), ["check", "--quiet", "--config", config, ...files]);
  const found = new Map<number, string[]>();
  // An error is some lines, then an excerpt, then the place.
  for (const part of err.matchAll(/^TS(\d+ \[ERROR\]: .*)$[^]*?\n {4}at \S*program_(\d+)\.ts/gm)) {
    const [, line, number] = part;
    found.set(Number(number), [...found.get(Number(number)) ?? [], line.replace(" [ERROR]", "")]);
  }
  return found;
}

Deno.test("the compiler reports mistakes as what they are", async () => {
  const mistakes = Object.entries(MISTAKES);
  const found = await check(mistakes.map(([, { program }]) => program));
  for (const [i, [name, { said }]] of mistakes.entries()) {
    assertEquals(found.get(i), [said], name);
  }
});

Deno.test("the compiler takes programs as people write them", async () => {
  const programs = Object.entries(PROGRAMS);
  const found = await check(programs.map(([, program]) => program));
  for (const [i, [name]] of programs.entries()) assertEquals(found.get(i), undefined, name);
});
