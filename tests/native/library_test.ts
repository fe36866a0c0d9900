/** Finding, loading and refusing the native library, each in a process with its own permissions. */

import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { openLibrary, readText, unwrap } from "../../src/native/library.ts";
import { cpuMissing } from "../support/backends.ts";
import { CALL_ROW } from "../../src/plan/layout.ts";
import { layout } from "../support/layout.ts";

const root = fromFileUrl(new URL("../../", import.meta.url));
const library = openLibrary();
const path = "path" in library ? library.path : "";

interface Run {
  readonly backend?: "auto" | "cpu";
  readonly permissions?: readonly string[];
  readonly env?: Record<string, string>;
  readonly cwd?: string;
}

/** The backend that a new process gets, or the error that it gets instead. */
async function choose(
  { backend = "auto", permissions = [], env = {}, cwd = root }: Run,
): Promise<string> {
  const code = `import { SGD } from "${new URL("../../mod.ts", import.meta.url)}";
    const w = { data: new Float32Array(1), grad: new Float32Array(1) };
    try {
      const optimizer = new SGD([w], { lr: 1, backend: "${backend}" });
      optimizer.step();
      console.log(optimizer.backend);
    } catch (error) { console.log(String(error)); }`;
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, code);
    const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-check", "--no-prompt", "--config", `${root}deno.json`],
        ...permissions,
        file,
      ],
      cwd,
      env: { DENO_DESCENT_KERNELS: "", ...env },
      signal: AbortSignal.timeout(60_000),
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout).trim();
  } finally {
    await Deno.remove(file);
  }
}

Deno.test("a library that has been built here is the one that the tests use", async () => {
  const folder = new URL("../../kernels/target/release/", import.meta.url);
  const built = await Array.fromAsync(Deno.readDir(folder)).catch(() => []);
  if (built.some(({ name }) => /descent_kernels\.(so|dylib|dll)$/.test(name))) {
    assertEquals(cpuMissing, null);
  }
});

const cases: [name: string, run: Run, expected: string | RegExp][] = [
  ["without permissions auto is js", {}, "js"],
  [
    "with --allow-ffi=<the file> alone auto is cpu",
    { permissions: [`--allow-ffi=${path}`] },
    "cpu",
  ],
  ["with -A auto is cpu", { permissions: ["-A"] }, "cpu"],
  ["with ffi for another file auto is js", { permissions: ["--allow-ffi=/nowhere"] }, "js"],
  [
    "an explicit cpu without permission names the flag to add",
    { backend: "cpu" },
    `Error: Cannot use backend "cpu" as loading ${path} is not allowed: run with --allow-ffi=${path}`,
  ],
  [
    "a chosen file that is missing is an error for auto too",
    { permissions: ["-A"], env: { DENO_DESCENT_KERNELS: "/nowhere/lib.so" } },
    'Error: Cannot use backend "auto" as /nowhere/lib.so does not exist: ' +
    "DENO_DESCENT_KERNELS names it",
  ],
  [
    "a chosen file that is missing is an error for cpu",
    { backend: "cpu", permissions: ["-A"], env: { DENO_DESCENT_KERNELS: "/nowhere/lib.so" } },
    /\/nowhere\/lib\.so does not exist/,
  ],
  [
    "a missing file is noticed without permission to read",
    {
      backend: "cpu",
      permissions: ["--allow-ffi", "--allow-env"],
      env: { DENO_DESCENT_KERNELS: "/nowhere/lib.so" },
    },
    /\/nowhere\/lib\.so does not exist/,
  ],
  [
    "a file that is no library is an error for auto too",
    { permissions: ["-A"], env: { DENO_DESCENT_KERNELS: fromFileUrl(import.meta.url) } },
    /Error: Cannot load .*library_test\.ts as a native library/,
  ],
];

for (const [name, run, expected] of cases) {
  Deno.test({
    name: cpuMissing === null ? name : `${name} (skipped: ${cpuMissing})`,
    ignore: cpuMissing !== null,
  }, async () => {
    const result = await choose(run);
    if (typeof expected === "string") assertEquals(result, expected);
    else assertMatch(result, expected);
  });
}

