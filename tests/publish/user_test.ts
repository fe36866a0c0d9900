/** The way of a user: deno add, install, ten lines, doctor, upgrade, uninstall; all from servers. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { openLibrary } from "../../src/native/library.ts";
import { cpuMissing } from "../support/backends.ts";
import { ROOT, run, serveFolder, serveJsr, stage, type Staged, temporaryFolder } from "./stage.ts";

const NEXT = "0.1.1";

interface User {
  /** Runs deno in the user's folder. */
  deno(...args: string[]): Promise<string>;
  /** The user's cache folder of libraries. */
  readonly cache: string;
  readonly folder: string;
}

/** A user with nothing but Deno, for whom JSR is the given server. */
async function newUser(home: string, jsr: string): Promise<User> {
  const folder = join(home, "project");
  await Deno.mkdir(folder);
  // Each system has one variable that decides; the others are for the sake of the test.
  const env = {
    ...{ HOME: home, LOCALAPPDATA: home, XDG_CACHE_HOME: "", DENO_DIR: join(home, "deno") },
    ...{ JSR_URL: jsr, DENO_DESCENT_KERNELS: "", DENO_NO_UPDATE_CHECK: "1" },
  };
  const cacheFolders: Record<string, string> = { windows: "", darwin: "Library/Caches" };
  return {
    folder,
    cache: join(home, cacheFolders[Deno.build.os] ?? ".cache", "descent-sgd"),
    async deno(...args) {
      const { code, out, err } = await run(Deno.execPath(), args, { cwd: folder, env });
      assertEquals(code, 0, `deno ${args.join(" ")}\n${out}${err}`);
      return out;
    },
  };
}

async function readmeProgram(): Promise<string> {
  const readme = await Deno.readTextFile(join(ROOT, "README.md"));
  const [, program] = readme.match(/```ts\n([^]*?)```/)!;
  assertStringIncludes(program, 'from "@descent/sgd"');
  return program;
}

async function names(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
}

async function stageVersions(folder: string): Promise<[Staged, Staged]> {
  const library = openLibrary();
  if ("reason" in library) throw new Error(library.reason);
  const bytes = await Deno.readFile(library.path);
  return [await stage(folder, [bytes, bytes]), await stage(folder, [bytes, bytes], NEXT)];
}

Deno.test({
  name: `deno add, install, run, doctor, upgrade and uninstall${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  async fn(test) {
    await using home = await temporaryFolder();
    const [first, next] = await stageVersions(home.path);
    const published = [first];
    await using jsr = serveJsr(published);
    await using mirror = serveFolder(first.dist);
    const user = await newUser(home.path, jsr.url);
    const { deno, cache } = user;
    const program = await readmeProgram();
    const expected = program.match(/\/\/ (.*)\n$/)![1]; // what the README says that it prints

    await test.step("deno add, and the program runs without a library and without permissions", async () => {
      await deno("add", "jsr:@descent/sgd");
      await Deno.writeTextFile(join(user.folder, "main.ts"), program);
      await deno("check", "main.ts");
      assertEquals(
        await deno("run", "--no-prompt", "main.ts"),
        expected.replace("cpu", "js") + "\n",
      );
    });

    let path = "";
    await test.step("install puts the library into the cache folder", async () => {
      const out = await deno("run", "-A", "jsr:@descent/sgd/install", "--from", mirror.url);
      assertMatch(out, /^Installed: native library 0\.1\.0, [\d.]+ MB\n/);
      assertEquals((await names(cache)).length, 1);
      path = join(cache, (await names(cache))[0]);
      assertStringIncludes(out, `--allow-ffi=${path}`);
      assertMatch(path, /descent_kernels-0\.1\.0-\w+-\w+-[0-9a-f]{16}\.(so|dylib|dll)$/);
    });

    await test.step("the program runs on cpu, with all permissions or with just these two", async () => {
      const variable = Deno.build.os === "windows" ? "LOCALAPPDATA" : "HOME";
      const minimal = ["--no-prompt", `--allow-ffi=${path}`, `--allow-env=${variable}`];
      for (const permissions of [["-A"], minimal]) {
        assertEquals(await deno("run", ...permissions, "main.ts"), `${expected}\n`);
      }
      assertEquals(
        await deno("run", "--no-prompt", "main.ts"),
        expected.replace("cpu", "js") + "\n",
      );
    });

    await test.step("doctor says what is there", async () => {
      const report = await deno("run", "-A", "jsr:@descent/sgd/doctor");
      assertMatch(report, /^descent +0\.1\.0\n/);
      assertMatch(report, /\nbackend "auto" +cpu, as the native library is there and allowed\n/);
      assert(report.includes(`${path}: there\n`), report);
      const blind = await deno("run", "--no-prompt", "jsr:@descent/sgd/doctor");
      assertMatch(
        blind,
        /\nbackend "auto" +js, as the cache folder of the native library is not known/,
      );
    });

    await test.step("a newer version is installed beside the old one, which keeps working", async () => {
      published.push(next);
      await using nextMirror = serveFolder(next.dist);
      await deno("add", "--reload", `jsr:@descent/sgd@${NEXT}`);
      assertEquals(await deno("run", "-A", "main.ts"), expected.replace("cpu", "js") + "\n");
      await deno("run", "-A", `jsr:@descent/sgd@${NEXT}/install`, "--from", nextMirror.url);
      assertEquals(await deno("run", "-A", "main.ts"), `${expected}\n`);
      assertEquals((await names(cache)).length, 2);
      const old = await deno("run", "-A", "jsr:@descent/sgd@0.1.0/doctor");
      assert(old.includes(`${path}: there\n`), old);
    });

    await test.step("uninstall removes one version, then all", async () => {
      await deno("run", "-A", `jsr:@descent/sgd@${NEXT}/install`, "--uninstall");
      assertEquals(await names(cache), [path.slice(cache.length + 1)]);
      await deno("run", "-A", `jsr:@descent/sgd@${NEXT}/install`, "--uninstall", "--all");
      assertEquals((await names(join(cache, ".."))).includes("descent-sgd"), false);
      assertEquals(await deno("run", "-A", "main.ts"), expected.replace("cpu", "js") + "\n");
    });
  },
});
