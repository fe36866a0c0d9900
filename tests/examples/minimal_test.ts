/** The small examples, as somebody runs them who has copied one: alone in a folder, the package from JSR. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { openLibrary } from "../../src/native/library.ts";
import { cpuMissing } from "../support/backends.ts";
import { ROOT, run, serveJsr, stage, temporaryFolder } from "../publish/stage.ts";

const FOLDER = join(ROOT, "examples/minimal");

/** The examples, what each is given, and what it has learned at the end. */
const EXAMPLES: Readonly<Record<string, { args: readonly string[]; learned: RegExp }>> = {
  "logistic.ts": { args: ["eights.csv"], learned: /^accuracy (100\.0|9[89]\.\d) % of 357 rows$/m },
  "mlp.ts": { args: [], learned: /^sin\(pi \/ 2\) is about (1\.0[0-2]|0\.9[89])$/m },
  "embedding.ts": { args: [], learned: /^step 6000 {2}error 0\.0[0-4]\d$/m },
  "bfloat16.ts": { args: [], learned: /^accuracy (100\.0|9[6-9]\.\d) %, scale 524288$/m },
  "finetune.ts": {
    args: ["pretrained.safetensors", "eights.csv"],
    learned: /^accuracy (100\.0|9[89]\.\d) % of 357 rows$/m,
  },
  "ranks.ts": {
    args: ["eights.csv"],
    learned: /^epoch 40 {2}loss 0\.1[0-5]\d\d {2}accuracy 0\.9[2-5]\d$/m,
  },
};

/** The library, which only programs with the permission for it find; that of a world needs it. */
const library = openLibrary();

function obstacleOf(name: string): string | null {
  return name === "ranks.ts" ? cpuMissing : null;
}

Deno.test("every small example is tested", async () => {
  const names = (await Array.fromAsync(Deno.readDir(FOLDER))).map(({ name }) => name);
  assertEquals(names.filter((name) => name.endsWith(".ts")).sort(), Object.keys(EXAMPLES).sort());
});

for (const name of Object.keys(EXAMPLES)) {
  Deno.test(`${name} is short, says how it is run, and imports nothing but the package`, async () => {
    const text = await Deno.readTextFile(join(FOLDER, name));
    assert(text.trimEnd().split("\n").length <= 80);
    assertMatch(text, RegExp(`^/\\*\\*\n(?: \\*.*\n)+ \\* {5}deno run .*${name}`));
    const imports = Array.from(text.matchAll(/from "(.*?)"/g), ([, specifier]) => specifier);
    assert(imports.length > 0);
    for (const one of imports) {
      assertMatch(one, /^jsr:@descent\/sgd@\^0\.1\.0(\/(schedules|safetensors|mpi))?$/);
    }
    const [before, copied, after] = text.split(/^\/\/ (?:Copy from|To) here -+\n/m);
    assert(
      before.length > 0 && copied.includes("optimizer.step") || copied.includes("scaler.step"),
    );
    assert(after.length > 0);
  });
}

Deno.test("each small example learns, with the package from JSR and the permissions that it names", async (test) => {
  await using home = await temporaryFolder();
  const none = new Uint8Array(1); // of the library: without the permission for it nothing reads it
  await using jsr = serveJsr([await stage(home.path, [none, none])]);
  const folder = join(home.path, "project");
  await Deno.mkdir(folder);
  for (const data of ["eights.csv", "pretrained.safetensors"]) {
    await Deno.copyFile(join(FOLDER, "data", data), join(folder, data));
  }
  const env = {
    ...{ HOME: home.path, DENO_DIR: join(home.path, "deno"), JSR_URL: jsr.url },
    ...{ DENO_DESCENT_KERNELS: "path" in library ? library.path : "", DENO_NO_UPDATE_CHECK: "1" },
  };
  for (const [name, { args, learned }] of Object.entries(EXAMPLES)) {
    const obstacle = obstacleOf(name);
    const skipped = obstacle === null ? "" : ` (skipped: ${obstacle})`;
    const learns = async () => {
      await Deno.copyFile(join(FOLDER, name), join(folder, name));
      const text = await Deno.readTextFile(join(FOLDER, name));
      const flags = [...text.match(/deno run(.*) \S+\.ts/)![1].matchAll(/-\S+/g)].map(String);
      const command = ["run", "--quiet", "--check", "--no-prompt", ...flags, name, ...args];
      const { code, out, err } = await run(Deno.execPath(), command, { cwd: folder, env });
      assertEquals(code, 0, `${out}${err}`);
      assertMatch(out, learned);
    };
    await test.step({ name: `${name}${skipped}`, ignore: obstacle !== null, fn: learns });
  }
});
