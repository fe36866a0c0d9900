/** The recipes are short, and print what their comments say. */

import { assert, assertEquals } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { deno } from "../support/demo_runs.ts";

const ROOT = fromFileUrl(new URL("../../", import.meta.url));

const page = await Deno.readTextFile(`${ROOT}docs/recipes.md`);

/** A block of code, and the heading above it. */
const recipes = page.split(/^## /m).slice(1).flatMap((section) =>
  Array.from(section.matchAll(/^```(ts|ts ignore|python)\n(.*?)^```/gms), ([, language, code]) => ({
    title: section.slice(0, section.indexOf("\n")),
    language,
    code,
  }))
);

/** What the comments after `console.log` promise. */
function promisesOf(code: string): string[] {
  return Array.from(
    code.matchAll(/^ *(?:if .*)?console\.log\(.*\); \/\/ (.*)$/gm),
    ([, text]) => text,
  );
}

Deno.test("docs/recipes.md has each recipe that users look for", () => {
  const titles = new Set(recipes.map(({ title }) => title));
  assertEquals([...titles], [
    "Gradient accumulation",
    "Keep the best",
    "Early stopping",
    "Frozen layers",
    "No decay on biases and norms",
    "LR range test",
    "Resume with another schedule",
    "Seeded shuffling",
    "Several processes",
    "Reading a run in torch",
  ]);
});

Deno.test("a recipe has four to ten lines after its model", () => {
  for (const { title, code } of recipes) {
    const lines = code.trim().split("\n\n").at(-1)!.split("\n").length;
    assert(lines >= 4 && lines <= 10, `${title}: ${lines}`);
  }
});

for (const { title, code } of recipes.filter(({ language }) => language === "ts")) {
  const promises = promisesOf(code);
  if (promises.length === 0) continue;
  Deno.test(`the recipe prints what it says: ${title}`, async () => {
    const file = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      await Deno.writeTextFile(file, code);
      const permissions = ["--allow-read", "--allow-write", "--no-prompt"];
      const config = ["-c", `${ROOT}deno.json`];
      const { out, err } = await deno(["run", "-q", "--no-check", ...config, ...permissions, file]);
      assertEquals(out.trimEnd().split("\n"), promises, err);
    } finally {
      await Deno.remove(file);
    }
  });
}

Deno.test("docs/lr_range.svg is what the recipe of the range test draws", async () => {
  const [test, picture] = recipes.filter(({ title }) => title === "LR range test");
  const folder = await Deno.makeTempDir();
  const [script, svg] = [`${folder}/test.ts`, `${folder}/lr_range.svg`];
  try {
    const drawing = picture.code.replace(/^const curve = .*$/m, "")
      .replace('await Deno.makeTempFile({ suffix: ".svg" })', JSON.stringify(svg));
    await Deno.writeTextFile(script, test.code + drawing);
    const run = await deno(["run", "-q", "--no-check", "-A", "-c", `${ROOT}deno.json`, script]);
    assertEquals(run.code, 0, run.err);
    await deno(["fmt", "-q", "-c", `${ROOT}deno.json`, svg]);
    const committed = await Deno.readTextFile(`${ROOT}docs/lr_range.svg`);
    assertEquals(await Deno.readTextFile(svg), committed);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
