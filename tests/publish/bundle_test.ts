/** Bundles of the npm package run, without what they leave out. */

import { assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { BFloat16Array, encodeStateDict, SGD } from "@descent/sgd";
import { bundleProgram, installPackage } from "./bundles.ts";
import { run, temporaryFolder } from "./stage.ts";

const OPTIONS = `{
  lr: 0.5, momentum: 0.9, dampening: 0, weightDecay: 0, nesterov: false, maximize: false,
  backend: globalThis.backend,
}`;

/** What a program prints that is bundled for browsers; it has the bytes of a state dict. */
async function runBundled(program: string): Promise<string[]> {
  await using folder = await temporaryFolder();
  await installPackage(folder.path);
  const bundle = await bundleProgram(folder.path, program);
  const data = BFloat16Array.of(1, 2);
  const optimizer = new SGD([{ data, grad: null, name: "w" }], { lr: 1 });
  const bytes = encodeStateDict(optimizer.stateDict({ parameters: true }));
  await Deno.writeFile(join(folder.path, "state"), bytes);
  const args = ["run", "--quiet", "--allow-read", bundle];
  const { code, out, err } = await run(Deno.execPath(), args, { cwd: folder.path });
  assertEquals([code, err], [0, ""]);
  return out.trimEnd().split("\n");
}

Deno.test("a bundle with sgd alone steps, and says that it has no native library", async () => {
  const lines = await runBundled(`
    import { sgd } from "@descent/sgd";
    const w = new Float32Array([1, 2]);
    const step = () => sgd([w], [new Float32Array([1, -1])], [null], ${OPTIONS});
    step();
    console.log(...w);
    globalThis.backend = "cpu";
    try { step(); } catch ({ message }) { console.log(message); }
    globalThis.backend = "js";
    try { sgd([new Uint16Array(2)], [null], [null], ${OPTIONS}); }
    catch ({ name }) { console.log(name); }
  `);
  assertEquals(lines, [
    "0.5 2.5",
    'Cannot use backend "cpu" as the native library needs Deno, Node.js or Bun: use the js backend here',
    "TypeError",
  ]);
});

Deno.test("a bundle that names no BFloat16Array steps those of a file", async () => {
  const lines = await runBundled(`
    import { decodeStateDict, sgd } from "@descent/sgd";
    const { data } = decodeStateDict(Deno.readFileSync("state")).parameters[0];
    sgd([data], [new Float32Array([1, -1])], [null], ${OPTIONS});
    console.log(...data.toFloat32Array());
  `);
  assertEquals(lines, ["0.5 2.5"]);
});
