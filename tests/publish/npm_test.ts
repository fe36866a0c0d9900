/** The npm package: installed from its tarball into an empty project, in every runtime that npm brings. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname } from "@std/path/dirname";
import { join } from "@std/path/join";
import { readdirSync } from "node:fs";
import { packForNpm } from "../../tools/release/npm.ts";
import { cpuMissing } from "../support/backends.ts";
import { bundle, linkKoffi, modulesOf, npm, PACKAGES, runIn } from "../support/runtimes.ts";
import { RUNTIMES, testOnRuntimes } from "../support/runtimes.ts";
import type { Runtime } from "../support/runtimes.ts";
import { openLibrary } from "../../src/native/library.ts";
import { SCHEDULED, stepped, wholeProgram } from "./entries_program.ts";
import { ENTRIES, ROOT, run, stage, temporaryFolder } from "./stage.ts";
import type { Staged } from "./stage.ts";

const noNpm = npm === undefined ? "no npm" : null;

/** A project with the package, and the release that it belongs to. */
interface Project extends AsyncDisposable {
  readonly path: string;
  readonly staged: Staged;
  /** The environment of a program that finds no library but those that it installs. */
  readonly env: Record<string, string>;
}

/** A release with this repository's library, and its tarball. */
interface Release {
  readonly folder: AsyncDisposable;
  readonly staged: Staged;
  readonly tarball: string;
}

let release: Promise<Release> | undefined;

async function createRelease(): Promise<Release> {
  const folder = await temporaryFolder();
  const tarball = join(folder.path, "sgd.tgz");
  const library = openLibrary();
  const bytes = "reason" in library ? new Uint8Array(1) : await Deno.readFile(library.path);
  const staged = await stage(folder.path, [bytes, bytes]);
  await packForNpm(tarball, staged.root);
  return { folder, staged, tarball };
}

Deno.test.afterAll(async () => await (await release)?.folder[Symbol.asyncDispose]());

