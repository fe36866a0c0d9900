/** Names, folders, checksums and builds of a release. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path/join";
import {
  builtName,
  cachedName,
  cacheFolder,
  cacheVariables,
  PLATFORMS,
  releasedName,
} from "../../src/native/release.ts";
import { buildLibraries, neededGlibc } from "../../tools/release/build.ts";
import { writeChecksums } from "../../tools/release/checksums.ts";
import { PLATFORM, ROOT, run, temporaryFolder } from "./stage.ts";

Deno.test("each platform has its names", () => {
  const names = PLATFORMS.map((platform) => [
    builtName(platform.os),
    releasedName("1.2.3", platform, false),
    cachedName(releasedName("1.2.3", platform, true), "0123456789abcdef".repeat(4)),
  ]);
  assertEquals(names, [
    [
      "libdescent_kernels.so",
      "descent_kernels-1.2.3-linux-x86_64.so",
      "descent_kernels-1.2.3-linux-x86_64-cpu-0123456789abcdef.so",
    ],
    [
      "libdescent_kernels.so",
      "descent_kernels-1.2.3-linux-aarch64.so",
      "descent_kernels-1.2.3-linux-aarch64-cpu-0123456789abcdef.so",
    ],
    [
      "libdescent_kernels.dylib",
      "descent_kernels-1.2.3-darwin-x86_64.dylib",
      "descent_kernels-1.2.3-darwin-x86_64-cpu-0123456789abcdef.dylib",
    ],
    [
      "libdescent_kernels.dylib",
      "descent_kernels-1.2.3-darwin-aarch64.dylib",
      "descent_kernels-1.2.3-darwin-aarch64-cpu-0123456789abcdef.dylib",
    ],
    [
      "descent_kernels.dll",
      "descent_kernels-1.2.3-windows-x86_64.dll",
      "descent_kernels-1.2.3-windows-x86_64-cpu-0123456789abcdef.dll",
    ],
  ]);
});

const folders: [os: string, env: Record<string, string>, folder: string | undefined][] = [
  ["linux", { HOME: "/home/ada" }, "/home/ada/.cache/descent-sgd"],
  ["linux", { HOME: "/home/ada", XDG_CACHE_HOME: "/var/cache" }, "/var/cache/descent-sgd"],
  ["linux", { HOME: "/home/ada", XDG_CACHE_HOME: "relative" }, "/home/ada/.cache/descent-sgd"],
  ["linux", {}, undefined],
  [
    "darwin",
    { HOME: "/Users/ada", XDG_CACHE_HOME: "/var/cache" },
    "/Users/ada/Library/Caches/descent-sgd",
  ],
  ["darwin", {}, undefined],
  [
    "windows",
    { LOCALAPPDATA: "C:\\Users\\ada\\AppData\\Local", HOME: "/c/ada" },
    "C:\\Users\\ada\\AppData\\Local\\descent-sgd",
  ],
  ["windows", { HOME: "/c/ada" }, undefined],
];

Deno.test("the cache folder is where the system keeps caches", () => {
  for (const [os, env, expected] of folders) {
    const read = (variable: string) => {
      assert(cacheVariables(os).includes(variable), `${os} reads ${variable}`);
      return env[variable];
    };
    assertEquals(cacheFolder(os, read), expected, `${os} ${JSON.stringify(env)}`);
  }
});

Deno.test("the newest glibc version that a library names is the one it needs", () => {
  const needs = (text: string) => neededGlibc(new TextEncoder().encode(text));
  assertEquals(needs("\0GLIBC_2.2.5\0GLIBC_2.28\0GLIBC_2.9\0GLIBC_PRIVATE\0"), "2.28");
  assertEquals(needs("GLIBC_2.99 in a text"), undefined);
});

async function fakeRelease(dist: string): Promise<void> {
  for (const platform of PLATFORMS) {
    for (const cpuOnly of [false, true]) {
      const name = releasedName("0.1.0", platform, cpuOnly);
      const bytes = new TextEncoder().encode(name);
      const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
      await Deno.writeFile(join(dist, name), bytes);
      await Deno.writeTextFile(join(dist, `${name}.sha256`), `${sha256}  ${name}\n`);
    }
  }
}

Deno.test("the package gets the checksums of all platforms, or none", async () => {
  await using dist = await temporaryFolder();
  await using package_ = await temporaryFolder();
  const [root, checksums] = [package_.path, join(package_.path, "src/native/checksums.ts")];
  await Deno.mkdir(join(root, "src/native"), { recursive: true });
  const empty = await Deno.readTextFile(join(ROOT, "src/native/checksums.ts"));
  await Deno.writeTextFile(checksums, empty);
  const release = { dist: dist.path, root, version: "0.1.0", platforms: PLATFORMS };
  await fakeRelease(dist.path);

  const [first] = await writeChecksums(release);
  const text = await Deno.readTextFile(checksums);
  assertEquals(Array.from(text.matchAll(/"sha256": "[0-9a-f]{64}"/g)).length, 10);
  await writeChecksums(release);
  assertEquals(await Deno.readTextFile(checksums), text, "filling again changes nothing");

  await Deno.writeTextFile(checksums, empty);
  await Deno.writeTextFile(join(dist.path, first), "damaged");
  await assertRejects(() => writeChecksums(release), Error, "current value is");
  await Deno.remove(join(dist.path, first));
  await assertRejects(() => writeChecksums(release), Deno.errors.NotFound);
  assertEquals(await Deno.readTextFile(checksums), empty);
});

const cargo = await run("cargo", ["--version"]).then(({ code }) => code === 0, () => false);

Deno.test({
  name: `a release holds both libraries, stripped; the CPU path takes less than 1.75 MB${
    cargo ? "" : " (skipped: cargo is not installed)"
  }`,
  ignore: !cargo,
  async fn() {
    await using dist = await temporaryFolder();
    const libraries = await buildLibraries(dist.path);
    assertEquals(
      libraries.map(({ name }) => name),
      [false, true].map((cpuOnly) => releasedName("0.1.0", PLATFORM, cpuOnly)),
    );
    assert(libraries[1].size < 1.75e6, `${libraries[1].size} bytes`);
    for (const { name } of libraries) await assertLoads(join(dist.path, name));
    if (Deno.build.os === "linux") {
      await assertRejects(() => buildLibraries(dist.path, "2.2"), Error, "may need glibc 2.2: it");
    }
  },
});

async function assertLoads(path: string): Promise<void> {
  const args = ["run", "-A", "--no-check", "doctor.ts"];
  const env = { DENO_DESCENT_KERNELS: path };
  const { out } = await run(Deno.execPath(), args, { cwd: ROOT, env });
  assertMatch(out, /\nbackend "auto" +cpu, /);
  const text = new TextDecoder("latin1").decode(await Deno.readFile(path));
  assert(Deno.build.os !== "linux" || !text.includes("\0.symtab\0"), `${path} is not stripped`);
}

/** What workflows run besides tasks: the script that is CI's own, and the tools that a task needs. */
const OTHERS = /^(bash \.ci\/run|cargo install [a-z-]+ --locked)$/;

/** A file whose place only the runner knows. */
const RUNNER_FILE = /"\$(RUNNER_TEMP\/[\w.]+|GITHUB_STEP_SUMMARY)"/g;

Deno.test("the workflows do nothing themselves but call the project's tasks", async () => {
  const tasks = Object.keys(JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))).tasks);
  let calls = 0;
  for await (const { name } of Deno.readDir(join(ROOT, ".github/workflows"))) {
    const text = await Deno.readTextFile(join(ROOT, ".github/workflows", name));
    for (const [, line] of text.matchAll(/^ +(?:- )?run: *(.*?)(?: #.*)?$/gm)) {
      const command = line.replaceAll(RUNNER_FILE, "FILE");
      if (OTHERS.test(command)) continue;
      const [deno, task, which, ...rest] = command.split(" ");
      assertEquals(
        [deno, task, tasks.includes(which)],
        ["deno", "task", true],
        `${name}: ${command}`,
      );
      assertEquals(rest.join(" ").match(/[;&|`$<>]/), null, `${name}: ${command}`);
      calls++;
    }
  }
  assert(calls >= 3);
});
