/** The run that examples/pytorch documents. Python is `python3`, or what DESCENT_PYTHON names. */

import { assert, assertEquals } from "@std/assert";
import { BFloat16Array, loadState, saveState, SGD } from "@descent/sgd";
import type { SparseParameter } from "@descent/sgd";
import { linearLR, LRScheduler, ReduceLROnPlateau, stepLR } from "@descent/sgd/schedules";

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

/** Goes on with a scheduler in torch: prints its learning rates, and saves it again. */
const GO_ON = `
import json, sys, torch
from descent_state import load, save
state, parameters, notes = load(sys.argv[1])
optimizer = torch.optim.SGD([torch.nn.Parameter(parameters["w"])], lr=9, momentum=0.9)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.7)
optimizer.load_state_dict(state)
scheduler.load_state_dict(json.loads(notes.pop("lr_scheduler")))
for _ in range(5):
    optimizer.step()
    scheduler.step()
print(json.dumps(scheduler.get_last_lr()))
notes["lr_scheduler"] = json.dumps(scheduler.state_dict())
save(sys.argv[1], optimizer.state_dict(), parameters, notes)
`;

Deno.test({
  name: "torch resumes a scheduler of Descent's, and Descent torch's" +
    (ready ? "" : ` (skipped: ${python} has no torch and safetensors)`),
  ignore: !ready,
  async fn() {
    const path = await Deno.makeTempFile();
    const w = { data: Float32Array.of(1), grad: Float32Array.of(1), name: "w" };
    const optimizer = new SGD([w], { lr: 0.3, momentum: 0.9, backend: "js" });
    const scheduler = new LRScheduler(optimizer, stepLR({ stepSize: 2, gamma: 0.7 }), {
      warn: false,
    });
    const train = (steps: number) => {
      for (let i = 0; i < steps; i++) (optimizer.step(), scheduler.step());
    };
    train(3);
    await saveState(path, optimizer, { parameters: true, scheduler });
    train(5);
    const command = new Deno.Command(python, { args: ["-B", "-c", GO_ON, path], cwd: examples });
    const { success, stdout, stderr } = await command.output();
    assert(success, new TextDecoder().decode(stderr));
    assertEquals(JSON.parse(new TextDecoder().decode(stdout)), scheduler.lastLr);

    const dict = await loadState(path);
    optimizer.loadStateDict(dict, { parameters: true });
    const other = new LRScheduler(optimizer, stepLR({ stepSize: 2, gamma: 0.7 }), { warn: false });
    other.loadStateDict(dict.lr_scheduler!);
    assertEquals(other.stateDict(), scheduler.stateDict());
    await Deno.remove(path);
  },
});

/** Goes on with a run of two groups in torch, in which some parameters have no name. */
const GO_ON_MIXED = `
import json, sys, torch
from descent_state import load, save
state, parameters, notes = load(sys.argv[1])
tensors = [torch.nn.Parameter(parameters[n]) for n in ("w", "param.1", "v", "param.3")]
optimizer = torch.optim.SGD([{"params": tensors[:3]}, {"params": tensors[3:]}], lr=9, momentum=0.9)
optimizer.load_state_dict(state)
for _ in range(3):
    for tensor in tensors:
        tensor.grad = tensor.detach() / 2
    optimizer.step()
state = optimizer.state_dict()
print(json.dumps([group["param_names"] for group in state["param_groups"]]))
optimizer.add_param_group({"params": [("u", torch.nn.Parameter(torch.ones(1)))]})
save(sys.argv[1], state, dict(zip(("w", "param.1", "v", "param.3"), tensors)), notes)
`;

