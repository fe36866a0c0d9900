/** A program that steps under `deno run --watch` starts anew whenever its file is saved. */

import { assertEquals } from "@std/assert";
import { cpuMissing } from "../backends.ts";
import { ATTEMPTS, SIZES, start, THREADS } from "./attempts.ts";

const SAVES = 3;

Deno.test({
  name: "a program that steps under --watch starts anew whenever its file is saved",
  ignore: cpuMissing !== null,
  async fn() {
    for (const elements of SIZES) {
      for (const threads of THREADS) {
        for (let i = 0; i < ATTEMPTS; i++) await watch(elements, threads);
      }
    }
  },
});

async function watch(elements: number, threads: number): Promise<void> {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/main.ts`;
  const save = async (n: number) => {
    await Deno.writeTextFile(
      file,
      `import { delay, stepForEver } from "${new URL("stepping.ts", import.meta.url)}";
      stepForEver(${elements});
      await delay(20);
      console.log("save ${n}");`,
    );
  };
  await save(0);
  const flags = ["--quiet", "--no-check", "--no-prompt", "--allow-all", "--watch"];
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const child = start(["run", ...flags, "--config", config, file], threads);
  const lines: string[] = [];
  const errors = new Response(child.stderr).text();
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    lines.push(...text.trim().split("\n"));
    if (lines.length > SAVES) break;
    await save(lines.length);
  }
  try {
    child.kill("SIGTERM");
  } catch {
    // It has ended by itself, which the lines say.
  }
  const { signal } = await child.status;
  await Deno.remove(folder, { recursive: true });
  const expected = Array.from({ length: SAVES + 1 }, (_, n) => `save ${n}`);
  assertEquals([lines, signal], [expected, "SIGTERM"], await errors);
}
