/**
 * Copies the rule and the loops of float32 for the other dtypes: `deno task loops`.
 * `src/backends/js/loops/loops.ts` says why.
 */

import { join } from "@std/path/join";

const ROOT = join(import.meta.dirname!, "..");
const LOOPS = "src/backends/js/loops";
const ORIGINAL = "float32";

/** The dtypes that are copied for, which files, and which words change with each. */
const COPIES = [
  { dtype: "float64", files: ["step", "gradients", "back"], array: "Float64Array" },
  // Values of 16-bit types are held as float32.
  { dtype: "float16", files: ["step"], array: "Float32Array" },
  { dtype: "bfloat16", files: ["step"], array: "Float32Array" },
];

/** The functions of the rule that are written over an arithmetic, each with its comment. */
const RULE = /\/\*\*(?:(?!\*\/).)*\*\/\nexport function \w+<V>\(a: Arithmetic<V>.*?\n}\n/gs;

/** The copies: paths below the repository's root, and what is in the files there. */
export async function copyLoops(): Promise<Map<string, string>> {
  const copies = new Map<string, string>();
  const rule = await copyRule("src/core/rule.ts");
  for (const dtype of [ORIGINAL, ...COPIES.map(({ dtype }) => dtype)]) {
    copies.set(`${LOOPS}/${dtype}/rule.ts`, rule);
  }
  for (const { dtype, files, array } of COPIES) {
    for (const file of files) {
      const path = `${LOOPS}/${ORIGINAL}/${file}.ts`;
      const text = (await read(path))
        .replaceAll("Float32Array", array)
        .replaceAll("float32", dtype)
        .replaceAll("FLOAT32", dtype.toUpperCase());
      copies.set(`${LOOPS}/${dtype}/${file}.ts`, note(path) + text);
    }
  }
  return copies;
}

async function copyRule(path: string): Promise<string> {
  const functions = (await read(path)).match(RULE);
  if (functions === null) throw new Error(`Cannot copy the rule as ${path} has no function of it`);
  const types = 'import type { Arithmetic, Factors, Lines } from "../../../../core/rule.ts";';
  return `${note(path)}${types}\n\n${functions.join("\n")}`;
}

const note = (path: string) => `// A copy of ${path}, made by \`deno task loops\`.\n\n`;
const read = (path: string) => Deno.readTextFile(join(ROOT, path));

if (import.meta.main) {
  for (const [path, text] of await copyLoops()) {
    await Deno.mkdir(join(ROOT, path, ".."), { recursive: true });
    await Deno.writeTextFile(join(ROOT, path), text);
  }
}
