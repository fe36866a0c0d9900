/** Other ways in: a compiled program, a browser and Node.js. */

import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { openLibrary } from "../../src/native/library.ts";
import { builtName, extensionOf } from "../../src/native/release.ts";
import { ROOT, run, temporaryFolder } from "./stage.ts";

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

async function firstThatRuns(programs: readonly string[], ...args: string[]) {
  for (const program of programs) {
    const { code } = await run(program, args).catch(() => ({ code: 1 }));
    if (code === 0) return program;
  }
  return undefined;
}

const chromium = await firstThatRuns([
  ...["chromium", "chromium-browser", "google-chrome", "chrome"],
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe",
], "--version");
const node = await firstThatRuns(["node"], "--version");

async function bundle(folder: string, platform: "browser" | "deno"): Promise<string> {
  const [source, output] = [join(folder, "program.ts"), join(folder, "program.mjs")];
  await Deno.writeTextFile(source, program());
  const { code, err } = await run(deno, [
    ...["bundle", "--quiet", "--platform", platform, "--output", output, source],
  ], { cwd: ROOT });
  assertEquals(code, 0, err);
  return output;
}

Deno.test({
  name: `a bundle runs in a browser${chromium ? "" : " (skipped: no Chromium or Chrome)"}`,
  ignore: chromium === undefined,
  async fn() {
    await using folder = await temporaryFolder();
    const code = await Deno.readTextFile(await bundle(folder.path, "browser"));
    const page = join(folder.path, "page.html");
    await Deno.writeTextFile(page, `<body><script type="module">${code}</script></body>`);
    const { out, err } = await run(chromium!, [
      ...["--headless", "--no-sandbox", "--disable-gpu", `--user-data-dir=${folder.path}/profile`],
      ...["--virtual-time-budget=10000", "--dump-dom", `file://${page}`],
    ], { signal: AbortSignal.timeout(120_000) });
    assertEquals(out.match(/<\/script>(.*)<\/body>/s)?.[1].trim(), "3.000 js", err);
  },
});

Deno.test({
  name: `a bundle runs in Node.js${node ? "" : " (skipped: no node)"}`,
  ignore: node === undefined,
  async fn() {
    await using folder = await temporaryFolder();
    const { out, err } = await run(node!, [await bundle(folder.path, "browser")]);
    assertEquals(out, "3.000 js\n", err);
  },
});

Deno.test("a bundle for Deno does not look for a build beside itself", async () => {
  await using folder = await temporaryFolder();
  const bundled = join(folder.path, "a", "b");
  const build = join(folder.path, "kernels", "target", "release");
  for (const path of [bundled, build]) await Deno.mkdir(path, { recursive: true });
  await Deno.writeTextFile(join(build, builtName(Deno.build.os)), "not Descent's");
  const args = ["run", "-A", await bundle(bundled, "deno")];
  const { out, err } = await run(deno, args, { env: { DENO_DESCENT_KERNELS: "" } });
  assertEquals(out, "3.000 js\n", err);
});

const library = openLibrary();
const kernels = `kernels.${extensionOf(Deno.build.os)}`;
const setUp = `Deno.env.set("DENO_DESCENT_KERNELS", import.meta.dirname + "/${kernels}");`;

Deno.test({
  name: "a program can bring its own library, with two permissions",
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

Deno.test({
  name: `a compiled program brings the library${
    compiles ? "" : " (skipped: deno compile cannot download its runtime)"
  }`,
  ignore: !compiles || "reason" in library,
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