Deno.test({
  name: "torch resumes a run in which some parameters have names, and Descent torch's" +
    (ready ? "" : ` (skipped: ${python} has no torch and safetensors)`),
  ignore: !ready,
  async fn() {
    const path = await Deno.makeTempFile();
    const names = ["w", undefined, "v", undefined];
    const start = (order: number[]) => {
      const params = names.map((name, i) => {
        const data = Float32Array.from({ length: 64 }, (_, k) => Math.sin(64 * i + k));
        return { data, grad: data.slice(), ...(name === undefined ? {} : { name }) };
      });
      const groups = [{ params: order.map((i) => params[i]) }, { params: [params[3]], lr: 0.1 }];
      return { params, optimizer: new SGD(groups, { lr: 0.3, momentum: 0.9, backend: "js" }) };
    };
    const train = ({ params, optimizer }: ReturnType<typeof start>) => {
      for (let i = 0; i < 3; i++) {
        for (const w of params) w.grad = w.data.map((p) => p / 2);
        optimizer.step();
      }
    };
    const [first, whole, last] = [start([0, 1, 2]), start([0, 1, 2]), start([2, 0, 1])];
    train(first);
    await saveState(path, first.optimizer, { parameters: true });
    const command = new Deno.Command(python, {
      args: ["-B", "-c", GO_ON_MIXED, path],
      cwd: examples,
    });
    const { success, stdout, stderr } = await command.output();
    assert(success, new TextDecoder().decode(stderr));
    assertEquals(JSON.parse(new TextDecoder().decode(stdout)), [["w", null, "v"], [null]]);
    last.optimizer.loadStateDict(await loadState(path), { parameters: true });
    train(last);
    for (let i = 0; i < 3; i++) train(whole);
    assertEquals(last.params, whole.params);
    await Deno.remove(path);
  },
});

/** Goes on with an embedding in torch: every step names the rows that are given, and the next ones. */
const GO_ON_SPARSE = `
import json, sys, torch
from descent_state import load, save
state, parameters, notes = load(sys.argv[1])
table = torch.nn.Parameter(parameters["table"])
optimizer = torch.optim.SGD([table], lr=9, momentum=0.9)
optimizer.load_state_dict(state)
for rows in json.loads(sys.argv[2]):
    values = torch.tensor([[row + 1.0, row / 2, 0.25] for row in rows])
    table.grad = torch.sparse_coo_tensor(torch.tensor([rows]), values, table.shape).coalesce()
    optimizer.step()
save(sys.argv[1], optimizer.state_dict(), {"table": table}, notes)
`;

Deno.test({
  name:
    "torch resumes with sparse momentum of Descent's, and Descent with torch's, to the same bits" +
    (ready ? "" : ` (skipped: ${python} has no torch and safetensors)`),
  ignore: !ready,
  async fn() {
    const path = await Deno.makeTempFile();
    const shape = [8, 3];
    const start = (): { table: SparseParameter; optimizer: SGD } => {
      const data = Float32Array.from({ length: 24 }, (_, i) => Math.sin(i));
      const table: SparseParameter = { data, grad: null, name: "table", shape };
      return { table, optimizer: new SGD([table], { lr: 0.3, momentum: 0.9 }) };
    };
    const train = ({ table, optimizer }: ReturnType<typeof start>, steps: number[][]) => {
      for (const rows of steps) {
        const values = Float32Array.from(rows.flatMap((row) => [row + 1, row / 2, 0.25]));
        table.grad = { indices: Int32Array.from(rows), values, shape: [8, 3] };
        optimizer.step();
      }
    };
    const [whole, first, last] = [start(), start(), start()];
    const parts = [[[5, 2], [2]], [[6], [1, 5]], [[2, 6], []]];
    for (const part of parts) train(whole, part);
    train(first, parts[0]);
    await saveState(path, first.optimizer, { parameters: true });
    const command = new Deno.Command(python, {
      args: ["-B", "-c", GO_ON_SPARSE, path, JSON.stringify(parts[1])],
      cwd: examples,
    });
    const { success, stderr } = await command.output();
    assert(success, new TextDecoder().decode(stderr));
    const dict = await loadState(path);
    assertEquals(dict.state[0].rows_in_use, Uint8Array.of(0, 1, 1, 0, 0, 1, 1, 0));
    last.optimizer.loadStateDict(dict, { parameters: true });
    train(last, parts[2]);
    assertEquals(last.table.data, whole.table.data);
    assertEquals(last.optimizer.stateDict().state, whole.optimizer.stateDict().state);
    await Deno.remove(path);
  },
});

/** Schedulers of torch at odd places: a plateau before its first metric, a line at its end. */
const ODD_SCHEDULERS = `
import sys, torch
from descent_state import save
def run(path, make, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = make(optimizer)
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
    print(optimizer.param_groups[0]["lr"])
    save(path, optimizer.state_dict(), scheduler=scheduler.state_dict())
run(sys.argv[1], torch.optim.lr_scheduler.ReduceLROnPlateau, 0)
run(sys.argv[2], lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.9, 0, 7), 7)
`;

