/** Models in several files, by their index. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { CheckpointError } from "@descent/sgd";
import { decodeTensors, loadTensors, openTensors, saveTensors } from "@descent/sgd/safetensors";
import { temporaryFolder } from "../publish/stage.ts";

const fixture = (name: string) => new URL(`fixtures/${name}`, import.meta.url);
const INDEX = "model.safetensors.index.json";
const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/** A folder with two files and an index that says what is in them. */
async function createModel(index: unknown, name = INDEX) {
  const folder = await temporaryFolder();
  const at = (name: string) => `${folder.path}/${name}`;
  await saveTensors(at("a.safetensors"), { a: { data: Float32Array.of(1) }, x: one(9) });
  await Deno.mkdir(at("sub"));
  await saveTensors(at("sub/b.safetensors"), { b: one(2), x: one(8) });
  const text = typeof index === "string" ? index : JSON.stringify(index);
  await Deno.writeTextFile(at(name), text);
  return { at, path: at(name), [Symbol.asyncDispose]: folder[Symbol.asyncDispose] };
}

const one = (value: number) => ({ data: Int8Array.of(value) });
const weights = (map: Record<string, unknown>, more = {}) => ({ weight_map: map, ...more });
const GOOD = { a: "a.safetensors", b: "sub/b.safetensors" };

Deno.test("a sharded model of the Python package is loaded and opened by its index", async () => {
  const shards = await Promise.all(SHARDS.map((name) => Deno.readFile(fixture(name))));
  const expected = Object.assign({}, ...shards.map((bytes) => decodeTensors(bytes)));
  const tensors = await loadTensors(fixture(INDEX));
  assertEquals({ ...tensors }, expected);
  assertEquals(Object.getPrototypeOf(tensors), null);
  await using file = await openTensors(fixture(INDEX));
  assertEquals([...file.names].sort(), Object.keys(expected).sort());
  assertEquals({ ...file.metadata }, { format: "pt", total_size: "22", total_parameters: "8" });
  for (const name of file.names) {
    assertEquals(await file.read(name), expected[name]);
    assertEquals(file.shapes[name], expected[name].shape);
  }
  assertEquals({ ...await loadTensors(fixture(INDEX), { names: ["c.weight"] }) }, {
    "c.weight": expected["c.weight"],
  });
});

Deno.test("the index decides which tensor is from which file, and others are left out", async () => {
  for (const [x, from] of [[9, "a.safetensors"], [8, "sub/b.safetensors"]] as const) {
    await using model = await createModel(weights({ ...GOOD, x: from }));
    assertEquals({ ...await loadTensors(model.path) }.x.data, Int8Array.of(x));
  }
  await using model = await createModel(weights(GOOD, { anything: [{ more: null }, 1.5] }));
  assertEquals(Object.keys(await loadTensors(model.path)).sort(), ["a", "b"]);
});

Deno.test("files of a model without a tensor that is asked for are not opened", async () => {
  await using model = await createModel(weights({ ...GOOD, c: "no.safetensors" }));
  const { a } = await loadTensors(model.path, { names: ["a"] });
  assertEquals(a.data, Float32Array.of(1));
  await assertRejects(() => loadTensors(model.path, { names: ["d"] }), RangeError, 'tensor "d"');
  await assertRejects(() => loadTensors(model.path, { names: ["c"] }), CheckpointError, "missing");
});

Deno.test("the progress of a sharded model counts all its files", async () => {
  await using model = await createModel(weights(GOOD));
  const seen: { done: number; total: number }[] = [];
  await loadTensors(model.path, { onProgress: (progress) => seen.push(progress) });
  const { done, total } = seen.at(-1)!;
  assertEquals(done, total);
  assert(seen.every((progress, i) => i === 0 || progress.done > seen[i - 1].done));
});

Deno.test({
  name: "links are followed, as caches of models have them" +
    (Deno.build.os === "windows" ? " (skipped: not on Windows)" : ""),
  ignore: Deno.build.os === "windows",
  async fn() {
    await using model = await createModel(weights(GOOD));
    await Deno.mkdir(model.at("snapshot"));
    await Deno.symlink(`../${INDEX}`, model.at(`snapshot/${INDEX}`));
    await Deno.symlink("../a.safetensors", model.at("snapshot/a.safetensors"));
    await Deno.symlink("../sub", model.at("snapshot/sub"));
    const found = await loadTensors(model.at(`snapshot/${INDEX}`));
    assertEquals(found.b.data, Int8Array.of(2));
  },
});

