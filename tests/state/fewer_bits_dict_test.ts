/** What a state dict has of momentum in 8 bits and of split master weights. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BFloat16Array, loadState, saveState, SGD } from "@descent/sgd";
import type { HostArray, StateDictOptions } from "@descent/sgd";
import { decoded, LENGTH, mastersOf, paramsOf, trained } from "./fewer_bits.ts";

Deno.test("a dict has codes and scales for large parameters, and a buffer for small ones", () => {
  const { optimizer, params } = trained("float32", { momentumBits: 8, seed: 7 });
  const { state, param_groups, rounding } = optimizer.stateDict();
  assertEquals(Object.keys(state[0]), ["momentum8", "momentum_scales"]);
  assert(state[0].momentum8 instanceof Int8Array);
  assert(state[0].momentum_scales instanceof Uint8Array);
  assertEquals(state[0].momentum8!.length, LENGTH);
  assertEquals(state[0].momentum_scales!.length, Math.ceil(LENGTH / 32));
  assertEquals(Object.keys(state[1]), ["momentum_buffer"]);
  assertEquals(param_groups[0].momentum_bits, 8);
  assertEquals(rounding, { seed: 7, counter: 3 });
  assertEquals(decoded(state[0]), [...optimizer.state.get(params[0])!.readMomentum()!]);
});

Deno.test("a group of 32 bits has no momentum_bits, and a dict without random bits no rounding", () => {
  const { optimizer } = trained("float32");
  const { param_groups, rounding } = optimizer.stateDict();
  assertEquals("momentum_bits" in param_groups[0], false);
  assertEquals(rounding, undefined);
});

Deno.test("scales that no dict may have are not taken, and not saved", async () => {
  const path = await Deno.makeTempFile();
  for (const scale of [1, 17, 249, 255]) {
    const { optimizer, params } = trained("float32", { momentumBits: 8 });
    optimizer.state.get(params[0])!.momentum8!.scales[5] = scale;
    const text =
      'Cannot take the state as each of scales of the 8-bit momentum of parameter 0 ("w0") ' +
      `must be 0 or from 18 to 248: current value is ${scale} at 5`;
    assertThrows(() => optimizer.stateDict(), RangeError, text);
    assertThrows(() => optimizer.stateDict({ momentum: "float32" }), RangeError, text);
    await assertRejects(() => saveState(path, optimizer), RangeError, text);
  }
  assertEquals((await Deno.stat(path)).size, 0);
  await Deno.remove(path);
});

Deno.test("scales that a dict may have are taken as they were written", async () => {
  const path = await Deno.makeTempFile();
  const { optimizer, params } = trained("float32", { momentumBits: 8 });
  optimizer.state.get(params[0])!.momentum8!.scales.set([0, 18, 248]);
  await saveState(path, optimizer);
  const { state } = await loadState(path);
  assertEquals([...state[0].momentum_scales!.subarray(0, 3)], [0, 18, 248]);
  await Deno.remove(path);
});

const CORRECTIONS = [
  ["split", Int16Array, undefined],
  ["split24", Int8Array, { seed: 0, counter: 3 }],
] as const;

for (const [masterWeights, type, rounding] of CORRECTIONS) {
  Deno.test(`a dict of "${masterWeights}" has corrections as a tensor of their own`, () => {
    const { optimizer, params } = trained("bfloat16", { masterWeights });
    const dict = optimizer.stateDict();
    assertEquals(Object.keys(dict.state[1]), ["momentum_buffer", "correction"]);
    assert(dict.state[1].correction instanceof type);
    assertEquals(dict.state[1].correction, optimizer.state.get(params[1])!.correction!);
    assertEquals(dict.rounding, rounding);
  });
}

Deno.test("a dict is a snapshot: later steps do not change codes, scales and corrections", () => {
  const options = { momentumBits: 8, masterWeights: "split" } as const;
  const { optimizer } = trained("bfloat16", options);
  const dict = optimizer.stateDict();
  const before = structuredClone(dict.state);
  optimizer.step();
  assertEquals(dict.state, before);
});

Deno.test("shapes of parameters are those of codes and corrections, and scales have none", () => {
  const params = paramsOf("bfloat16", [4100]);
  const shaped = [{ ...params[0], shape: [41, 100] }];
  const options = { momentumBits: 8, masterWeights: "split" } as const;
  const { optimizer } = trained("bfloat16", options, { params: shaped });
  const dict = optimizer.stateDict();
  assertEquals(dict.state[0].shape, [41, 100]);
  const other = new SGD<HostArray>([{ ...params[0], shape: [100, 41] }], {
    ...options,
    lr: 1,
    backend: "js",
  });
  assertThrows(
    () => other.loadStateDict(dict),
    RangeError,
    '"w0" has shape [100, 41], but its momentum in the dict: [41, 100]',
  );
});

Deno.test('momentum: "float32" decodes momentum exactly, and leaves the rest as it is', () => {
  const options = { momentumBits: 8, masterWeights: "split" } as const;
  const { optimizer } = trained("bfloat16", options);
  const stored = optimizer.stateDict({ parameters: true });
  const dict = optimizer.stateDict({ parameters: true, momentum: "float32" });
  assertEquals(Object.keys(dict.state[0]), ["momentum_buffer", "correction"]);
  assertEquals([...dict.state[0].momentum_buffer!], decoded(stored.state[0]));
  assertEquals(dict.state[1], stored.state[1]);
  assertEquals(dict.parameters, stored.parameters);
  assertEquals("momentum_bits" in dict.param_groups[0], false);
  assertEquals(optimizer.stateDict({ momentum: "stored" }), optimizer.stateDict());
  const plain = trained("bfloat16", { masterWeights: "split" }, { steps: 0 });
  plain.optimizer.loadStateDict(dict, { parameters: true });
  assertEquals(plain.optimizer.stateDict({ parameters: true }).state, dict.state);
});

Deno.test("momentum that is not finite is NaN in float32", () => {
  const { optimizer, params } = trained("float32", { momentumBits: 8 });
  (params[0].grad as Float32Array)[40] = Infinity;
  optimizer.step();
  const { state } = optimizer.stateDict({ momentum: "float32" });
  const buffer = state[0].momentum_buffer!;
  assertEquals([...buffer].findIndex(Number.isNaN), 40);
});

const OPTIONS: [unknown, string][] = [
  [{ momentum: "float64" }, 'Cannot set momentum as it must be "stored" or "float32"'],
  [{ momentum: 32 }, "Cannot set momentum"],
  [{ parameters: 1 }, "Cannot set parameters as it must be true or false"],
  [{ momentums: "stored" }, "momentums"],
];

for (const [options, message] of OPTIONS) {
  Deno.test(`stateDict refuses ${JSON.stringify(options)}`, () => {
    const { optimizer } = trained("float32");
    assertThrows(() => optimizer.stateDict(options as StateDictOptions), TypeError, message);
  });
}

Deno.test("corrections of data that were replaced since are not part of a dict", () => {
  const { optimizer, params } = trained("bfloat16", { masterWeights: "split" });
  params[1].data = BFloat16Array.from((params[1].data as BFloat16Array).toFloat32Array());
  const dict = optimizer.stateDict({ parameters: true });
  assertEquals(Object.keys(dict.state[1]), ["momentum_buffer"]);
  const resumed = trained("bfloat16", { masterWeights: "split" }, { steps: 0 });
  resumed.optimizer.loadStateDict(dict, { parameters: true });
  for (const run of [optimizer, resumed.optimizer]) run.step();
  for (const i of [0, 1]) {
    assertEquals(
      mastersOf(resumed.optimizer, resumed.params[i]),
      mastersOf(optimizer, params[i]),
    );
  }
});