Deno.test({
  name: "a plateau of torch's without a metric is taken, and a learning rate just below 0 is 0" +
    (ready ? "" : ` (skipped: ${python} has no torch and safetensors)`),
  ignore: !ready,
  async fn() {
    const paths = [await Deno.makeTempFile(), await Deno.makeTempFile()];
    const args = ["-B", "-c", ODD_SCHEDULERS, ...paths];
    const { success, stdout, stderr } = await new Deno.Command(python, { args, cwd: examples })
      .output();
    assert(success, new TextDecoder().decode(stderr));
    const lrs = new TextDecoder().decode(stdout).trim().split("\n").map(Number);
    assert(lrs[1] < 0 && lrs[1] > -1e-15, `torch's is ${lrs[1]}`);
    const dicts = await Promise.all(paths.map((path) => loadState(path)));
    const optimizer = new SGD([{ data: new Float32Array(1), grad: null }], {
      lr: 9,
      backend: "js",
    });

    const plateau = new ReduceLROnPlateau(optimizer, { patience: 0 });
    optimizer.loadStateDict(dicts[0]);
    plateau.loadStateDict(dicts[0].lr_scheduler!);
    for (const metric of [5, 5]) plateau.step(metric); // the first one is better than none
    assertEquals(optimizer.paramGroups[0].lr, 0.1 * 0.1);

    const line = new LRScheduler(
      optimizer,
      linearLR({ startFactor: 0.9, endFactor: 0, totalIters: 7 }),
      { warn: false },
    );
    optimizer.loadStateDict(dicts[1]);
    line.loadStateDict(dicts[1].lr_scheduler!);
    assertEquals([optimizer.paramGroups[0].lr, line.lastLr], [0, [0]]);
    await Promise.all(paths.map((path) => Deno.remove(path)));
  },
});

/** Goes on with a bfloat16 run in torch, and saves it again. */
const GO_ON_SIXTEEN_BIT = `
import sys, torch
from descent_state import load, save
torch.set_num_threads(1)
state, parameters, notes = load(sys.argv[1])
w = torch.nn.Parameter(parameters["w"])
optimizer = torch.optim.SGD([("w", w)], lr=9, momentum=0.9, foreach=False)
optimizer.load_state_dict(state)
assert w.dtype == optimizer.state[w]["momentum_buffer"].dtype == torch.bfloat16
for _ in range(3):
    w.grad = w.detach() / 2
    optimizer.step()
save(sys.argv[1], optimizer.state_dict(), {"w": w}, notes)
`;

Deno.test({
  name: "torch resumes a run in bfloat16, and Descent torch's, to the bits of one run" +
    (ready ? "" : ` (skipped: ${python} has no torch and safetensors)`),
  ignore: !ready,
  async fn() {
    const path = await Deno.makeTempFile();
    const start = () => {
      const data = BFloat16Array.from(Array.from({ length: 64 }, (_, i) => Math.sin(i)));
      const w = { data, grad: data.slice(), name: "w" };
      const options = { lr: 0.3, momentum: 0.9, rounding: "torch", backend: "js" } as const;
      return { w, optimizer: new SGD([w], options) };
    };
    const train = ({ w, optimizer }: ReturnType<typeof start>) => {
      for (let i = 0; i < 3; i++) {
        w.grad = BFloat16Array.from(w.data.toFloat32Array(), (p) => p / 2);
        optimizer.step();
      }
    };
    const [parts, whole] = [start(), start()];
    train(parts);
    await saveState(path, parts.optimizer, { parameters: true });
    const command = new Deno.Command(python, {
      ...{ args: ["-B", "-c", GO_ON_SIXTEEN_BIT, path], cwd: examples },
    });
    const { success, stderr } = await command.output();
    assert(success, new TextDecoder().decode(stderr));
    parts.optimizer.loadStateDict(await loadState(path), { parameters: true });
    train(parts);
    for (let i = 0; i < 3; i++) train(whole);
    assertEquals(parts.w.data, whole.w.data);
    const state = ({ w, optimizer }: typeof whole) => optimizer.state.get(w);
    assertEquals(state(parts), state(whole));
    await Deno.remove(path);
  },
});

/** What torch makes of other states of 16-bit parameters: it reads them, and keeps what it knows. */
const READ = `
import sys, torch
from descent_state import load
state, parameters, notes = load(sys.argv[1])
w = torch.nn.Parameter(parameters["w"])
optimizer = torch.optim.SGD([("w", w)], lr=9, momentum=0.9)
optimizer.load_state_dict(state)
print(list(parameters), list(optimizer.state[w]), state["state"][0]["momentum_buffer"].dtype, notes["rounding"])
`;

