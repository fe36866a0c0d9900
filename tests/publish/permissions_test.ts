/** What a program gets with each set of permissions, and with which words; all without a prompt. */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { dirname } from "@std/path/dirname";
import { join } from "@std/path/join";
import { openLibrary } from "../../src/native/library.ts";
import { cachedName, cacheFolder } from "../../src/native/release.ts";
import { cpuMissing } from "../support/backends.ts";
import { checksumsOf, run, serveJsr, stage, type Staged, temporaryFolder } from "./stage.ts";

const VARIABLE = Deno.build.os === "windows" ? "LOCALAPPDATA" : "HOME";

/** A package on a server, as from JSR, and a user's home in which its libraries are installed. */
interface Scene extends AsyncDisposable {
  readonly url: string;
  readonly home: string;
  readonly full: string;
  readonly cpuOnly: string;
}

async function setScene(): Promise<Scene> {
  const library = openLibrary();
  if ("reason" in library) throw new Error(library.reason);
  const temporary = await temporaryFolder();
  const bytes = await Deno.readFile(library.path);
  const staged = await stage(temporary.path, [bytes, new Uint8Array([...bytes, 0])]);
  const server = serveJsr([staged]);
  const [full, cpuOnly] = await cachedPaths(staged, temporary.path);
  return {
    ...{ url: `${server.url}@descent/sgd/${staged.version}/`, home: temporary.path, full, cpuOnly },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await temporary[Symbol.asyncDispose]();
    },
  };
}

async function cachedPaths(staged: Staged, home: string): Promise<string[]> {
  const checksums = await checksumsOf(staged);
  const folder = cacheFolder(Deno.build.os, (name) => name === VARIABLE ? home : undefined)!;
  await Deno.mkdir(folder, { recursive: true });
  const paths = staged.names.map((name) => join(folder, cachedName(name, checksums[name].sha256)));
  for (const [i, path] of paths.entries()) {
    await Deno.copyFile(join(staged.dist, staged.names[i]), path);
  }
  return paths;
}

type Installed = "both" | "cpu-only" | "none";

interface Case {
  readonly name: string;
  readonly installed: Installed;
  readonly permissions: (scene: Scene) => string[];
  /** What backend "auto" gives: its name, and the file of a native one. */
  readonly auto: "js" | "full" | "cpuOnly";
  /** The error of backend "cpu", where it gives one. */
  readonly error?: (scene: Scene) => string;
}

const INSTALL = "run deno run -A jsr:@descent/sgd@0.1.0/install";
const unknownCache = (variables: string) =>
  `the cache folder of the native library is not known: run with --allow-env=${variables}` +
  `; if it is not installed yet, ${INSTALL}`;
const notInstalled = `no native library is installed: ${INSTALL}`;
const both = Deno.build.os === "linux" ? `XDG_CACHE_HOME,${VARIABLE}` : VARIABLE;
const env = `--allow-env=${VARIABLE}`;
const forbidden = (path: string) => `loading ${path} is not allowed: run with --allow-ffi=${path}`;

const cases: Case[] = [
  {
    name: "nothing",
    installed: "both",
    permissions: () => [],
    auto: "js",
    error: () => unknownCache(both),
  },
  {
    name: "ffi alone",
    installed: "both",
    permissions: () => ["--allow-ffi"],
    auto: "js",
    error: () => unknownCache(both),
  },
  {
    name: "env alone",
    installed: "both",
    permissions: () => [env],
    auto: "js",
    error: ({ full }) => forbidden(full),
  },
  {
    name: "env and read",
    installed: "cpu-only",
    permissions: () => [env, "--allow-read"],
    auto: "js",
    error: ({ cpuOnly }) => forbidden(cpuOnly),
  },
  {
    name: "env and ffi for the file",
    installed: "both",
    permissions: ({ full }) => [env, `--allow-ffi=${full}`],
    auto: "full",
  },
  {
    name: "env and ffi for the cpu-only file",
    installed: "both",
    permissions: ({ cpuOnly }) => [env, `--allow-ffi=${cpuOnly}`],
    auto: "cpuOnly",
  },
  {
    name: "env and ffi for the folder",
    installed: "cpu-only",
    permissions: ({ full }) => [env, `--allow-ffi=${dirname(full)}`],
    auto: "cpuOnly",
  },
  {
    name: "env and ffi for another file",
    installed: "both",
    permissions: () => [env, "--allow-ffi=/nowhere"],
    auto: "js",
    error: ({ full }) => forbidden(full),
  },
  {
    name: "everything but ffi",
    installed: "both",
    permissions: () => ["-A", "--deny-ffi"],
    auto: "js",
    error: ({ full }) => forbidden(full),
  },
  {
    name: "everything but env",
    installed: "both",
    permissions: () => ["-A", "--deny-env"],
    auto: "js",
    error: () => unknownCache(both),
  },
  { name: "everything", installed: "both", permissions: () => ["-A"], auto: "full" },
  { name: "everything", installed: "cpu-only", permissions: () => ["-A"], auto: "cpuOnly" },
  {
    name: "everything",
    installed: "none",
    permissions: () => ["-A"],
    auto: "js",
    error: () => notInstalled,
  },
  {
    name: "env and ffi, without read,",
    installed: "none",
    permissions: () => [env, "--allow-ffi"],
    auto: "js",
    error: () => notInstalled,
  },
];