const OUTSIDE = [
  ...[
    "../a.safetensors",
    "/a.safetensors",
    "..",
    ".",
    "",
    "sub/../a.safetensors",
    "./a.safetensors",
  ],
  ...["sub//b.safetensors", "sub/", "..\\a.safetensors", "sub\\b.safetensors", "C:a.safetensors"],
  ...["C:\\a.safetensors", "\\\\host\\a", "a.safetensors\0", "file:///a.safetensors"],
];

for (const file of OUTSIDE) {
  Deno.test(`a file outside of the folder is refused: ${JSON.stringify(file)}`, async () => {
    await using model = await createModel(weights({ b: GOOD.b, a: file }));
    const error = await assertRejects(
      () => loadTensors(model.path),
      CheckpointError,
      'the file of tensor "a" in its index must be in the folder of the index',
    );
    assert(error.message.startsWith(`Cannot load ${model.path}: `));
    await assertRejects(() => openTensors(model.path), CheckpointError, "must be in the folder");
  });
}

const deep = `${"[".repeat(40)}${"]".repeat(40)}`;
const HOSTILE: [string, unknown, string][] = [
  ["a missing file", weights({ a: "no.safetensors" }), 'its file "no.safetensors" is missing'],
  ["a file without its tensor", weights({ ...GOOD, c: GOOD.a }), 'must have tensor "c"'],
  ["a folder for a file", weights({ a: "sub" }), 'it is not a regular file, in its file "sub"'],
  ["itself", weights({ a: INDEX }), `in its file "${INDEX}"`],
  ["no weight_map", {}, "its index has no weight_map"],
  ["a weight_map that is a list", { weight_map: [] }, 'there must be "{"'],
  ["a file that is a number", weights({ a: 1 }), "there must be a string"],
  ["a list", [], 'there must be "{"'],
  ["no JSON", "model", "its index is not valid at character 0"],
  ["nothing", "", "its index is not valid at character 0"],
  ["something behind it", '{"weight_map":{}}{}', "nothing must follow"],
  ["a tensor twice", '{"weight_map":{"a":"x","a":"y"}}', 'the key "a" is duplicated'],
  ["a lone surrogate", '{"weight_map":{"\\ud800":"x"}}', "a lone surrogate"],
  ["deep nesting", `{"weight_map":{},"more":${deep}}`, "at most 32 levels"],
  ["deep metadata", `{"weight_map":{},"metadata":{"more":${deep}}}`, "at most 32 levels"],
  ["metadata that is text", { weight_map: {}, metadata: "a" }, 'there must be "{"'],
];

for (const [name, index, message] of HOSTILE) {
  Deno.test(`an index is refused: ${name}`, async () => {
    await using model = await createModel(index);
    const error = await assertRejects(() => loadTensors(model.path), CheckpointError, message);
    assert(error.message.startsWith(`Cannot load ${model.path}: `), error.message);
  });
}

Deno.test("an index that is not UTF-8 is refused, and so is one with too many files", async () => {
  await using model = await createModel("{}");
  await Deno.writeFile(model.path, Uint8Array.of(0x7b, 0xff, 0x7d));
  await assertRejects(() => loadTensors(model.path), CheckpointError, "its index is not UTF-8");
  const many = Object.fromEntries(Array.from({ length: 4097 }, (_, i) => [`${i}`, `f${i}`]));
  await Deno.writeTextFile(model.path, JSON.stringify(weights(many)));
  await assertRejects(() => loadTensors(model.path), CheckpointError, "at most 4096 files");
});

Deno.test("a model without tensors is an empty record, and one without an index is not found", async () => {
  await using model = await createModel(weights({}), "other.JSON");
  assertEquals(Object.keys(await loadTensors(model.path)), []);
  await assertRejects(() => loadTensors(model.at("no.index.json")), Deno.errors.NotFound);
});
