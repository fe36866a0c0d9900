/** The native library in Node.js and Bun: the bits of Deno, and memory that lives as long as a step. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { saveState, SGD } from "@descent/sgd";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { openLibrary } from "../../src/native/library.ts";
import { run, temporaryFolder } from "../publish/stage.ts";
import type { Outcome } from "../publish/stage.ts";
import { cpuMissing } from "../support/backends.ts";
import { bundle, CALLERS, linkKoffi, modulesOf, PACKAGES, runIn } from "../support/runtimes.ts";
import { RUNTIMES, testOnRuntimes } from "../support/runtimes.ts";
import type { Runtime, RuntimeOrReason } from "../support/runtimes.ts";
import { REFUSALS } from "./lifetime/refusals.ts";

const hasKoffi = await modulesOf("koffi") !== null;

function test(
  runtimes: readonly RuntimeOrReason[],
  name: string,
  body: (runtime: Runtime) => Promise<void>,
): void {
  const missing = hasKoffi ? null : `npm cannot fetch ${PACKAGES.koffi}`;
  testOnRuntimes(runtimes, name, body, cpuMissing ?? missing);
}

const pathOf = (name: string) => fromFileUrl(new URL(name, import.meta.url));

/** The environment of a program that is to find this repository's library. */
function environment(threads = 2): Record<string, string> {
  const library = openLibrary();
  return {
    DENO_DESCENT_KERNELS: "reason" in library ? "" : library.path,
    DESCENT_THREADS: String(threads),
  };
}

type Argument = string | number;

