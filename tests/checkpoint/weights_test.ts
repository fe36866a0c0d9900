/** Files of weights alone: `saveState` with `state: false`. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  BFloat16Array,
  CheckpointError,
  decodeStateDict,
  loadState,
  saveState,
} from "@descent/sgd";
import { GradScaler, SGD } from "@descent/sgd";
import type { SaveStateOptions, StateDict } from "@descent/sgd";
import { LRScheduler, stepLR } from "@descent/sgd/schedules";
import { encodeTensors, loadTensors, openTensors } from "@descent/sgd/safetensors";
import { temporaryFolder } from "../publish/stage.ts";

const WEIGHTS = { state: false, parameters: true } as const;

/** An optimizer with two groups, names and none, and momentum that has begun. */
function stepped() {
  const w = {
    name: "layer.weight",
    shape: [2, 2],
    data: Float32Array.of(1, 2, 3, 4),
    grad: Float32Array.of(1, 1, 1, 1),
  };
  const b = { data: Float32Array.of(5), grad: Float32Array.of(1) };
  const optimizer = new SGD([{ params: [w] }, { params: [b], lr: 1 }], { lr: 0.5, momentum: 0.9 });
  optimizer.step();
  return { w, b, optimizer };
}

async function withFile(run: (path: string) => Promise<void>): Promise<void> {
  await using folder = await temporaryFolder();
  await run(`${folder.path}/weights.safetensors`);
}

Deno.test("the file has the parameters under their names and nothing else", () =>
  withFile(async (path) => {
    const { w, b, optimizer } = stepped();
    await saveState(path, optimizer, WEIGHTS);
    assertEquals({ ...await loadTensors(path) }, {
      "layer.weight": { data: w.data, shape: [2, 2], dtype: "F32" },
      "param.1": { data: b.data, shape: [1], dtype: "F32" },
    });
    await using file = await openTensors(path);
    assertEquals({ ...file.metadata }, { format: "pt" });
  }));

Deno.test("the bytes are those that saveTensors writes of the same parameters", () =>
  withFile(async (path) => {
    const { w, b, optimizer } = stepped();
    await saveState(path, optimizer, { ...WEIGHTS, metadata: { epoch: "3" } });
    const metadata = { epoch: "3", format: "pt" };
    const expected = encodeTensors({ "layer.weight": w, "param.1": b }, { metadata });
    assertEquals(await Deno.readFile(path), expected);
  }));

Deno.test("the caller's metadata may say another format", () =>
  withFile(async (path) => {
    const metadata = { format: "mlx", version: "1", param_groups: "none" };
    await saveState(path, stepped().optimizer, { ...WEIGHTS, metadata });
    await using file = await openTensors(path);
    assertEquals({ ...file.metadata }, metadata);
  }));

Deno.test("loadState and decodeStateDict say that it holds weights alone, and what reads it", () =>
  withFile(async (path) => {
    await saveState(path, stepped().optimizer, WEIGHTS);
    const message =
      "it holds weights alone, without the state of an optimizer: use loadTensors of " +
      "@descent/sgd/safetensors";
    await assertRejects(() => loadState(path), CheckpointError, message);
    const bytes = await Deno.readFile(path);
    assertThrows(() => decodeStateDict(bytes), CheckpointError, message);
    const others = encodeTensors({ w: { data: Int8Array.of(1) } });
    assertThrows(() => decodeStateDict(others), CheckpointError, message);
  }));

Deno.test("weights of a state dict are saved too, as its parameters are", () =>
  withFile(async (path) => {
    const { optimizer, w } = stepped();
    await saveState(path, optimizer.stateDict({ parameters: true }), WEIGHTS);
    assertEquals((await loadTensors(path))["layer.weight"].data, w.data);
    const without = optimizer.stateDict();
    await assertRejects(
      () => saveState(path, without, WEIGHTS),
      TypeError,
      "Cannot save the weights as the state dict has no parameters",
    );
    const wrapper = { stateDict: (options?: object): StateDict => optimizer.stateDict(options) };
    await saveState(path, wrapper, WEIGHTS);
    assertEquals(Object.keys(await loadTensors(path)), ["layer.weight", "param.1"]);
  }));

Deno.test("state that cannot be saved does not matter to the weights", () =>
  withFile(async (path) => {
    const { w, optimizer } = stepped();
    (optimizer.state.get(w)!.momentumBuffer as Float32Array<ArrayBuffer>).buffer.transfer();
    await assertRejects(() => saveState(path, optimizer, { parameters: true }), TypeError);
    await saveState(path, optimizer, WEIGHTS);
    assertEquals((await loadTensors(path))["layer.weight"].data, w.data);
  }));

Deno.test("16-bit parameters are saved as they are, without their master weights", () =>
  withFile(async (path) => {
    const w = { name: "w", data: BFloat16Array.of(1, 2), grad: BFloat16Array.of(1, 1) };
    const optimizer = new SGD([w], { lr: 0.5, momentum: 0.9, masterWeights: true });
    optimizer.step();
    await saveState(path, optimizer, WEIGHTS);
    assertEquals({ ...await loadTensors(path) }, {
      w: { data: w.data, shape: [2], dtype: "BF16" },
    });
  }));

Deno.test("options that need state are refused, and the old file stays", () =>
  withFile(async (path) => {
    const { optimizer } = stepped();
    await Deno.writeTextFile(path, "old");
    const scheduler = new LRScheduler(optimizer, stepLR({ stepSize: 1 }));
    const cases: [SaveStateOptions, string][] = [
      [{ state: false }, "parameters must be true if state is false: current value is undefined"],
      [{ state: false, parameters: false }, "parameters must be true if state is false"],
      [{ ...WEIGHTS, scheduler }, "scheduler must not be given if state is false"],
      [{ ...WEIGHTS, scaler: new GradScaler() }, "scaler must not be given if state is false"],
      [{ ...WEIGHTS, momentum: "float32" }, "momentum must not be given if state is false"],
      [{ ...WEIGHTS, state: 0 as never }, "Cannot set state as it must be true or false"],
      [{ ...WEIGHTS, metadata: { format: "descent-sgd-state" } }, "metadata.format must not be"],
    ];
    for (const [options, message] of cases) {
      const error = await assertRejects(
        () => saveState(path, optimizer, options),
        TypeError,
        message,
      );
      assert(error.message.startsWith("Cannot "), error.message);
    }
    assertEquals(await Deno.readTextFile(path), "old");
  }));

Deno.test("state: true is what is saved without it", () =>
  withFile(async (path) => {
    const { optimizer } = stepped();
    await saveState(path, optimizer, { parameters: true });
    const bytes = await Deno.readFile(path);
    await saveState(path, optimizer, { parameters: true, state: true });
    assertEquals(await Deno.readFile(path), bytes);
  }));

Deno.test("an optimizer that steps while its weights are saved is not saved half", () =>
  withFile(async (path) => {
    const w = { data: new Float32Array(3 << 20), grad: new Float32Array(3 << 20) };
    const optimizer = new SGD([w], { lr: 0.5 });
    const onProgress = () => void optimizer.step();
    await assertRejects(
      () => saveState(path, optimizer, { ...WEIGHTS, onProgress }),
      Error,
      "the optimizer has stepped meanwhile",
    );
    await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
  }));
