/** Bundles for browsers, of the npm package or of other files. */

import { assert } from "@std/assert";
import { join } from "@std/path/join";
import { packForNpm } from "../../tools/release/npm.ts";
import { ROOT, run } from "./stage.ts";

/** Puts the npm package into a folder, as npm installs it. */
export async function installPackage(folder: string): Promise<void> {
  const [tarball, modules] = [join(folder, "sgd.tgz"), join(folder, "node_modules", "@descent")];
  await packForNpm(tarball, ROOT);
  await Deno.mkdir(modules, { recursive: true });
  const { code, err } = await run("tar", ["-xzf", tarball], { cwd: modules });
  assert(code === 0, err);
  await Deno.rename(join(modules, "package"), join(modules, "sgd"));
  await Deno.writeTextFile(join(folder, "package.json"), '{ "type": "module" }');
}

/** Bundles a program for browsers, minified; returns the bundle's path. */
export async function bundleProgram(folder: string, program: string): Promise<string> {
  const [source, output] = [join(folder, "main.js"), join(folder, "out.js")];
  await Deno.writeTextFile(source, program);
  const args = ["bundle", "--quiet", "--minify", "--platform", "browser", "--output", output];
  const { code, err } = await run(Deno.execPath(), [...args, source], { cwd: folder });
  assert(code === 0, err);
  return output;
}
