/** The modules that each Rust file uses, read from its paths. */

import { join } from "@std/path/join";
import type { Graph } from "./graph.ts";

/** Reads which files of a crate use which; names are paths relative to `folder`. */
export async function readUses(folder: string): Promise<Graph> {
  const texts = new Map<string, string>();
  for await (const file of rustFiles(folder, "")) {
    const text = withoutComments(await Deno.readTextFile(join(folder, file)));
    texts.set(file, text.split("#[cfg(test)]")[0]); // in tests at the end, \`super\` is the file itself
  }
  const files = new Map([...texts.keys()].map((file) => [moduleOf(file).join("::"), file]));
  const graph = new Map<string, Set<string>>();
  for (const [file, text] of texts) {
    const module = moduleOf(file);
    const targets = pathsIn(text).flatMap((path) => resolve(path, module, files) ?? []);
    graph.set(file, new Set(targets.filter((target) => target !== file)));
  }
  return graph;
}

async function* rustFiles(folder: string, inside: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(join(folder, inside))) {
    if (isDirectory) yield* rustFiles(folder, `${inside}${name}/`);
    else if (name.endsWith(".rs")) yield inside + name;
  }
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\/.*$/gm, "").replaceAll(/\/\*[\s\S]*?\*\//g, "");
}

function moduleOf(file: string): string[] {
  const names = file.replace(/\.rs$/, "").split("/");
  return names.at(-1) === "mod" || names.at(-1) === "lib" ? names.slice(0, -1) : names;
}

/** All paths of a file: those that `use` brings in, one per leaf, and those that stand in the code. */
function pathsIn(text: string): string[][] {
  const uses = [...text.matchAll(/\buse\s+([^;]+);/g)].flatMap(([, tree]) => expand(tree));
  const rest = text.replaceAll(/\buse\s+[^;]+;/g, "");
  const inCode = [...rest.matchAll(/\b[a-z_]\w*(?:::\w+)+/g)].map(([path]) => path.split("::"));
  return [...uses, ...inCode];
}

/** The leaves of a `use` tree, such as `a::{b, c::d}`. */
function expand(tree: string): string[][] {
  const text = tree.trim().replace(/\s+as\s+\w+$/, "");
  const open = text.indexOf("{");
  if (open < 0) return [text.split("::").map((name) => name.trim())];
  const prefix = text.slice(0, open).split("::").map((name) => name.trim()).filter(Boolean);
  return parts(text.slice(open + 1, text.lastIndexOf("}"))).flatMap((part) =>
    expand(part).map((path) => [...prefix, ...path])
  );
}

/** The parts of a list between commas, which may hold lists. */
function parts(list: string): string[] {
  const found: string[] = [];
  let [depth, start] = [0, 0];
  for (let i = 0; i <= list.length; i++) {
    if (list[i] === "{") depth++;
    else if (list[i] === "}") depth--;
    else if (i === list.length || (list[i] === "," && depth === 0)) {
      found.push(list.slice(start, i));
      start = i + 1;
    }
  }
  return found.filter((part) => part.trim() !== "");
}

/** The file of the longest module that a path begins with; undefined for other crates. */
function resolve(
  path: readonly string[],
  module: readonly string[],
  files: ReadonlyMap<string, string>,
): string | undefined {
  const names = [...path];
  let from: string[] = [...module];
  if (names[0] === "crate") from = [];
  while (names[0] === "super") {
    from = from.slice(0, -1);
    names.shift();
  }
  if (names[0] === "crate" || names[0] === "self") names.shift();
  const isOwn = path[0] === "crate" || path[0] === "super" || path[0] === "self" ||
    files.has([...module, path[0]].join("::"));
  if (!isOwn) return undefined;
  const whole = [...from, ...names];
  for (let length = whole.length; length > 0; length--) {
    const file = files.get(whole.slice(0, length).join("::"));
    if (file !== undefined) return file;
  }
  return files.get("");
}