/** A folder with a bundled program, and koffi beside it. */
async function prepare(program: string) {
  const folder = await temporaryFolder();
  const file = join(folder.path, "program.mjs");
  await bundle(pathOf(program), file);
  await linkKoffi(folder.path);
  const start = (runtime: Runtime, args: readonly Argument[], threads = 2, flags: string[] = []) =>
    runIn(runtime, [...flags, file, ...args.map(String)], { env: environment(threads) });
  return { start, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

test(RUNTIMES, "cpu has the bits of Deno, and auto takes it", async (runtime) => {
  await using program = await prepare("bits.ts");
  await using folder = await temporaryFolder();
  const file = join(folder.path, "state");
  await saveFloat16(file);
  const expected = (await bitsInDeno(file)).split("\n");
  assert(expected.length > 15 && expected.every((line) => !line.includes(" js ")));
  const { out, err } = await program.start(runtime, [file]);
  const lines = out.split("\n");
  const isFloat16 = (line: string) => line.startsWith("float16");
  assertEquals(lines.filter((it) => !isFloat16(it)), expected.filter((it) => !isFloat16(it)), err);
  const last = lines.find(isFloat16);
  if (runtime.hasFloat16) assertEquals(last, expected.find(isFloat16));
  else assertMatch(last!, /momentum_buffer" is float16, and this runtime has no Float16Array/);
});

async function saveFloat16(path: string): Promise<void> {
  const w = { data: new Float16Array(10), grad: new Float16Array(10) };
  const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9, rounding: "torch" });
  optimizer.step();
  await saveState(path, optimizer);
}

async function bitsInDeno(file: string): Promise<string> {
  const args = ["run", "-A", "--no-check", pathOf("bits.ts"), file];
  const { code, out, err } = await run(Deno.execPath(), args, { env: environment() });
  assertEquals(code, 0, err);
  return out;
}

test(CALLERS, "a step lets the event loop run where the runtime can", async (runtime) => {
  await using program = await prepare("beside.ts");
  const { out, err } = await program.start(runtime, []);
  const { own, ownSums, ...beside } = JSON.parse(out || err) as Record<string, number>;
  assertEquals([own, ownSums], [0, 0], "memory that could be transferred is stepped in one piece");
  for (const [name, count] of Object.entries(beside)) {
    if (runtime.caller === "koffi") assert(count > 0, `${name}: no timer ran while steps did`);
    else assertEquals(count, 0, name);
  }
});

/** Node.js has `transfer` from 22 on, which frees memory at once. */
const WITH_TRANSFER = RUNTIMES.filter(({ name }) => name !== "Node.js 24");

for (const [which, refusal] of Object.entries(REFUSALS)) {
  test(WITH_TRANSFER, `the ${which} can be transferred in the time of a step`, async (runtime) => {
    if (which === "master weight" && !runtime.hasFloat16) return;
    await using program = await prepare("lifetime/transfer.ts");
    for (const elements of [1_000, 4_000_000]) {
      const { code, out, err } = await program.start(runtime, [which, elements]);
      if (runtime.caller === "koffi" && isOwn(which)) {
        assertMatch(err, /transferList|could not be cloned/); // it is on shared memory
        continue;
      }
      assertEquals(code, 0, err);
      assertMatch(out, refusal);
    }
  });
}

/** Whether the optimizer has made an array. */
function isOwn(which: string): boolean {
  return which === "momentum buffer" || which === "master weight";
}

test(CALLERS, "an uncaught error ends a program that steps as any other", async (runtime) => {
  await using program = await prepare("lifetime/uncaught.ts");
  for (const how of ["at top level", "in a timer", "as a rejection"]) {
    const expected = await program.start(runtime, [how, "none"], 1);
    assertEquals([expected.code, expected.out], [1, "stepping\n"], expected.err);
    for (const memory of ["own", "shared", "wasm"]) {
      for (const [elements, threads] of [[1_000, 1], [4_000_000, 2]]) {
        const ending = await program.start(runtime, [how, elements, memory], threads);
        assertEquals(withoutCode(ending), withoutCode(expected), `${how}, ${memory}`);
      }
    }
  }
});

/** How a program ended, without the lines of the bundle that a runtime shows. */
function withoutCode({ code, out, err }: Outcome) {
  return { code, out, error: err.match(/^.*(Syntax|Range)Error.*$/m)?.[0].replace(/^error: /, "") };
}

for (const how of ["terminate", "exit", "throw"]) {
  test(CALLERS, `${how} ends a worker that steps, and not the program`, async (runtime) => {
    await using program = await prepare("lifetime/threads.ts");
    for (const memory of ["own", "shared"]) {
      for (const [elements, threads] of [[1_000, 1], [4_000_000, 2]]) {
        const { code, out, err } = await program.start(runtime, [how, elements, memory], threads);
        assertEquals([code, out], [0, `main lives, ${how === "throw" ? 3 : 0} errors\n`], err);
      }
    }
  });
}

Deno.test({
  name: `without koffi, Node.js says what is missing${hasNode() ? "" : " (skipped: no old node)"}`,
  ignore: !hasNode(),
  async fn() {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "program.mjs");
    await bundle(pathOf("beside.ts"), file);
    const node = RUNTIMES.find((it): it is Runtime => "caller" in it && it.caller === "koffi")!;
    const { err } = await runIn(node, [file], { env: environment() });
    assertStringIncludes(err, "calls native code with koffi only: run npm install koffi, or use");
  },
});

/** Bun has no permissions. */
const WITH_PERMISSIONS = CALLERS.filter(({ name }) => name !== "Bun");

test(
  WITH_PERMISSIONS,
  "without permission for native code, auto is js and cpu an error",
  async (runtime) => {
    await using program = await prepare("permitted.ts");
    const flag = await permissionFlag(runtime);
    const { out, err } = await program.start(runtime, [], 2, [flag, "--allow-fs-read=*"]);
    const [auto, cpu] = out.split("\n");
    assertEquals(auto, "js", err);
    const needed = runtime.caller === "koffi" ? "--allow-addons" : "--allow-ffi";
    assertMatch(cpu, new RegExp(`^Cannot use .* is not allowed: run with ${needed}$`));
  },
);

/** The flag of the permission model, which has changed its name. */
async function permissionFlag({ program }: Runtime): Promise<string> {
  const { code } = await run(program, ["--permission", "-e", "0"]);
  return code === 0 ? "--permission" : "--experimental-permission";
}

function hasNode(): boolean {
  return RUNTIMES.some((runtime) => "caller" in runtime && runtime.caller === "koffi");
}
