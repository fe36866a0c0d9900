/** Averaged weights in checkpoint files. */

import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  decodeStateDict,
  encodeStateDict,
  loadState,
  saveState,
  SGD,
  WeightAverage,
} from "@descent/sgd";
import type { StateDict } from "@descent/sgd";

function create() {
  const parameters = [3, 2000].map((size, i) => ({
    ...{ data: new Float32Array(size).fill(i + 0.5), grad: new Float32Array(size).fill(0.1) },
    ...{ name: `w${i}`, shape: [1, size] },
  }));
  const wide = { data: new Float64Array([1, 2]), grad: null, name: "wide" };
  const all = [...parameters, wide];
  return {
    all,
    optimizer: new SGD<Float32Array | Float64Array>(all, { lr: 0.1, momentum: 0.9 }),
    average: new WeightAverage(all, { decay: 0.9 }),
  };
}

Deno.test("a file has the average, and a run resumes from it bit for bit", async () => {
  const { all, optimizer, average } = create();
  for (let i = 0; i < 3; i++) optimizer.step({ average });
  const path = await Deno.makeTempFile();
  await saveState(path, optimizer, { parameters: true, average });
  const dict = await loadState(path);
  assertEquals(dict.weight_average, average.stateDict());
  assertEquals(optimizer.loadStateDict(dict, { parameters: true }).missing?.length ?? 0, 0);
  const resumed = create();
  resumed.optimizer.loadStateDict(dict, { parameters: true });
  resumed.average.loadStateDict(dict.weight_average!);
  optimizer.step({ average });
  resumed.optimizer.step({ average: resumed.average });
  assertEquals(resumed.average.stateDict(), average.stateDict());
  assertEquals(resumed.all, all);
  await Deno.remove(path);
});

Deno.test("the same state gives the same bytes, and a file without an average is as before", () => {
  const { optimizer, average } = create();
  const dict = optimizer.stateDict();
  const averaged = { ...dict, weight_average: average.stateDict() };
  assertEquals(encodeStateDict(averaged), encodeStateDict(structuredClone(averaged)));
  assertEquals(headerOf(averaged).__metadata__.version, "4");
  assertEquals(headerOf(dict).__metadata__.version, "2");
  const back = decodeStateDict(encodeStateDict(averaged));
  assertEquals(back.weight_average, averaged.weight_average);
});

function headerOf(dict: StateDict) {
  const bytes = encodeStateDict(dict);
  const length = new DataView(bytes.buffer).getUint32(0, true);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
}

/** The bytes of a file whose header has been changed. */
function withHeader(dict: StateDict, change: (header: Record<string, unknown>) => void) {
  const bytes = encodeStateDict(dict);
  const before = new DataView(bytes.buffer).getUint32(0, true);
  const header = headerOf(dict);
  change(header);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil(text.length / 8) * 8).fill(0x20);
  padded.set(text);
  const data = bytes.subarray(8 + before);
  const file = new Uint8Array(8 + padded.length + data.length);
  new DataView(file.buffer).setUint32(0, padded.length, true);
  file.set(padded, 8);
  file.set(data, 8 + padded.length);
  return file;
}

Deno.test("a hostile file is refused in words", () => {
  const { optimizer, average } = create();
  const dict = { ...optimizer.stateDict(), weight_average: average.stateDict() };
  const set = (value: unknown) => (header: Record<string, unknown>) => {
    (header.__metadata__ as Record<string, string>).weight_average = JSON.stringify(value);
  };
  const names = ["w0", "w1", "wide"];
  const cases: [(header: Record<string, unknown>) => void, string][] = [
    [set({ n_averaged: 1 }), "size must be a whole number >= 0"],
    [set({ n_averaged: 1, size: 4 }), 'its tensor "average.3" is missing'],
    [set({ n_averaged: 1, size: 2 ** 52 }), 'its tensor "average.3" is missing'],
    [set({ n_averaged: 1, size: 2 }), 'its tensor "average.2" belongs to no parameter'],
    [set({ n_averaged: 0.5, size: 3 }), "n_averaged must be a whole number >= 0"],
    [set({ n_averaged: 1, size: 3, param_names: names.slice(1) }), "must have 3 names"],
    [set({ n_averaged: 1, size: 3, param_names: [1, 2, 3] }), "must be a string"],
    [set({ n_averaged: 1, size: 3, decay: 1 }), "decay is not a state of a WeightAverage"],
    [set([]), "weight_average"],
    [(header) => {
      delete (header.__metadata__ as Record<string, string>).weight_average;
    }, "belongs to no parameter"],
  ];
  for (const [change, message] of cases) {
    assertThrows(() => decodeStateDict(withHeader(dict, change)), Error, message);
  }
  assertEquals(decodeStateDict(withHeader(dict, () => {})), decodeStateDict(encodeStateDict(dict)));
});

Deno.test("a parameter whose name an average needs is refused where there is one", () => {
  const w = { data: new Float32Array(1), grad: null, name: "average.0" };
  const [optimizer, average] = [new SGD([w], { lr: 1 }), new WeightAverage([w], { decay: 0.5 })];
  const dict = optimizer.stateDict({ parameters: true });
  assertEquals(decodeStateDict(encodeStateDict(dict)).parameters?.[0].data.length, 1);
  const averaged = { ...dict, weight_average: average.stateDict() };
  assertThrows(() => encodeStateDict(averaged), TypeError, "the names of tensors must differ");
});

Deno.test("an average that changes while it is saved rejects, and the old file stays", async () => {
  const { optimizer, average } = create();
  const path = await Deno.makeTempFile();
  await saveState(path, optimizer, { average });
  const before = await Deno.readFile(path);
  const saving = saveState(path, optimizer, { average });
  average.update();
  await assertRejects(() => saving, Error, "the average has changed meanwhile");
  assertEquals(await Deno.readFile(path), before);
  average.swap();
  await assertRejects(() => saveState(path, optimizer, { average }), Error, "swap back first");
  await assertRejects(
    () => saveState(path, optimizer, { average: {} as never }),
    TypeError,
    "Cannot save the average as it must have a stateDict",
  );
  await Deno.remove(path);
});
