/** Jobs whose ranks run in Node.js and Bun. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { openLibrary } from "../../src/native/library.ts";
import { temporaryFolder } from "../publish/stage.ts";
import { bundle, CALLERS, linkKoffi, modulesOf, PACKAGES } from "../support/runtimes.ts";
import { testOnRuntimes } from "../support/runtimes.ts";
import { ENGINES, launch, missing } from "./jobs.ts";

const koffiMissing = await modulesOf("koffi") !== null
  ? null
  : `npm cannot fetch ${PACKAGES.koffi}`;

const PROGRAM = `
import { existsSync } from "node:fs";
import { saveState, SGD } from "${new URL("../../mod.ts", import.meta.url)}";
import { openWorld } from "${new URL("../../mpi.ts", import.meta.url)}";
const world = openWorld();
const { rank } = world;
const w = { data: new Float32Array(10_000), grad: new Float32Array(10_000).fill(rank + 1) };
const optimizer = new SGD([w], { lr: 1, momentum: 0.5, world, exchange: "shards" });
optimizer.step();
await optimizer.stepAsync({ maxNorm: 1e9 });
world.verify(optimizer);
const file = new URL("state", import.meta.url);
await saveState(file, optimizer);
console.log(\`[\${rank}] \${world.size} \${w.data[9999]} \${existsSync(file)}\`);
const handle = (error) => console.log(\`[\${rank}] handled \${error.message}\`);
process.on("uncaughtException", handle);
setTimeout(() => { throw new Error("this"); });
await new Promise((resolve) => setTimeout(resolve, 50));
process.off("uncaughtException", handle);
world.barrier();
if (rank === 1) throw new Error("no data");
optimizer.step();
`;

for (const engine of ENGINES) {
  if (engine === "files") continue;
  testOnRuntimes(
    CALLERS,
    `ranks step together under ${engine}, and know when one fails`,
    async (runtime) => {
      await using folder = await temporaryFolder();
      const [source, file] = ["program.ts", "program.mjs"].map((name) => join(folder.path, name));
      await Deno.writeTextFile(source, PROGRAM);
      await bundle(source, file);
      await linkKoffi(folder.path);
      const library = openLibrary();
      if ("reason" in library) throw new Error(library.reason);
      const ending = await launch(engine, 2, [runtime.program, file], {
        DENO_DESCENT_KERNELS: library.path,
      });
      assertEquals(ending.out, Array(2).fill("2 -3.75 true\nhandled this"), ending.err);
      assertMatch(ending.err, /WorldError: Cannot step as rank 1 has failed at step 2: Error: no/);
      assert(ending.code !== 0);
    },
    missing(engine) ?? koffiMissing,
  );
}
