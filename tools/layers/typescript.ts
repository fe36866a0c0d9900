/** The imports of the package's TypeScript files, types included, as Deno resolves them. */

import { fromFileUrl } from "@std/path/from-file-url";
import { relative } from "@std/path/relative";
import type { Graph } from "./graph.ts";

interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string };
      readonly type?: { readonly specifier?: string };
    }[];
  }[];
}

/**
 * Reads the imports of everything that some files reach.
 *
 * @param root The repository.
 * @param entries Files, relative to it.
 * @returns Paths relative to the repository, with forward slashes.
 */
export async function readImports(root: string, entries: readonly string[]): Promise<Graph> {
  const graph = new Map<string, Set<string>>();
  const path = (url: string) => relative(root, fromFileUrl(url)).replaceAll("\\", "/");
  for (const { modules } of await Promise.all(entries.map((entry) => inspect(root, entry)))) {
    for (const { specifier, dependencies = [] } of modules) {
      if (!specifier.startsWith("file:")) continue;
      const targets = dependencies.flatMap(({ code, type }) => [code?.specifier, type?.specifier])
        .filter((target) => target !== undefined && target.startsWith("file:")) as string[];
      graph.set(path(specifier), new Set(targets.map(path)));
    }
  }
  return graph;
}

async function inspect(root: string, entry: string): Promise<Info> {
  const command = new Deno.Command(Deno.execPath(), { args: ["info", "--json", entry], cwd: root });
  const { success, stdout, stderr } = await command.output();
  if (!success) throw new Error(`Cannot inspect ${entry}: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout)) as Info;
}