const program = (url: string) => `
  import { SGD } from "${url}mod.ts";
  const w = { data: new Float32Array(1), grad: new Float32Array(1) };
  for (const backend of ["auto", "cpu"]) {
    try {
      const optimizer = new SGD([w], { lr: 1, backend });
      optimizer.step();
      console.log(optimizer.backend);
    } catch (error) { console.log(String(error)); }
  }
  console.log(Deno[Symbol.for("opened")] ?? "nothing");`;

/** Notes what is opened in the end; runs before the program's import. */
const NOTES = `const original = Deno.dlopen;
  Deno.dlopen = (path, symbols) => {
    const library = original(path, symbols);
    Deno[Symbol.for("opened")] = path;
    return library;
  };`;

async function start(
  scene: Scene,
  permissions: string[],
  { code = program(scene.url), chosen = "" } = {},
) {
  await Deno.writeTextFile(join(scene.home, "notes.mjs"), NOTES);
  const file = join(scene.home, "main.mjs");
  await Deno.writeTextFile(file, `import "./notes.mjs";\n${code}`);
  const args = ["run", "--quiet", "--no-prompt", "--no-check", "--allow-import=127.0.0.1"];
  // Everything is allowed to be imported with -A, and Deno refuses to hear it twice.
  const flags = permissions.includes("-A") ? args.slice(0, -1) : args;
  const environment = { [VARIABLE]: scene.home, XDG_CACHE_HOME: "", DENO_DESCENT_KERNELS: chosen };
  return await run(Deno.execPath(), [...flags, ...permissions, file], {
    cwd: scene.home,
    signal: AbortSignal.timeout(60_000),
    env: { ...environment, DENO_DIR: join(scene.home, "deno") },
  });
}

