/** The run that examples/pytorch documents. Python is `python3`, or what DESCENT_PYTHON names. */

import { assert, assertEquals } from "@std/assert";

const examples = new URL("../../examples/pytorch/", import.meta.url).pathname;
const python = Deno.env.get("DESCENT_PYTHON") ?? "python3";
const HASH = /[0-9a-f]{64}/g;

function hasTorch(): boolean {
  try {
    const args = ["-c", "import torch, safetensors"];
    return new Deno.Command(python, { args, stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

async function train(how: "torch" | "Descent", to: string, steps: number, from?: string) {
  const args = [to, String(steps), ...(from === undefined ? [] : [from])];
  const command = how === "torch"
    ? new Deno.Command(python, { args: ["-B", "train.py", ...args], cwd: examples })
    : new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "train.ts", ...args],
      cwd: examples,
    });
  const { success, stdout, stderr } = await command.output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).match(HASH)![0];
}

const ready = hasTorch();

Deno.test({
  name: "torch and Descent go on with each other's runs and end at the bits that are documented" +
    (ready ? "" : ` (skipped: ${python} has no torch and safetensors)`),
  ignore: !ready,
  async fn() {
    const documented = (await Deno.readTextFile(`${examples}README.md`)).match(HASH)!;
    const folder = await Deno.makeTempDir();
    const at = (name: string) => `${folder}/${name}`;
    const found = [
      await train("torch", at("t"), 10),
      await train("Descent", at("d"), 10),
      await train("torch", at("t4"), 4),
      await train("Descent", at("t4d6"), 6, at("t4")),
      await train("Descent", at("d4"), 4),
      await train("torch", at("d4t6"), 6, at("d4")),
    ];
    assertEquals(found, documented);
    assertEquals(new Set([found[0], found[1], found[3], found[5]]).size, 1);
    await Deno.remove(folder, { recursive: true });
  },
});
