/** Other ways in: a compiled program, a browser and Node.js. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/join";
import { openLibrary } from "../../src/native/library.ts";
import { builtName, extensionOf } from "../../src/native/release.ts";
import { bundle as bundleFile, chromium, firstThatRuns, HEADLESS } from "../support/browser.ts";
import { ENTRIES, ROOT, run, temporaryFolder } from "./stage.ts";

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

/** The module of an entry, such as "./install". */
type Specifier = (entry: string) => string;

/** A program that imports everything, does what runs anywhere, and tries what needs Deno. */
const wholeProgram = (specifier: Specifier) => `
  ${
  [...ENTRIES.keys()].map((entry, i) => `import * as entry${i} from "${specifier(entry)}";`).join(
    "",
  )
}
  const entries = { ${
  [...ENTRIES.keys()].map((entry, i) => `${JSON.stringify(entry)}: entry${i}`).join(", ")
} };
  const { ".": descent, "./install": installer, "./doctor": doctor } = entries;
  const { "./gpu": gpu, "./schedules": schedules, "./webgpu": webgpu } = entries;
  const { BFloat16Array, decodeStateDict, encodeStateDict, SGD } = descent;
  const said = [];
  for (const array of [Float32Array, Float64Array, BFloat16Array]) {
    const params = [10, 100].map((length) => ({
      data: array.from({ length }, () => 1),
      grad: array.from({ length }, () => 0.5),
    }));
    const optimizer = new SGD(params, { lr: 0.125, momentum: 0.5 });
    optimizer.step();
    optimizer.step({ maxNorm: 100, gradScale: 1 });
    optimizer.loadStateDict(decodeStateDict(encodeStateDict(optimizer.stateDict())));
    await optimizer.stepAsync();
    const values = params.map(({ data }) => array.from(data).at(-1));
    said.push(optimizer.backend + " " + values.join(" "));
  }
  const w = { data: new Float32Array(1), grad: null };
  const optimizer = new SGD([w], { lr: 0.1 });
  for (const attempt of [
    () => descent.saveState("state", optimizer),
    () => descent.loadState("state"),
    () => gpu.openGpu(),
    () => webgpu.adoptDevice({}),
    () => new SGD([w], { lr: 0.1, backend: "cpu" }),
    () => installer.installKernels(),
    () => installer.uninstallKernels(),
    () => doctor.diagnose(),
  ]) {
    try {
      await attempt();
      said.push("nothing thrown");
    } catch (error) {
      said.push(error.message);
    }
  }
  said.push(schedules.stepLR({ stepSize: 1, gamma: 0.5 })(1, 1));
  const lines = said.join("\\n");
  globalThis.document?.body.append(lines);
  console.log(lines);`;

/** What it says: three steps from 1 go down by 0.0625, 0.09375 and 0.109375. */
const SAID = [
  "js 0.734375 0.734375",
  "js 0.734375 0.734375",
  "js 16188 16188", // the bits of 0.734375
  "Cannot save the state as it needs Deno: use encodeStateDict and write its bytes",
  "Cannot load the state as it needs Deno: read the bytes and use decodeStateDict",
  "Cannot open a GPU as the native library needs Deno: use the js backend here",
  "Cannot adopt the device as it must be a GPUDevice: current value is an object",
  'Cannot use backend "cpu" as the native library needs Deno: use the js backend here',
  "Cannot install the native library as it needs Deno: the js backend runs everywhere",
  "Cannot uninstall the native library as it needs Deno: the js backend runs everywhere",
  'Cannot diagnose as it needs Deno: elsewhere there is no native library, and backend "auto" is js',
  "0.5", // a schedule, one step after 1
].join("\n");

const urlOf = (entry: string) => new URL(`../../${entry}`, import.meta.url).href;
const sourceOf: Specifier = (entry) => urlOf(ENTRIES.get(entry)!);

// Where Node.js is not installed, a task of Deno may find Deno itself under its name.
const node = await firstThatRuns(["node"], "-e", "process.exit('Deno' in globalThis ? 1 : 0)");
const npm = node && await firstThatRuns(["npm"], "--version");

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
    assertEquals(out.match(/<\/script>(.*)<\/body>/s)?.[1].trim(), SAID, err);
  },
});

Deno.test({
  name: `a bundle of the whole package runs in Node.js${node ? "" : " (skipped: no node)"}`,
  ignore: node === undefined,
  async fn() {
    await using folder = await temporaryFolder();
    const bundled = await bundle(folder.path, "browser", wholeProgram(sourceOf));
    const { out, err } = await run(node!, [bundled]);
    assertEquals(out, `${SAID}\n`, err);
  },
});

/** What the programs say where there is no Deno. */
const PROGRAMS = [
  [
    "install.ts",
    "Cannot install the native library as it needs Deno: the js backend runs everywhere\n",
  ],
  [
    "doctor.ts",
    'Cannot diagnose as it needs Deno: elsewhere there is no native library, and backend "auto" ' +
    "is js\n",
  ],
];

for (const [entry, message] of PROGRAMS) {
  Deno.test({
    name: `${entry}, started in Node.js, says that it needs Deno${
      node ? "" : " (skipped: no node)"
    }`,
    ignore: node === undefined,
    async fn() {
      await using folder = await temporaryFolder();
      for (const platform of ["browser", "deno"]) {
        const program = join(folder.path, `${platform}.mjs`);
        const options = ["--quiet", "--platform", platform, "--output", program];
        const { code, err } = await run(deno, ["bundle", ...options, entry], { cwd: ROOT });
        assertEquals(code, 0, err);
        const link = join(folder.path, `${platform}-link.mjs`);
        await Deno.symlink(program, link);
        for (const file of [program, link]) {
          assertEquals(await run(node!, [file]), { code: 1, out: "", err: message });
        }
        const importer = join(folder.path, "importer.mjs");
        await Deno.writeTextFile(importer, `import "${program}"; console.log("imported");`);
        assertEquals(await run(node!, [importer]), { code: 0, out: "imported\n", err: "" });
      }
    },
  });
}

Deno.test({
  name: `the tarball of deno pack runs in Node.js, every entry of it${
    npm ? "" : " (skipped: no node or npm)"
  }`,
  ignore: npm === undefined,
  async fn() {
    await using folder = await temporaryFolder();
    const [tarball, project] = [join(folder.path, "sgd.tgz"), join(folder.path, "project")];
    const packed = await run(deno, ["pack", "--allow-dirty", "--output", tarball], { cwd: ROOT });
    assertEquals(packed.code, 0, packed.err);
    await Deno.mkdir(project);
    await Deno.writeTextFile(join(project, "package.json"), '{ "type": "module" }');
    const quiet = ["--offline", "--no-audit", "--no-fund", "--ignore-scripts"];
    const installed = await run(npm!, ["install", ...quiet, tarball], {
      cwd: project,
      env: { npm_config_cache: join(folder.path, "npm"), npm_config_update_notifier: "false" },
    });
    assertEquals(installed.code, 0, installed.err);
    const name = "@descent/sgd";
    const text = wholeProgram((entry) => entry.replace(".", name));
    await Deno.writeTextFile(join(project, "main.js"), text);
    const { out, err } = await run(node!, ["main.js"], { cwd: project });
    assertEquals(out, `${SAID}\n`, err);
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
