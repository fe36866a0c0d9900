/** A program that steps under `deno run --watch` restarts whenever its file is saved. */

import { assertEquals } from "@std/assert";
import { forEachAttempt, start, testOnCpu } from "./attempts.ts";

const SAVES = 3;
/** The watcher may miss what is written while it restarts: the file is saved until it has seen it. */
const PATIENCE = 1_000;

testOnCpu(`a program that steps under --watch restarts whenever its file is saved`, async () => {
  await forEachAttempt(watch);
});

async function watch(elements: number, threads: number): Promise<void> {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/main.ts`;
  let saves = 0;
  const save = () =>
    Deno.writeTextFileSync(
      file,
      `import { delay, stepForEver } from "${new URL("stepping.ts", import.meta.url)}";
      stepForEver(${elements});
      await delay(10);
      console.log("save ${saves}"); // ${performance.now()}`,
    );
  save();
  const flags = ["--quiet", "--no-check", "--no-prompt", "--allow-all", "--watch"];
  const config = new URL("../../../deno.json", import.meta.url).pathname;
  const child = start(["run", ...flags, "--config", config, file], threads);
  const errors = new Response(child.stderr).text();
  const again = setInterval(save, PATIENCE);
  let out = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    out += text;
    if (!out.includes(`save ${saves}\n`)) continue;
    if (++saves > SAVES) break;
    save();
  }
  clearInterval(again);
  const isAlive = saves > SAVES;
  if (isAlive) child.kill("SIGKILL");
  await child.status;
  await Deno.remove(folder, { recursive: true });
  assertEquals(isAlive, true, `it ended after save ${saves}: ${await errors}`);
}