Deno.test({
  name: `permissions decide which backend a program gets${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  async fn(test) {
    await using scene = await setScene();
    const groups = Map.groupBy(cases, ({ installed }) => installed);
    for (const installed of ["both", "cpu-only", "none"] as const) {
      if (installed === "cpu-only") await Deno.remove(scene.full);
      if (installed === "none") await Deno.remove(scene.cpuOnly);
      for (const { name, permissions, auto, error } of groups.get(installed)!) {
        await test.step(`${name} allowed, ${installed} installed: ${auto}`, async () => {
          const { code, out, err } = await start(scene, permissions(scene));
          assertEquals(code, 0, err);
          const cpu = error && `Error: Cannot use backend "cpu" as ${error(scene)}`;
          const [backend, opened] = auto === "js" ? ["js", "nothing"] : ["cpu", scene[auto]];
          assertEquals(out.trimEnd().split("\n"), [backend, cpu ?? "cpu", opened]);
        });
      }
    }
  },
});

Deno.test({
  name: `doctor speaks with any permissions${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  async fn() {
    await using scene = await setScene();
    const code = `import { diagnose } from "${scene.url}doctor.ts"; console.log(diagnose());`;
    const report = async (...permissions: string[]) => {
      const { out, err } = await start(scene, permissions, { code });
      assertStringIncludes(out, "descent", err);
      return out;
    };
    const blind = await report();
    assertMatch(blind, /\ncache +not known, add --allow-env=\w+/);
    assertMatch(blind, /\nallowed +nothing without a limit\nallowed env +none of those/);
    const seeing = await report(env);
    assertStringIncludes(seeing, `${scene.full}: not allowed, add --allow-ffi=${scene.full}\n`);
    const loading = await report(env, `--allow-ffi=${scene.full}`);
    assertMatch(loading, /\n {2}simd +\w+\n {2}threads +\d+\n/);
    assertMatch(loading, /\nbackend "auto" +cpu, as /);
    assertStringIncludes(await report("-A"), `${scene.full}: there\n`);
    const bytes = await Deno.readFile(scene.full);
    await Deno.writeFile(scene.full, bytes.with(-1, bytes.at(-1)! ^ 1)); // of the last section's name
    assertMatch(
      await report("-A"),
      /: there, but not the released file: its SHA-256 must be [0-9a-f]{64}: current value is [0-9a-f]{64}: run deno run -A jsr:@descent\/sgd@0\.1\.0\/install\n/,
    );
    await Deno.truncate(scene.full, 2_000_000);
    const short = `must have ${bytes.length} bytes: it has 2000000`;
    const cut = await report("-A");
    assertStringIncludes(cut, `${scene.full}: damaged: ${short}\n`);
    assertStringIncludes(
      cut,
      `as a native library of Descent: the file is damaged, as it ${short}`,
    );
    assertMatch(cut, /\nbackend "auto" +an error, /);
    await Deno.writeTextFile(scene.full, "not a library");
    assertMatch(
      await report("-A"),
      /\nlibrary +broken: Cannot load .*\ngpu +none: .*\nmpi +none: .*\nbackend "auto" +an error, /,
    );
  },
});

const variable = "--allow-env=DENO_DESCENT_KERNELS";
const noFile = (path: string) => `${path} does not exist: DENO_DESCENT_KERNELS names it`;

/** What DENO_DESCENT_KERNELS gets with a set of permissions, and what `auto` and `cpu` say to it. */
const CHOSEN: {
  readonly name: string;
  readonly chosen: (scene: Scene) => string;
  readonly permissions: (scene: Scene) => string[];
  readonly auto: "cpu" | "js" | "an error";
  readonly error?: (scene: Scene) => string;
}[] = [
  {
    name: "ffi for a file that is there",
    chosen: ({ full }) => full,
    permissions: ({ full }) => [`--allow-ffi=${full}`, variable],
    auto: "cpu",
  },
  {
    name: "ffi for a file that is there, by its name alone",
    chosen: () => "lib.so",
    permissions: () => ["--allow-ffi=lib.so", variable],
    auto: "cpu",
  },
  {
    name: "everything for a name alone",
    chosen: () => "lib.so",
    permissions: () => ["-A"],
    auto: "cpu",
  },
  {
    name: "no ffi for a file that is there",
    chosen: () => "lib.so",
    permissions: () => [variable, "--allow-read"],
    auto: "js",
    error: ({ home }) => forbidden(join(home, "lib.so")),
  },
  {
    name: "nothing but the variable for a file that is not there",
    chosen: () => "typo.so",
    permissions: () => [variable],
    auto: "js",
    error: ({ home }) => forbidden(join(home, "typo.so")),
  },
  {
    name: "read for a file that is not there",
    chosen: () => "typo.so",
    permissions: () => [variable, "--allow-read"],
    auto: "an error",
    error: ({ home }) => noFile(join(home, "typo.so")),
  },
  {
    name: "ffi for a file that is not there",
    chosen: () => "typo.so",
    permissions: () => [variable, "--allow-ffi"],
    auto: "an error",
    error: ({ home }) => noFile(join(home, "typo.so")),
  },
  {
    name: "everything for a folder",
    chosen: ({ home }) => home,
    permissions: () => ["-A"],
    auto: "an error",
    error: ({ home }) => `${home} is a folder, not a file: DENO_DESCENT_KERNELS names it`,
  },
  {
    name: "everything but the variable for a file that is not there",
    chosen: () => "typo.so",
    permissions: ({ full }) => [`--allow-ffi=${full}`, env],
    auto: "cpu",
  },
];

Deno.test({
  name: `permissions decide what is known of the file that DENO_DESCENT_KERNELS names${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  async fn(test) {
    await using scene = await setScene();
    await Deno.copyFile(scene.full, join(scene.home, "lib.so"));
    for (const { name, chosen, permissions, auto, error } of CHOSEN) {
      await test.step(`${name}: ${auto}`, async () => {
        const options = { chosen: chosen(scene) };
        const { code, out, err } = await start(scene, permissions(scene), options);
        assertEquals(code, 0, err);
        const refusal = (backend: string) =>
          `Error: Cannot use backend "${backend}" as ${error!(scene)}`;
        assertEquals(out.split("\n").slice(0, 2), [
          auto === "an error" ? refusal("auto") : auto,
          error === undefined ? "cpu" : refusal("cpu"),
        ]);
      });
    }
  },
});

const script = await run("script", ["--version"]).then(({ code }) => code === 0, () => false);

Deno.test({
  name: `on a terminal nothing prompts for a permission${
    script ? "" : " (skipped: script of util-linux is not installed)"
  }`,
  ignore: !script,
  async fn() {
    const folder = await temporaryFolder();
    await using _ = folder;
    const file = join(folder.path, "main.ts");
    const mod = new URL("../../mod.ts", import.meta.url);
    const doctor = new URL("../../doctor.ts", import.meta.url);
    await Deno.writeTextFile(
      file,
      `import { SGD } from "${mod}"; import { diagnose } from "${doctor}"; diagnose();
      const w = { data: new Float32Array(1), grad: new Float32Array(1) };
      console.log(Deno.stdin.isTerminal(), new SGD([w], { lr: 1 }).backend);`,
    );
    const command = `${Deno.execPath()} run --quiet --no-check ${file}`;
    const signal = AbortSignal.timeout(60_000); // a prompt would wait for ever
    const { out } = await run("script", ["-qec", command, "/dev/null"], { signal });
    assertEquals(out.trim(), "true js");
  },
});