async function createProject(): Promise<Project> {
  const { staged, tarball } = await (release ??= createRelease());
  const folder = await temporaryFolder();
  const path = join(folder.path, "project");
  await Deno.mkdir(path);
  await Deno.writeTextFile(join(path, "package.json"), '{ "type": "module" }');
  const quiet = ["--offline", "--no-audit", "--no-fund", "--ignore-scripts"];
  const cache = { npm_config_cache: join(folder.path, "npm"), npm_config_update_notifier: "false" };
  const { code, err } = await run(npm!, ["install", ...quiet, tarball], { cwd: path, env: cache });
  assertEquals(code, 0, err);
  const folders = { XDG_CACHE_HOME: folder.path, HOME: folder.path, LOCALAPPDATA: folder.path };
  return {
    ...{ path, staged, env: { ...folders, ...cache, DENO_DESCENT_KERNELS: "" } },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** Puts koffi beside the package. */
async function addKoffi({ path }: Project): Promise<void> {
  const modules = await modulesOf("koffi");
  if (modules === null) throw new Error(`npm cannot fetch ${PACKAGES.koffi}`);
  for (const name of ["koffi", "@koromix"]) {
    await Deno.symlink(join(modules, name), join(path, "node_modules", name));
  }
}

testOnRuntimes(
  RUNTIMES,
  "the package runs, every entry of it, and its command installs the library",
  async (runtime) => {
    await using project = await createProject();
    const { path: cwd, env } = project;
    await Deno.writeTextFile(
      join(cwd, "main.js"),
      wholeProgram((entry) => entry.replace(".", "@descent/sgd")),
    );
    const start = (...args: string[]) => runIn(runtime, args, { cwd, env });
    const before = await start("main.js", join(cwd, "state"));
    const lines = before.out.trimEnd().split("\n");
    assertEquals(lines.slice(0, 5), [...stepped("js"), "undefined", "0.1"], before.err);
    const doctor = lines.at(-4)!;
    assertEquals(lines.slice(-4), ["descent  " + doctor.slice(9), ...SCHEDULED.split("\n")]);
    assertMatch(lines[5], /^Cannot use backend "cpu" as (no native library is|Node.js .* koffi)/);
    assertMatch(lines[7], /^Cannot install .* as the file cannot be read: /);
    if (cpuMissing !== null) return;
    await addKoffi(project);
    const bin = join("node_modules", "@descent", "sgd", "bin.js");
    const installed = await start(bin, "install", "--from", project.staged.dist);
    assertStringIncludes(installed.out, "Installed: native library", installed.err);
    const after = await start("main.js", join(cwd, "state"));
    assertEquals(
      after.out.split("\n").slice(0, 6),
      [...stepped("cpu"), "undefined", "0.1", "cpu"],
      after.err,
    );
    assertStringIncludes(after.out, "\ntrue\n"); // installKernels finds it installed
    const report = (await start(bin, "doctor")).out;
    assertMatch(report, /\nbackend "auto" +cpu, as the native library is there and allowed\n/);
    assertMatch(report, new RegExp(`\nnative calls +${runtime.caller}\n`));
    const removed = await start(bin, "install", "--uninstall");
    assertMatch(removed.out, /^Removed /);
  },
  noNpm,
);

Deno.test({
  name: `npx runs the package's command${noNpm === null ? "" : ` (skipped: ${noNpm})`}`,
  ignore: noNpm !== null,
  async fn() {
    await using project = await createProject();
    const { path: cwd, env } = project;
    const npx = (...args: string[]) =>
      run(npm!, ["exec", "--offline", "--", "@descent/sgd", ...args], { cwd, env });
    assertMatch((await npx("doctor")).out, /^descent +\d/);
    assertStringIncludes((await npx("install", "--help")).out, "npx @descent/sgd@");
    const wrong = await npx("instal");
    assertEquals(wrong.code, 2);
    assertStringIncludes(wrong.err, 'There is no command "instal"');
    assertEquals((await npx("install", "--bad")).code, 2);
    const missing = await npx("install", "--from", cwd);
    assertEquals(missing.code, 1);
    assertStringIncludes(missing.err, "the file cannot be read");
  },
});

testOnRuntimes(
  RUNTIMES.filter(({ name }) => name === "Bun"),
  "bunx runs the package's command",
  async ({ program }: Runtime) => {
    await using project = await createProject();
    const { path: cwd, env } = project;
    const { out, err } = await run(program, ["x", "--bun", "@descent/sgd", "doctor"], { cwd, env });
    assertMatch(out, /\nbun +\d/, err);
  },
  noNpm,
);

for (const name of ["typescript", "the oldest TypeScript"] as const) {
  const typescript = await modulesOf(name);
  const reason = typescript === null ? ` (skipped: npm cannot fetch ${PACKAGES[name]})` : "";
  Deno.test({
    name: `a strict project of ${
      PACKAGES[name]
    } takes the types, without DOM and skipLibCheck${reason}`,
    ignore: typescript === null,
    fn: () => checkTypes(typescript!),
  });
}

async function checkTypes(typescript: string): Promise<void> {
  await using project = await createProject();
  const imports = [...ENTRIES.keys()].map((entry, i) =>
    `import * as entry${i} from "${entry.replace(".", "@descent/sgd")}"; export { entry${i} };\n`
  );
  const program = `${imports.join("")}
      import { loadState, SGD, type Parameter } from "@descent/sgd";
      import { DescentOptimizer } from "@descent/sgd/tfjs";
      export const stepsOf = (optimizer: DescentOptimizer): number => optimizer.iterations;
      const w: Parameter = { data: new Float32Array(1), grad: null };
      export const backend: "cpu" | "js" | "gpu" | "webgpu" = new SGD([w], { lr: 0.1 }).backend;
      export const state = loadState("file").then(({ param_groups }) => param_groups);
      // @ts-expect-error: a learning rate is a number
      new SGD([w], { lr: "0.1" });`;
  await Deno.writeTextFile(join(project.path, "main.ts"), program);
  const tsc = join(typescript, "typescript", "bin", "tsc");
  for (const [module, resolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
    const { code, out, err } = await run("node", [
      ...[tsc, "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022"],
      ...["--module", module, "--moduleResolution", resolution],
      ...["--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "main.ts"],
    ], { cwd: project.path });
    assertEquals(code, 0, out + err);
  }
}

const esbuild = await modulesOf("esbuild");

testOnRuntimes(
  RUNTIMES.filter(({ name }) => /machine|26/.test(name)),
  "a program that esbuild has bundled with the package does what it does without",
  async (runtime) => {
    await using project = await createProject();
    const { path: cwd, env } = project;
    const text = wholeProgram((entry) => entry.replace(".", "@descent/sgd"));
    await Deno.writeTextFile(join(cwd, "main.js"), text);
    const expected = (await runIn(runtime, ["main.js", join(cwd, "state")], { cwd, env })).out;
    const program = join(esbuild!, "esbuild", "bin", "esbuild");
    for (const [platform, format] of ESBUILD) {
      const file = `bundle-${platform}.${format === "esm" ? "mjs" : "cjs"}`;
      const kind = [`--platform=${platform}`, `--format=${format}`, `--outfile=${file}`];
      const { code, err } = await run(program, ["main.js", "--bundle", ...kind], { cwd });
      assertEquals(code, 0, err);
      const bundled = await runIn(runtime, [file, join(cwd, "state")], { cwd, env });
      assertEquals(
        bundled.out,
        platform === "browser" ? withoutCpu(expected) : expected,
        bundled.err,
      );
    }
  },
  noNpm ?? (esbuild === null ? `npm cannot fetch ${PACKAGES.esbuild}` : null),
);

/** What a program says whose bundle is for browsers: it has nothing that looks for the library. */
function withoutCpu(said: string): string {
  const reason = "the native library needs Deno, Node.js or Bun: use the js backend here";
  return said.replace(/(Cannot use backend "cpu" as ).*/, `$1${reason}`);
}

/** The bundles that it makes. A program is not the library's installer because it has that in it. */
const ESBUILD = [["browser", "esm"], ["browser", "iife"], ["node", "esm"], [
  "node",
  "cjs",
]] as const;

Deno.test({
  name: `bundlers find no file to look for in the package${
    noNpm === null ? "" : ` (skipped: ${noNpm})`
  }`,
  ignore: noNpm !== null,
  async fn() {
    await using project = await createProject();
    const folder = join(project.path, "node_modules", "@descent", "sgd");
    const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
    const sources = names.filter((name) => name.endsWith(".js"));
    assert(sources.length > 100);
    for (const path of sources) {
      const text = await Deno.readTextFile(join(folder, path));
      // webpack and Vite take the first argument for the path of a file, whatever it is.
      assertEquals(text.match(/new URL\([^;]*import\.meta\.url/g), null, path);
    }
  },
});

Deno.test({
  name: `the package has no dependency, an entry for each of JSR's, and no TypeScript${
    noNpm === null ? "" : ` (skipped: ${noNpm})`
  }`,
  ignore: noNpm !== null,
  async fn() {
    await using project = await createProject();
    const folder = join(project.path, "node_modules", "@descent", "sgd");
    const fields = JSON.parse(await Deno.readTextFile(join(folder, "package.json")));
    for (const kind of ["dependencies", "peerDependencies", "optionalDependencies", "scripts"]) {
      assertEquals(fields[kind], undefined);
    }
    assertEquals(Object.keys(fields.exports), [...ENTRIES.keys(), "./package.json"]);
    for (const entry of ENTRIES.keys()) {
      for (const file of Object.values(fields.exports[entry]) as string[]) {
        assert((await Deno.stat(join(folder, file))).isFile);
      }
    }
    const { default: path } = fields.exports["."];
    assertEquals(dirname(join(folder, path)), folder);
    const sources = [...Deno.readDirSync(folder)].filter(({ name }) => /(?<!\.d)\.ts$/.test(name));
    assertEquals(sources, []);
  },
});

/** Modules and scripts, of which the latter do not know where they are. */
const BUNDLES = [["browser", "esm"], ["deno", "esm"], ["deno", "cjs"]] as const;

testOnRuntimes(
  RUNTIMES.filter(({ name }) => /machine|Bun/.test(name)),
  "a bundle of the whole package runs",
  async (runtime) => {
    await using folder = await temporaryFolder();
    const source = join(folder.path, "main.ts");
    const text = wholeProgram((entry) => new URL(ENTRIES.get(entry)!, `file://${ROOT}`).href);
    await Deno.writeTextFile(source, text);
    for (const [platform, format] of BUNDLES) {
      const file = join(folder.path, format === "cjs" ? "main.cjs" : "main.mjs");
      await bundle(source, file, platform, format);
      const env = { DENO_DESCENT_KERNELS: "", XDG_CACHE_HOME: folder.path };
      const { out, err } = await runIn(runtime, [file, join(folder.path, "state")], { env });
      const expected = [...stepped("js"), "undefined", "0.1"];
      assertEquals(out.split("\n").slice(0, 5), expected, err);
    }
    const library = openLibrary();
    if ("reason" in library || await modulesOf("koffi") === null) return;
    await linkKoffi(folder.path);
    const args = [join(folder.path, "main.cjs"), join(folder.path, "state")];
    const { out, err } = await runIn(runtime, args, {
      env: { DENO_DESCENT_KERNELS: library.path },
    });
    assertEquals(out.split("\n").slice(0, 3), stepped("cpu"), err);
  },
);