/** A folder with the library in it, whole and spoiled, and what is not a library. */
async function makeFolder(): Promise<string> {
  const folder = await Deno.realPath(await Deno.makeTempDir());
  const bytes = await Deno.readFile(path);
  await Deno.writeFile(`${folder}/whole.so`, bytes);
  await Deno.writeFile(`${folder}/short.so`, bytes.subarray(0, -1));
  await Deno.writeFile(`${folder}/half.so`, bytes.subarray(0, bytes.length / 2));
  await Deno.writeFile(`${folder}/header.so`, bytes.subarray(0, 40));
  await Deno.writeFile(`${folder}/empty.so`, new Uint8Array());
  await Deno.mkdir(`${folder}/folder.so`);
  if (Deno.build.os === "windows") return folder;
  await Deno.symlink("whole.so", `${folder}/link.so`);
  await Deno.symlink("nothing.so", `${folder}/dangling.so`);
  await Deno.symlink("loop.so", `${folder}/loop.so`);
  await Deno.symlink("/dev/zero", `${folder}/device.so`);
  await new Deno.Command("mkfifo", { args: [`${folder}/pipe.so`] }).output();
  // In a process of its own, as the tests may not listen at a path.
  const listen = `const [folder] = Deno.args;
    const socket = Deno.listen({ transport: "unix", path: folder + "/socket" });
    Deno.renameSync(folder + "/socket", folder + "/socket.so"); // its old name is removed with it
    socket.close();`;
  await new Deno.Command(Deno.execPath(), { args: ["eval", listen, folder] }).output();
  return folder;
}

const names = (what: string) => (folder: string, name: string) =>
  `as ${folder}/${name} ${what}: DENO_DESCENT_KERNELS names it`;
const isDamaged = (folder: string, name: string) =>
  `Cannot load ${folder}/${name} as a native library of Descent: the file is damaged, as it must have`;
const CHOSEN: [name: string, expected: (folder: string, name: string) => string][] = [
  ["whole.so", () => "cpu"],
  ["./whole.so", () => "cpu"],
  ["folder.so/../whole.so", () => "cpu"],
  ["link.so", () => "cpu"],
  ["typo.so", names("does not exist")],
  ["whole.so/typo.so", names("does not exist")],
  ["dangling.so", names("does not exist")],
  ["loop.so", (folder, name) => `as ${folder}/${name} cannot be looked at: `],
  ["folder.so", names("is a folder, not a file")],
  ["pipe.so", names("is a pipe, not a file")],
  ["socket.so", names("is a socket, not a file")],
  ["device.so", names("is a device, not a file")],
  ["short.so", isDamaged],
  ["half.so", isDamaged],
  ["header.so", isDamaged],
  ["empty.so", (folder, name) => `Cannot load ${folder}/${name} as a native library of Descent: `],
];

const filesMissing = cpuMissing ?? (Deno.build.os === "windows" ? "not on Windows" : null);

Deno.test({
  name: "what DENO_DESCENT_KERNELS names is opened, or is an error that names it" +
    (filesMissing === null ? "" : ` (skipped: ${filesMissing})`),
  ignore: filesMissing !== null,
  async fn(test) {
    const folder = await makeFolder();
    for (const [name, expected] of CHOSEN) {
      for (const backend of ["auto", "cpu"] as const) {
        for (const prefix of ["", `${folder}/`]) {
          await test.step(`${prefix && "the full path of "}${name} for ${backend}`, async () => {
            const env = { DENO_DESCENT_KERNELS: prefix + name };
            const result = await choose({ backend, permissions: ["-A"], env, cwd: folder });
            assertStringIncludes(result, expected(folder, name));
          });
        }
      }
    }
    await Deno.remove(folder, { recursive: true });
  },
});

const compilerMissing = filesMissing ?? (await hasCompiler() ? null : "no C compiler");

