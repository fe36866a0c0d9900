/** GPUs that are not there, are lost or forgotten, and processes that end in the midst of work. */

import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import { GpuUnavailableError, openGpu } from "@descent/sgd/gpu";
import { nativeOf } from "../../src/gpu/gpu.ts";
import { absence, DOUBLE, gpuTest, values } from "./gpu.ts";

const MOD = new URL("../../mod.ts", import.meta.url);
const GPU = new URL("../../gpu.ts", import.meta.url);

/** Runs a program in a process of its own. */
async function run(program: string, { env = {}, flags = [] as string[] } = {}) {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--allow-all", ...flags, "-"],
    env,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = process.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const { code, signal, stdout, stderr } = await process.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, signal, out: out.trim(), err };
}

/** A program with steps of many milliseconds in the queue. */
const BUSY = `
  import { SGD } from "${MOD}";
  import { openGpu } from "${GPU}";
  const gpu = openGpu();
  const w = gpu.tensor(2_000_000);
  const g = gpu.tensor(2_000_000);
  const optimizer = new SGD([{ data: w, grad: g }], { lr: 0.1, momentum: 0.9 });
  for (let i = 0; i < 20; i++) optimizer.step();
`;

const ENDINGS = [
  ["Deno.exit in the midst of steps", "Deno.exit(3);", 3, ""],
  ["Deno.exit while a read waits", "w.read(); setTimeout(() => Deno.exit(4), 3);", 4, ""],
  ["a forgotten dispose", "console.log('done');", 0, "done"],
  ["a dispose before the work is done", "gpu[Symbol.dispose](); console.log('done');", 0, "done"],
  ["a read that nobody awaits", "w.read().then((a) => console.log(a.length));", 0, "2000000"],
  ["an error that nobody catches", "throw new Error('stop');", 1, ""],
] as const;

for (const [name, ending, code, out] of ENDINGS) {
  Deno.test({
    name: `gpu: a process ends well after ${name}${
      absence === undefined ? "" : ` (skipped: ${absence})`
    }`,
    ignore: absence !== undefined,
    fn: async () => {
      const result = await run(BUSY + ending);
      assertEquals([result.code, result.signal, result.out], [code, null, out], result.err);
    },
  });
}

Deno.test({
  name: `gpu: forgotten tensors give their memory back${
    absence === undefined ? "" : ` (skipped: ${absence})`
  }`,
  ignore: absence !== undefined,
  async fn() {
    const program = `
      import { openGpu } from "${GPU}";
      using gpu = openGpu();
      for (let i = 0; i < 300; i++) {
        gpu.tensor(1 << 20);
        if (i % 20 === 19) {
          gc();
          await new Promise((resolve) => setTimeout(resolve));
        }
      }
      console.log(gpu.memory.allocated <= 256 << 20);`;
    const { out, err } = await run(program, { flags: ["--v8-flags=--expose-gc"] });
    assertEquals(out, "true", err); // without it, they would take 1200 MiB
  },
});

const OPEN = `
  import { GpuUnavailableError, openGpu } from "${GPU}";
  try { openGpu(); } catch (e) { console.log(e instanceof GpuUnavailableError, e.message); }`;

const missing = absence ?? (Deno.build.os === "linux" ? undefined : "only on Linux");

Deno.test({
  name: "gpu: without any adapter the error says what to install" +
    (missing === undefined ? "" : ` (skipped: ${missing})`),
  ignore: missing !== undefined,
  async fn() {
    const none = { VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" };
    assertMatch((await run(OPEN, { env: none })).out, /^true .*no adapter.*mesa-vulkan-drivers/);
  },
});

Deno.test("gpu: without the library the error says what is missing", async () => {
  const result = await run(OPEN, { env: { DENO_DESCENT_KERNELS: "/nonexistent" } });
  assertMatch(result.out, /^true Cannot open a GPU as \/nonexistent does not exist/, result.err);
});

gpuTest("an adapter that is not there is an error that names those that are", (gpu) => {
  const { message } = assertThrows(() => openGpu({ adapter: "Voodoo 2" }), GpuUnavailableError);
  assert(message.includes(gpu.info.name), message);
  using same = openGpu({ adapter: gpu.info.name.toUpperCase(), powerPreference: "low-power" });
  assertEquals(same.info.name, gpu.info.name);
});

Deno.test("gpu: refuses options that do not exist or are of another type", () => {
  const open = openGpu as (options: unknown) => unknown;
  const wrong = [null, 5, { adapter: 5 }, { powerPreference: "high" }, { adaptor: "x" }];
  for (const options of wrong) assertThrows(() => open(options), TypeError);
});

gpuTest("a GPU reports its properties", ({ info }) => {
  assert(info.name !== "" && info.backend !== "" && info.driver !== "");
  assert(["discrete", "integrated", "virtual", "cpu", "other"].includes(info.type));
  const { maxBindingBytes, maxBindings, maxWorkgroups, offsetAlignment } = info.limits;
  assert(maxBindingBytes >= 1 << 27 && maxBindings >= 8 && maxWorkgroups >= 65535);
  assert(offsetAlignment >= 4 && offsetAlignment <= 256);
});

gpuTest("a lost device is an error at every use, and another one can be opened", async (gpu) => {
  const param = { data: gpu.tensor(values(4)), grad: gpu.tensor(4) };
  const optimizer = new SGD([param], { lr: 0.1, momentum: 0.9 });
  const kernel = gpu.kernel({ code: DOUBLE, entryPoint: "main" });
  optimizer.step();
  nativeOf(gpu).lose();
  const uses = [
    () => optimizer.step(),
    () => gpu.tensor(4),
    () => gpu.tensor(values(4)),
    () => param.data.write(values(4)),
    () => param.data.readSync(),
    () => kernel.dispatch([param.data, param.grad], [1]),
    () => gpu.kernel({ code: DOUBLE, entryPoint: "main" }),
    () => optimizer.zeroGrad(),
  ];
  for (const use of uses) assertThrows(use, Error, "device is lost");
  await assertRejects(() => param.data.read(), Error, "device is lost");
  await assertRejects(() => gpu.synchronize(), Error, "device is lost");
  using other = openGpu();
  assertEquals(other.tensor(values(4)).readSync(), values(4));
});

gpuTest("a device that is lost while a read waits fails the read", async (gpu) => {
  const tensor = gpu.tensor(1 << 22);
  const kernel = gpu.kernel({ code: DOUBLE, entryPoint: "main" });
  for (let i = 0; i < 20; i++) kernel.dispatch([tensor, tensor], [65535]);
  const read = tensor.read();
  nativeOf(gpu).lose();
  await assertRejects(() => read, Error);
});

gpuTest("a step of two GPUs is queued on none if one is lost or closed", async () => {
  for (const end of ["lost", "closed"]) {
    const [kept, other] = [openGpu(), openGpu()];
    const params = [kept, other].map((gpu) => ({
      data: gpu.tensor(values(4)),
      grad: gpu.tensor(values(4)),
    }));
    const optimizer = new SGD(params, { lr: 1 });
    optimizer.step();
    const before = await params[0].data.read();
    if (end === "closed") other[Symbol.dispose]();
    else {
      nativeOf(other).lose();
      await assertRejects(() => other.synchronize(), Error);
    }
    assertThrows(() => optimizer.step(), Error);
    assertThrows(() => optimizer.zeroGrad(), Error);
    assertEquals(await params[0].data.read(), before);
    assertEquals(await params[0].grad.read(), values(4));
    kept[Symbol.dispose]();
    if (end === "lost") other[Symbol.dispose]();
  }
});
