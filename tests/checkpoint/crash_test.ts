/** A process that is killed while it saves, at any moment, leaves a whole file. */

import { assert, assertEquals } from "@std/assert";
import { loadState } from "@descent/sgd";
import { saver } from "./process.ts";

const KILLS = 200;

/** The number of the save that a file is from; fails if it is a mixture. */
async function numberOf(path: string): Promise<number> {
  const { state, param_groups, metadata } = await loadState(path);
  const n = Number(metadata!.n);
  assertEquals(param_groups[0].lr, n);
  for (const { momentum_buffer } of Object.values(state)) {
    assert(momentum_buffer!.every((value) => value === n), `values that are not from save ${n}`);
  }
  return n;
}

/** Starts a process that saves in a loop, and kills it some time after its first save. */
async function killWhileSaving(path: string, first: number, delay: number): Promise<number> {
  const child = saver(path, 1e9, first).spawn();
  let printed = "";
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  printed += (await reader.read()).value ?? "";
  await new Promise((done) => setTimeout(done, delay));
  child.kill("SIGKILL");
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    printed += chunk.value;
  }
  await child.status;
  return Number(printed.trim().split("\n").at(-1));
}

Deno.test({
  name: `after each of ${KILLS} kills the file is one of the saves, the last or the one under way${
    Deno.build.os === "windows" ? " (skipped: not on Windows)" : ""
  }`,
  ignore: Deno.build.os === "windows",
  async fn() {
    const folder = await Deno.makeTempDir();
    const path = `${folder}/run`;
    let interrupted = 0;
    let next = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const last = await killWhileSaving(path, next, (kill * 7919) % 97 / 5);
      interrupted += [...Deno.readDirSync(folder)].length - 1;
      const found = await numberOf(path);
      assert(found === last || found === last + 1, `save ${found} after ${last} was on disk`);
      assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["run"]);
      next = found + 1;
    }
    console.log(`${KILLS} kills, ${interrupted} of them in the middle of a save`);
    assert(interrupted > KILLS / 10, "the kills must hit saves that are under way");
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test("two processes that save to one path leave a file of one of them", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/run`;
  const children = [0, 1000].map((first) => saver(path, 40, first).spawn());
  const results = await Promise.all(children.map((child) => child.output()));
  assert(results.every(({ success }) => success));
  assert([39, 1039].includes(await numberOf(path)));
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["run"]);
  await Deno.remove(folder, { recursive: true });
});
