/** The Python package opens what Descent writes. Python is `python3`, or what DESCENT_PYTHON names. */

import { assert, assertEquals } from "@std/assert";
import { BFloat16Array, saveState, SGD } from "@descent/sgd";
import { saveTensors } from "@descent/sgd/safetensors";
import { temporaryFolder } from "../publish/stage.ts";

const python = Deno.env.get("DESCENT_PYTHON") ?? "python3";

function hasTorch(): boolean {
  try {
    const args = ["-c", "import torch, safetensors"];
    return new Deno.Command(python, { args, stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

const ready = hasTorch();

function test(name: string, run: (path: string) => Promise<void>): void {
  Deno.test({
    name: name + (ready ? "" : ` (skipped: ${python} has no torch and safetensors)`),
    ignore: !ready,
    async fn() {
      await using folder = await temporaryFolder();
      await run(`${folder.path}/file.safetensors`);
    },
  });
}

async function runPython(program: string, path: string): Promise<unknown> {
  const command = new Deno.Command(python, { args: ["-B", "-c", program, path] });
  const { success, stdout, stderr } = await command.output();
  assert(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

const READ = `
import json, sys
from safetensors import safe_open
with safe_open(sys.argv[1], framework="pt") as file:
    found = {name: file.get_tensor(name) for name in file.keys()}
    print(json.dumps([file.metadata(), {
        name: [str(tensor.dtype), list(tensor.shape), str(tensor.reshape(-1).tolist())]
        for name, tensor in found.items()
    }]))
`;

test("every dtype that torch has is opened by the Python package, with its values", async (path) => {
  await saveTensors(path, {
    i8: { data: Int8Array.of(-1, 2) },
    u8: { data: Uint8Array.of(255) },
    i16: { data: Int16Array.of(-300) },
    u16: { data: Uint16Array.of(65535) },
    i32: { data: Int32Array.of(-70000) },
    u32: { data: Uint32Array.of(4294967295) },
    i64: { data: BigInt64Array.of(-1n) },
    u64: { data: BigUint64Array.of(2n ** 64n - 1n) },
    f16: { data: Float16Array.of(0.5, -2), shape: [2, 1] },
    bf16: { data: BFloat16Array.of(0.5, -3), shape: [1, 2] },
    f32: { data: Float32Array.of(1.5), shape: [] },
    f64: { data: new Float64Array(0), shape: [2, 0] },
    bool: { data: Uint8Array.of(1, 0), dtype: "BOOL" },
    c64: { data: new Uint8Array(Float32Array.of(1, -2).buffer), dtype: "C64", shape: [1] },
    f8: { data: Uint8Array.of(0x3c), dtype: "F8_E5M2" },
  }, { metadata: { note: "é" } });
  const tensors = {
    i8: ["torch.int8", [2], "[-1, 2]"],
    u8: ["torch.uint8", [1], "[255]"],
    i16: ["torch.int16", [1], "[-300]"],
    u16: ["torch.uint16", [1], "[65535]"],
    i32: ["torch.int32", [1], "[-70000]"],
    u32: ["torch.uint32", [1], "[4294967295]"],
    i64: ["torch.int64", [1], "[-1]"],
    u64: ["torch.uint64", [1], "[18446744073709551615]"],
    f16: ["torch.float16", [2, 1], "[0.5, -2.0]"],
    bf16: ["torch.bfloat16", [1, 2], "[0.5, -3.0]"],
    f32: ["torch.float32", [], "[1.5]"],
    f64: ["torch.float64", [2, 0], "[]"],
    bool: ["torch.bool", [2], "[True, False]"],
    c64: ["torch.complex64", [1], "[(1-2j)]"],
    f8: ["torch.float8_e5m2", [1], "[1.0]"],
  };
  assertEquals(await runPython(READ, path), [{ note: "é" }, tensors]);
});

const LOAD = `
import json, sys, torch
from safetensors.torch import load_file
model = torch.nn.Linear(2, 1)
model.load_state_dict(load_file(sys.argv[1]))
print(json.dumps([model.weight.tolist(), model.bias.tolist()]))
`;

test("a model of torch's loads the weights of an optimizer", async (path) => {
  const weight = { name: "weight", data: Float32Array.of(1, 2), grad: null, shape: [1, 2] };
  const bias = { name: "bias", data: Float32Array.of(0.5), grad: null };
  const optimizer = new SGD([weight, bias], { lr: 0.1 });
  await saveState(path, optimizer, { state: false, parameters: true });
  assertEquals(await runPython(LOAD, path), [[[1, 2]], [0.5]]);
});
