/** Makes the npm package of a release: what `deno pack` makes, a command, and types for any project. */

import { dirname } from "@std/path/dirname";
import { join } from "@std/path/join";

/** The command of the package. */
const COMMAND = "bin";

/** What bundlers for browsers take instead of a source file: there are no native libraries there. */
export const IN_BROWSERS = { "./src/backends/native_cpu.ts": "./src/backends/no_cpu.ts" };

const renamed = (file: string, extension: string) => file.replace(/\.ts$/, extension);

/** Source files that are packed as JavaScript and are not entries, as `exports` has them until then. */
const NOT_ENTRIES = Object.fromEntries(
  [`./${COMMAND}.ts`, ...Object.values(IN_BROWSERS)].map((file) => [renamed(file, ""), file]),
);

/** What package.json has besides what `deno pack` writes. */
const FIELDS = {
  description: "Stochastic gradient descent: torch.optim.SGD, with the same numbers bit for bit",
  repository: "github:descent/sgd",
  keywords: ["sgd", "optimizer", "machine-learning", "gradient-descent", "torch"],
  engines: { node: ">=20.16" },
  bin: { sgd: `./${COMMAND}.js` },
  sideEffects: false,
  browser: Object.fromEntries(
    Object.entries(IN_BROWSERS).map((pair) => pair.map((file) => renamed(file, ".js"))),
  ),
};

/** The parts of TypeScript's libraries that the types use, newer than some projects' own. */
const LIBRARIES = ["es2024.sharedmemory", "esnext.disposable", "esnext.float16"];

/** A project without the DOM has no URL; what the package reads of one is its text. */
const URL_TYPE = "\ninterface URL {\n  readonly href: string;\n}\n";

/** What `deno pack` writes into package.json. */
interface Packed {
  readonly exports: Record<string, unknown>;
}

/**
 * Packs the package's files, those of `publish.include` in `deno.json`.
 *
 * @param output The tarball's path.
 * @param root The folder of the package.
 * @throws {Error} If packing fails.
 */
export async function packForNpm(output: string, root: string): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const [source, target] = [join(folder, "source"), join(folder, "target")];
    await copyPackage(root, source);
    const packed = join(folder, "packed.tgz");
    await run(Deno.execPath(), [
      ...["pack", "--quiet", "--allow-dirty", "--no-source-maps", "--output", packed],
    ], source);
    await Deno.mkdir(target);
    await run("tar", ["-xzf", packed], target);
    await complete(join(target, "package"));
    await Deno.mkdir(dirname(output), { recursive: true });
    await run("tar", ["-czf", output, "package"], target);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Copies the package, with more entries, so that they are packed as JavaScript. */
async function copyPackage(root: string, to: string): Promise<void> {
  const config = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  for (const path of config.publish.include) await copy(join(root, path), join(to, path));
  const exports = { ...config.exports, ...NOT_ENTRIES };
  const { name, version, license, publish } = config;
  const text = JSON.stringify({ name, version, license, publish, exports });
  await Deno.writeTextFile(join(to, "deno.json"), text);
}

async function copy(from: string, to: string): Promise<void> {
  if (!(await Deno.stat(from)).isDirectory) {
    await Deno.mkdir(dirname(to), { recursive: true });
    return await Deno.copyFile(from, to);
  }
  for await (const { name } of Deno.readDir(from)) await copy(join(from, name), join(to, name));
}

/** Makes what `deno pack` has made the npm package. */
async function complete(folder: string): Promise<void> {
  const path = join(folder, "package.json");
  const { exports, ...fields } = JSON.parse(await Deno.readTextFile(path)) as Packed;
  const isEntry = ([name]: [string, unknown]) => !(name in NOT_ENTRIES);
  const entries = Object.entries(exports).filter(isEntry);
  const all = { ...Object.fromEntries(entries), "./package.json": "./package.json" };
  await Deno.writeTextFile(path, JSON.stringify({ ...fields, ...FIELDS, exports: all }, null, 2));
  await checkTypes(folder, entries.map(([name]) => name));
  await completeTypes(folder, true);
}

/** `deno pack` leaves out all types, without a word, if one of the package's is not written out. */
async function checkTypes(folder: string, entries: readonly string[]): Promise<void> {
  for (const entry of entries) {
    const file = `${entry === "." ? "mod" : entry.slice(2)}.d.ts`;
    if (await Deno.stat(join(folder, file)).catch(() => null) !== null) continue;
    throw new Error(`Cannot pack: there is no ${file}. deno publish --dry-run may say why`);
  }
}

async function completeTypes(folder: string, isTop: boolean): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (isDirectory) await completeTypes(path, false);
    if (!name.endsWith(".d.ts")) continue;
    const text = await Deno.readTextFile(path);
    const head = isTop ? LIBRARIES.map((lib) => `/// <reference lib="${lib}" />\n`).join("") : "";
    const tail = /\bURL\b/.test(withoutComments(text)) ? URL_TYPE : "";
    await Deno.writeTextFile(path, head + text + tail);
  }
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "");
}

async function run(program: string, args: readonly string[], cwd: string): Promise<void> {
  const command = new Deno.Command(program, { args: [...args], cwd, stdin: "null" });
  const { success, stderr } = await command.output();
  if (success) return;
  throw new Error(`Cannot pack: ${program} ${args[0]}: ${new TextDecoder().decode(stderr)}`);
}