Deno.test({
  name: "torch reads a run with master weights and stochastic rounding" +
    (ready ? "" : ` (skipped: ${python} has no torch and safetensors)`),
  ignore: !ready,
  async fn() {
    const path = await Deno.makeTempFile();
    const w = { data: new Float16Array(64), grad: new Float16Array(64), name: "w" };
    const mode = { rounding: "stochastic", masterWeights: true, seed: 5 } as const;
    const optimizer = new SGD([w], { lr: 0.3, momentum: 0.9, ...mode, backend: "js" });
    optimizer.step();
    await saveState(path, optimizer, { parameters: true });
    const command = new Deno.Command(python, { args: ["-B", "-c", READ, path], cwd: examples });
    const { success, stdout, stderr } = await command.output();
    assert(success, new TextDecoder().decode(stderr));
    assertEquals(
      new TextDecoder().decode(stdout).trim(),
      `['w'] ['momentum_buffer'] torch.float32 {"seed":5,"counter":1}`,
    );
    await Deno.remove(path);
  },
});

/** Takes steps in torch from a file, and saves it again: momentum, as torch has it, is float32. */
const GO_ON_EIGHT_BITS = `
import hashlib, sys, torch
from descent_state import load, save
state, parameters, notes = load(sys.argv[1])
params = [torch.nn.Parameter(parameters[name]) for name in ("w", "b")]
optimizer = torch.optim.SGD([("w", params[0]), ("b", params[1])], lr=9, momentum=0.9, foreach=False)
optimizer.load_state_dict(state)
buffers = [bytes(optimizer.state[p]["momentum_buffer"].numpy()) for p in params]
print(hashlib.sha256(b"".join(buffers)).hexdigest())
for _ in range(3):
    for p in params:
        p.grad = p.detach() / 2
    optimizer.step()
save(sys.argv[1], optimizer.state_dict(), dict(zip(("w", "b"), params)), notes)
`;

for (const momentum of ["float32", "stored"] as const) {
  Deno.test({
    name:
      `torch resumes a run with momentum in 8 bits, saved as ${momentum}, to the bits of float32` +
      (ready ? "" : ` (skipped: ${python} has no torch and safetensors)`),
    ignore: !ready,
    async fn() {
      const path = await Deno.makeTempFile();
      const start = (momentumBits: 8 | 32) => {
        const params = [["w", 64, 65], ["b", 1, 64]] as const;
        const list = params.map(([name, ...shape]) => {
          const data = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(i));
          return { data, grad: data.slice(), name, shape };
        });
        const options = { lr: 0.3, momentum: 0.9, momentumBits, backend: "js" } as const;
        return { list, optimizer: new SGD(list, options) };
      };
      const train = ({ list, optimizer }: ReturnType<typeof start>) => {
        for (let i = 0; i < 3; i++) {
          for (const w of list) w.grad = w.data.map((p) => p / 2);
          optimizer.step();
        }
      };
      const [coded, wide] = [start(8), start(32)];
      train(coded);
      await saveState(path, coded.optimizer, { parameters: true, momentum });
      const dict = await loadState(path);
      wide.optimizer.loadStateDict(dict, { parameters: true, convert: true });
      const buffers = wide.list.map((w) => wide.optimizer.state.get(w)!.readMomentum()!);
      const sha = await crypto.subtle.digest(
        "SHA-256",
        await new Blob(buffers as BlobPart[]).bytes(),
      );
      const command = new Deno.Command(python, {
        ...{ args: ["-B", "-c", GO_ON_EIGHT_BITS, path], cwd: examples },
      });
      const { success, stdout, stderr } = await command.output();
      assert(success, new TextDecoder().decode(stderr));
      assertEquals(new TextDecoder().decode(stdout).trim(), new Uint8Array(sha).toHex());
      train(wide);
      const back = await loadState(path);
      assertEquals(back.state, wide.optimizer.stateDict().state);
      coded.optimizer.loadStateDict(back, { parameters: true, convert: true });
      assertEquals(coded.list.map(({ data }) => data), wide.list.map(({ data }) => data));
      await Deno.remove(path);
    },
  });
}

Deno.test({
  name: "torch and Descent resume each other's runs and end at the bits that are documented" +
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
