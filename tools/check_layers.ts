/**
 * Checks the architecture: `deno run --allow-read --allow-run=deno tools/check_layers.ts`.
 *
 * Imports run downwards through the rooms of `src/`, types included; no files import each other in a
 * circle, and no Rust files of `kernels/src` do. Every file of `src/` is in a room and is reached from
 * an entry. Errors get their words from one file.
 */

import { dirname } from "@std/path/dirname";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { contract, findCircle, floorsOf } from "./layers/graph.ts";
import type { Graph } from "./layers/graph.ts";
import { readUses } from "./layers/rust.ts";
import { readImports } from "./layers/typescript.ts";
import { IN_BROWSERS } from "./release/npm.ts";

/** The floors that the rooms may have, with the entries on top. */
const MOST_FLOORS = 9;

/** The room of a file: the folder below `src/`, or the entries at the top. */
export function roomOf(file: string): string {
  const [top, room, ...rest] = file.split("/");
  if (top !== "src") return "entries";
  return rest.length > 0 ? room : "src";
}

/** What is wrong with the imports of the package's files. */
export function judgeImports(imports: Graph, files: readonly string[]): string[] {
  const problems = files.filter((file) => roomOf(file) === "src")
    .map((file) => `${file} is not in a room of src/`);
  for (const file of files) {
    if (!imports.has(file)) problems.push(`${file} is not reached from any entry`);
  }
  const circle = findCircle(imports);
  if (circle !== null) problems.push(`These files import each other: ${circle.join(" > ")}`);
  const rooms = contract(imports, roomOf);
  const roomCircle = findCircle(rooms);
  if (roomCircle !== null) {
    return [...problems, `These rooms import each other: ${roomCircle.join(" > ")}`];
  }
  const floors = Math.max(...floorsOf(rooms).values());
  if (floors > MOST_FLOORS) {
    problems.push(`The rooms have ${floors} floors; at most ${MOST_FLOORS} are allowed`);
  }
  return problems;
}

/** The rooms from the top floor down, a line per floor. */
export function describeFloors(imports: Graph): string {
  const floors = floorsOf(contract(imports, roomOf));
  const highest = Math.max(...floors.values());
  const lines = Array.from({ length: highest }, (_, i) => {
    const floor = highest - i;
    const rooms = [...floors].filter(([, at]) => at === floor).map(([room]) => room).sort();
    return `${floor}  ${rooms.join("  ")}`;
  });
  return lines.join("\n");
}

async function* sourceFiles(root: string, folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(join(root, folder))) {
    if (isDirectory) yield* sourceFiles(root, `${folder}/${name}`);
    else if (name.endsWith(".ts")) yield `${folder}/${name}`;
  }
}

/** The one file that words errors. */
const WORDING = "src/core/validate.ts";

/** What only that file may write: the beginning of a message, and its second half. */
const WORDINGS = [/["'`]Cannot\b/, /\bcurrent (value|values|length|type) (is|are) /];

/** Whether a line of code, not of a comment, writes a part of an error's sentence. */
export function isWording(line: string): boolean {
  return !/^\s*(\*|\/\*|\/\/)/.test(line) && WORDINGS.some((own) => own.test(line));
}

/** The lines that word an error themselves, as file and number. */
async function findOwnWording(root: string, files: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const file of files.filter((file) => file !== WORDING)) {
    const lines = (await Deno.readTextFile(join(root, file))).split("\n");
    for (const [i, line] of lines.entries()) {
      if (isWording(line)) found.push(`${file}:${i + 1}`);
    }
  }
  return found;
}

if (import.meta.main) {
  const root = dirname(dirname(fromFileUrl(import.meta.url)));
  const { exports } = JSON.parse(await Deno.readTextFile(join(root, "deno.json"))) as {
    exports: Record<string, string>;
  };
  const roots = [...Object.values(exports), ...Object.values(IN_BROWSERS)];
  const imports = await readImports(root, roots);
  const files = await Array.fromAsync(sourceFiles(root, "src"));
  const problems = judgeImports(imports, files);
  for (const line of await findOwnWording(root, [...imports.keys()])) {
    problems.push(`${line} words an error itself; ${WORDING} has helpers for that`);
  }
  const circle = findCircle(await readUses(join(root, "kernels", "src")));
  if (circle !== null) problems.push(`These Rust files use each other: ${circle.join(" > ")}`);
  if (problems.length === 0) console.log(describeFloors(imports));
  for (const problem of problems) console.error(problem);
  Deno.exit(problems.length > 0 ? 1 : 0);
}