Deno.test({
  name: "a library with another interface number is refused by that number" +
    (compilerMissing === null ? "" : ` (skipped: ${compilerMissing})`),
  ignore: compilerMissing !== null,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const [source, output] = [`${folder}/old.c`, `${folder}/old.so`];
      await Deno.writeTextFile(source, "unsigned descent_abi(void) { return 4000000000u; }\n");
      await new Deno.Command("cc", { args: ["-shared", "-fPIC", "-o", output, source] }).output();
      const env = { DENO_DESCENT_KERNELS: output };
      for (const backend of ["auto", "cpu"] as const) {
        const result = await choose({ backend, permissions: ["-A"], env });
        assertStringIncludes(result, "current number is 4000000000");
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: `a panic in the library arrives as an error, and the library keeps working${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  async fn() {
    if (!("symbols" in library)) throw new Error(library.reason);
    const { symbols } = library;
    await assertRejects(
      // deno-lint-ignore require-await
      async () => unwrap(symbols, symbols.descent_panic()),
      Error,
      "panic in the native library: asked for by descent_panic",
    );
    assertEquals(symbols.descent_open(), 0);
  },
});

Deno.test({
  name: `both sides of the boundary have the same tables, numbers and orders of summation${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  fn() {
    if (!("symbols" in library)) throw new Error(library.reason);
    const { descent_layout } = library.symbols;
    const text = readText((out, capacity) => descent_layout(out, capacity));
    assertEquals(JSON.parse(text), layout());
  },
});

Deno.test({
  name: `tables that make no sense are refused before anything is read${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  fn() {
    if (!("symbols" in library)) throw new Error(library.reason);
    const { descent_step, descent_address } = library.symbols;
    const w = new Float64Array(2);
    void w.buffer;
    const at = BigInt(descent_address(w));
    const groups = new Float64Array([1, 0, 0, 0, 0, 1]);
    const later = (dtype: bigint, group: bigint) => dtype | 2n << 24n | group << 32n;
    const rows: [string, bigint[]][] = [
      ["null data", [0n, at, 0n, 0n, 2n, later(1n, 0n)]],
      ["unaligned data", [at + 1n, at, 0n, 0n, 1n, later(1n, 0n)]],
      ["an unknown dtype", [at, at, 0n, 0n, 2n, later(9n, 0n)]],
      ["a group that is not there", [at, at, 0n, 0n, 2n, later(1n, 1n)]],
    ];
    for (const [what, row] of rows) {
      assertEquals(descent_step(new BigUint64Array(row), 1, 0, 1, groups, 1, null), 2, what);
    }
    assertEquals(w, new Float64Array(2));
  },
});

Deno.test({
  name: `rows that a table does not have are refused, whatever lies behind it${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  fn() {
    if (!("symbols" in library)) throw new Error(library.reason);
    const { symbols } = library;
    const w = new Float64Array([1, 2]);
    void w.buffer;
    const at = BigInt(symbols.descent_address(w));
    const later = 1n | 2n << 24n;
    const row = [at, at, 0n, 0n, 2n, later];
    const rows = new BigUint64Array([...row, ...row]);
    const matrices = new BigUint64Array([...row, at, 1n, 2n, ...row, at, 1n, 2n]);
    const groups = new Float64Array([1, 0, 0, 0, 0, 1]);
    const call = new Float64Array([1, Infinity, 0, 0, 0, 0]);
    const sums = new Float64Array(2);
    const calls: Record<string, () => number> = {
      step: () => symbols.descent_step(rows, 1, 0, 2, groups, 1, null),
      "step with options": () => symbols.descent_step_with(rows, 1, 0, 2, groups, 1, call),
      "sparse step": () => symbols.descent_sparse_step(matrices, 1, 1, 2, groups, 1),
      norm: () => symbols.descent_norm(rows, 1, 1, 2, 1, sums, 1, null, 0, 2),
      prepare: () => symbols.descent_prepare(rows, 1, 0, 2, groups, 1, 1, Infinity),
      "no row, behind its end": () => symbols.descent_step(rows, 1, 2, 2, groups, 1, null),
    };
    for (const [name, refused] of Object.entries(calls)) {
      const text = "row 1 as the table has 1 rows";
      assertThrows(() => unwrap(symbols, refused()), Error, text, name);
    }
    assertEquals([...w, ...sums], [1, 2, 0, 0]);
  },
});

Deno.test({
  name: `an asynchronous call refuses rows that a table does not have${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  async fn() {
    if (!("symbols" in library)) throw new Error(library.reason);
    const { symbols, pinned } = library;
    const rows = new BigUint64Array(6);
    const groups = new Float64Array(6);
    const tables = [groups, 1, new Float64Array(CALL_ROW)] as const;
    const calls = [
      () => pinned.stepAll([rows, 1, 0, 2, ...tables, rows, 0, 0, 0], []),
      () => pinned.stepAll([rows, 1, 0, 1, ...tables, rows, 0, 0, 1], []),
      () => pinned.norm([rows, 1, 0, 2, 1, new Float64Array(2), 1, null, 0, 2], []),
    ];
    for (const call of calls) {
      await assertRejects(async () => unwrap(symbols, await call()), Error, "as the table has");
    }
    unwrap(symbols, await pinned.stepAll([rows, 1, 0, 1, ...tables, rows, 0, 0, 0], []));
  },
});

async function hasCompiler(): Promise<boolean> {
  try {
    return (await new Deno.Command("cc", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}
