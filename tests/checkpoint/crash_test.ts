/** A process that is killed while it saves, at any moment, leaves a whole file. */

import { assert, assertEquals } from "@std/assert";
import { killWhileSaving, numberOf } from "./kills.ts";
import { saver } from "./process.ts";

const KILLS = 200;

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
      const last = await killWhileSaving(saver(path, 1e9, next), (kill * 7919) % 97 / 5);
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
