/** The types of the entry need no types of WebGPU, and fit those that a program has. */

import { assert, assertEquals } from "@std/assert";
import { ROOT, run, temporaryFolder } from "../publish/stage.ts";

/** What `deno check` says of a program where the language's own types are all there is. */
async function check(program: string): Promise<{ code: number; err: string }> {
  await using folder = await temporaryFolder();
  const [config, file] = ["deno.json", "program.ts"].map((name) => `${folder.path}/${name}`);
  await Deno.writeTextFile(config, JSON.stringify({ compilerOptions: { lib: ["esnext"] } }));
  await Deno.writeTextFile(file, program);
  return await run(Deno.execPath(), ["check", "--quiet", "--config", config, file]);
}

const entry = new URL(`file://${ROOT}webgpu.ts`);

Deno.test("the types of the WebGPU entry need no types of WebGPU or of a browser", async () => {
  const { code, err } = await check(`
    import { adoptDevice } from "${entry}";
    import type { WebGpuDevice, WebGpuTensor } from "${entry}";
    declare const device: WebGpuDevice;
    export const tensor: WebGpuTensor = adoptDevice(device).tensor(3);
  `);
  assertEquals(code, 0, err);
  const other = await check("export declare const device: GPUDevice;");
  assert(other.code !== 0, "there are types of WebGPU");
});

Deno.test("a tensor has the type of the buffer that the device has", async () => {
  const { code, err } = await check(`
    import { adoptDevice } from "${entry}";
    interface OwnBuffer { readonly size: number; readonly usage: number; readonly own: true }
    interface OwnDevice {
      readonly features: ReadonlySet<string>;
      readonly limits: { readonly maxBufferSize: number };
      readonly lost: Promise<{ readonly message: string }>;
      readonly queue: object;
      createBuffer(descriptor: { size: number; usage: number; label?: string }): OwnBuffer;
    }
    declare const device: OwnDevice;
    const gpu = adoptDevice(device);
    export const own: OwnBuffer = gpu.tensor(3).buffer;
    export const half = gpu.tensor(own, { dtype: "float16", offset: 2 });
    export const values: Promise<Float16Array> = half.read();
  `);
  assertEquals(code, 0, err);
});
