/** Other ways in: a compiled program and a browser. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { openLibrary } from "../../src/native/library.ts";
import { builtName, extensionOf } from "../../src/native/release.ts";
import { bundle as bundleFile, chromium, HEADLESS } from "../support/browser.ts";
import { SCHEDULED, stepped, wholeProgram } from "./entries_program.ts";
import type { Specifier } from "./entries_program.ts";
import { ENTRIES, run, temporaryFolder } from "./stage.ts";

const deno = Deno.execPath();

/** A program that trains a little and says how it went: the result and the backend. */
const program = (setUp = "") => `
  import { SGD } from "${new URL("../../mod.ts", import.meta.url)}";
  ${setUp}
  const w = { data: new Float32Array([0]), grad: new Float32Array(1) };
  const optimizer = new SGD([w], { lr: 0.1, momentum: 0.5 });
  for (let i = 0; i < 100; i++) {
    w.grad[0] = 2 * (w.data[0] - 3);
    optimizer.step();
  }
  const result = w.data[0].toFixed(3) + " " + optimizer.backend;
  globalThis.document?.body.append(result);
  console.log(result);`;

const NEEDS = "it needs Deno, Node.js or Bun";

/** What the program that uses every entry says in a browser. */
const IN_A_BROWSER = [
  ...stepped("js"),
  `Cannot save the state as ${NEEDS}: use encodeStateDict and write its bytes`,
  `Cannot load the state as ${NEEDS}: read the bytes and use decodeStateDict`,
  `Cannot use backend "cpu" as the native library needs Deno, Node.js or Bun: use the js backend here`,
  "Cannot open a GPU as the native library needs Deno, Node.js or Bun: use the js backend here",
  `Cannot install the native library as ${NEEDS}: the js backend runs everywhere`,
  `Cannot uninstall the native library as ${NEEDS}: the js backend runs everywhere`,
  `Cannot diagnose as ${NEEDS}: elsewhere there is no native library, and backend "auto" is js`,
  SCHEDULED,
].join("\n");

const urlOf = (entry: string) => new URL(`../../${entry}`, import.meta.url).href;
const sourceOf: Specifier = (entry) => urlOf(ENTRIES.get(entry)!);

async function bundle(
  folder: string,
  platform: "browser" | "deno",
  text: string,
): Promise<string> {
  const source = join(folder, "program.ts");
  await Deno.writeTextFile(source, text);
  return await bundleFile(folder, platform, source);
}

Deno.test("everything that the package exports is imported here", () => {
  const program = wholeProgram(sourceOf);
  assert(ENTRIES.size >= 5);
  for (const file of ENTRIES.values()) assertStringIncludes(program, `/${file}"`);
});

Deno.test({
  name: `a bundle of the whole package runs in a browser${
    chromium ? "" : " (skipped: no Chromium or Chrome)"
  }`,
  ignore: chromium === undefined,
  async fn() {
    await using folder = await temporaryFolder();
    const bundled = await bundle(folder.path, "browser", wholeProgram(sourceOf));
    const code = await Deno.readTextFile(bundled);
    const page = join(folder.path, "page.html");
    await Deno.writeTextFile(page, `<body><script type="module">${code}</script></body>`);
    const { out, err } = await run(chromium!, [
      ...[...HEADLESS, "--disable-gpu", `--user-data-dir=${folder.path}/profile`],
      ...["--virtual-time-budget=10000", "--dump-dom", `file://${page}`],
    ], { signal: AbortSignal.timeout(120_000) });
    assertEquals(out.match(/<\/script>(.*)<\/body>/s)?.[1].trim(), IN_A_BROWSER, err);
  },
});

Deno.test("a bundle for Deno does not look for a build beside itself", async () => {
  await using folder = await temporaryFolder();
  const bundled = join(folder.path, "a", "b");
  const build = join(folder.path, "kernels", "target", "release");
  for (const path of [bundled, build]) await Deno.mkdir(path, { recursive: true });
  await Deno.writeTextFile(join(build, builtName(Deno.build.os)), "not Descent's");
  const args = ["run", "-A", await bundle(bundled, "deno", program())];
  const { out, err } = await run(deno, args, { env: { DENO_DESCENT_KERNELS: "" } });
  assertEquals(out, "3.000 js\n", err);
});

const library = openLibrary();
const kernels = `kernels.${extensionOf(Deno.build.os)}`;
const setUp = `Deno.env.set("DENO_DESCENT_KERNELS", import.meta.dirname + "/${kernels}");`;

Deno.test({
  name: `a program can bundle the library, with two permissions${
    "reason" in library ? ` (skipped: ${library.reason})` : ""
  }`,
  ignore: "reason" in library,
  async fn() {
    await using folder = await temporaryFolder();
    const args = await writeProgram(folder.path);
    const { out, err } = await run(deno, ["run", "--no-prompt", ...args]);
    assertEquals(out, "3.000 cpu\n", err);
  },
});

/** Whether `deno compile` has what it needs: a runtime that it downloads once. */
const compiles = await (async () => {
  await using folder = await temporaryFolder();
  const [source, output] = [join(folder.path, "empty.ts"), join(folder.path, "empty")];
  await Deno.writeTextFile(source, "");
  const options = { signal: AbortSignal.timeout(120_000) };
  return (await run(deno, ["compile", "--output", output, source], options)).code === 0;
})();

const cannotCompile = "reason" in library
  ? library.reason
  : compiles
  ? undefined
  : "deno compile cannot download its runtime";

Deno.test({
  name: `a compiled program brings the library${
    cannotCompile === undefined ? "" : ` (skipped: ${cannotCompile})`
  }`,
  ignore: cannotCompile !== undefined,
  async fn() {
    await using folder = await temporaryFolder();
    const output = join(folder.path, "app");
    const args = await writeProgram(folder.path);
    const include = ["--include", join(folder.path, kernels), "--output", output];
    // In the compiled program the library has another path.
    const flags = ["--allow-ffi", ...args.slice(1)];
    const { code, err } = await run(deno, ["compile", ...include, ...flags]);
    assertEquals(code, 0, err);
    for (const file of [kernels, "main.ts"]) await Deno.remove(join(folder.path, file));
    const outcome = await run(Deno.build.os === "windows" ? `${output}.exe` : output, []);
    assertEquals(outcome.out, "3.000 cpu\n", outcome.err);
  },
});

/** Writes the program and its library; the arguments with which it runs. */
async function writeProgram(folder: string): Promise<string[]> {
  if ("reason" in library) throw new Error(library.reason);
  const [file, copy] = [join(folder, "main.ts"), join(folder, kernels)];
  await Deno.copyFile(library.path, copy);
  await Deno.writeTextFile(file, program(setUp));
  return [`--allow-ffi=${copy}`, "--allow-env=DENO_DESCENT_KERNELS", "--no-check", file];
}
