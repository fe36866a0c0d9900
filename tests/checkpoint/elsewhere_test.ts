/** Checkpoint files in Node.js and Bun: the guarantees that they have in Deno. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { temporaryFolder } from "../publish/stage.ts";
import { bundle, CALLERS, runIn, RUNTIMES, testOnRuntimes } from "../support/runtimes.ts";
import type { Runtime } from "../support/runtimes.ts";
import { killWhileSaving, numberOf } from "./kills.ts";

const KILLS = 40;

const pathOf = (name: string) => fromFileUrl(new URL(name, import.meta.url));

/** A folder for checkpoints, and the programs of this folder as a runtime reads them. */
async function prepare({ program, caller }: Runtime) {
  const folder = await temporaryFolder();
  const [saver, loader] = ["saver", "loader"].map((name) => join(folder.path, `${name}.mjs`));
  await bundle(pathOf("saver.ts"), saver);
  await bundle(pathOf("loader.ts"), loader);
  const files = join(folder.path, "files");
  await Deno.mkdir(files);
  const flags = caller === "bun:ffi" ? [] : ["--no-warnings"];
  return {
    loader,
    saver: (path: string, times: number, first: number) =>
      new Deno.Command(program, {
        args: [...flags, saver, path, String(times), String(first)],
        ...{ stdout: "piped", stderr: "inherit" },
      }),
    files,
    path: join(files, "run"),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const namesIn = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

testOnRuntimes(
  CALLERS.filter(({ name }) => name !== "Node.js 26"),
  `after each of ${KILLS} kills the file is one of the saves, the last or the one under way`,
  async (runtime) => {
    await using place = await prepare(runtime);
    let interrupted = 0;
    let next = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const saver = place.saver(place.path, 1e9, next);
      const last = await killWhileSaving(saver, (kill * 7919) % 97 / 5);
      interrupted += namesIn(place.files).length - 1;
      const found = await numberOf(place.path);
      assert(found === last || found === last + 1, `save ${found} after ${last} was on disk`);
      const { out, err } = await runIn(runtime, [place.loader, place.path]);
      assertEquals(out, `${found}\n`, err);
      assertEquals(namesIn(place.files), ["run"]);
      next = found + 1;
    }
    assert(interrupted > KILLS / 10, "the kills must hit saves that are under way");
  },
  Deno.build.os === "windows" ? "not on Windows" : null,
);

testOnRuntimes(
  CALLERS,
  "two processes that save to one path leave a file of one of them",
  async (runtime) => {
    await using place = await prepare(runtime);
    const children = [0, 1000].map((first) => place.saver(place.path, 40, first).spawn());
    const results = await Promise.all(children.map((child) => child.output()));
    assert(results.every(({ success }) => success));
    assert([39, 1039].includes(await numberOf(place.path)));
    assertEquals(namesIn(place.files), ["run"]);
  },
);

testOnRuntimes(
  RUNTIMES,
  "files are read and replaced, and errors name the file",
  async (runtime) => {
    await using place = await prepare(runtime);
    const load = async (path: string) => (await runIn(runtime, [place.loader, path])).out.trim();
    const save = async (path: string) => {
      const { stdout } = await place.saver(path, 1, 7).output();
      return new TextDecoder().decode(stdout).trim();
    };
    assertEquals(await load(place.path), "Error ENOENT");
    const target = join(place.files, "target");
    await Deno.symlink("target", place.path);
    assertEquals(await save(place.path), "7");
    assertEquals([(await Deno.lstat(place.path)).isSymlink, await load(target)], [true, "7"]);
    if (Deno.build.os !== "windows") {
      await Deno.chmod(target, 0o640);
      assertEquals(await save(place.path), "7");
      assertEquals((await Deno.stat(target)).mode! & 0o777, 0o640);
    }
    await Deno.writeTextFile(target, "no checkpoint");
    assertEquals(await load(place.path), "CheckpointError");
    assertMatch(
      await save(join(place.files, "no", "run")),
      /^CheckpointError: Cannot save .*ENOENT/,
    );
    assertMatch(await save(place.files), /^CheckpointError: Cannot save .*: it is a directory$/);
  },
);

testOnRuntimes(CALLERS, "what other processes may still write is left alone", async (runtime) => {
  await using place = await prepare(runtime);
  await place.saver(place.path, 1, 1).output();
  const saver = place.saver(place.path, 1e9, 2).spawn();
  let temporary: string | undefined;
  for (let round = 0; round < 3; round++) {
    const until = performance.now() + 10_000;
    do temporary = namesIn(place.files).find((name) => name !== "run"); while (
      temporary === undefined && performance.now() < until
    );
    await runIn(runtime, [place.loader, place.path]); // sweeps, while the other process saves
  }
  saver.kill("SIGTERM");
  const out = new TextDecoder().decode((await saver.output()).stdout);
  assertEquals(out.match(/Error.*/)?.[0], undefined);
  // Of another machine's process nothing is known.
  const foreign = temporary!.replace(/\.[0-9a-f]{8}-/, ".00000000-");
  await Deno.writeTextFile(join(place.files, foreign), "");
  await runIn(runtime, [place.loader, place.path]);
  assert(namesIn(place.files).includes(foreign));
});
