/** Safetensors files: loading all or some of a file, saving, and files that stay open. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CheckpointError } from "@descent/sgd";
import { decodeTensors, loadTensors, openTensors, saveTensors } from "@descent/sgd/safetensors";
import type { SavedTensor } from "@descent/sgd/safetensors";
import { killWhileSaving } from "../checkpoint/kills.ts";
import { leftoverOf, script } from "../checkpoint/process.ts";
import { temporaryFolder } from "../publish/stage.ts";
import { everyDtype } from "./every_dtype.ts";

const namesIn = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

/** A file in a folder of its own. */
async function createFile(tensors: Record<string, SavedTensor> = everyDtype()) {
  const folder = await temporaryFolder();
  const path = `${folder.path}/model.safetensors`;
  await saveTensors(path, tensors, { metadata: { format: "pt", note: "é" } });
  return { folder: folder.path, path, [Symbol.asyncDispose]: folder[Symbol.asyncDispose] };
}

Deno.test("what is saved is loaded, by path and by URL", async () => {
  await using file = await createFile();
  const decoded = decodeTensors(await Deno.readFile(file.path));
  assertEquals(await loadTensors(file.path), decoded);
  assertEquals(await loadTensors(new URL(`file://${file.path}`)), decoded);
  assertEquals(Object.keys(decoded).sort(), Object.keys(everyDtype()).sort());
  assertEquals(namesIn(file.folder), ["model.safetensors"]);
});

Deno.test("some tensors are loaded by their names, from a list or any iterable", async () => {
  await using file = await createFile();
  const all = await loadTensors(file.path);
  for (const names of [["F32.28"], ["U8.13", "F64.28", "I64.20", "U8.13"], Object.keys(all), []]) {
    const expected = Object.fromEntries(names.map((name) => [name, all[name]]));
    const found = await loadTensors(file.path, { names });
    assertEquals({ ...found }, expected);
    assertEquals({ ...await loadTensors(file.path, { names: new Set(names) }) }, expected);
    assertEquals(Object.getPrototypeOf(found), null);
  }
});

Deno.test("the bytes of tensors that are not asked for are not read", async () => {
  const big = { data: new Float32Array(3 << 20).fill(1) }; // 12 MiB, three pieces
  const small = { data: Int8Array.of(1, 2) };
  const gap = { data: new Int8Array(1 << 16) };
  await using file = await createFile({
    a: big,
    b: small,
    c: { data: new Float32Array(1) },
    d: gap,
    e: small,
  });
  for (
    const [names, bytes] of [
      [["b"], 2],
      [["a"], 12 << 20],
      [["c", "b"], 6],
      [["b", "e"], 4 + (1 << 16)], // little is between them, and is read too
      [["a", "e"], (12 << 20) + 2],
      [undefined, (12 << 20) + 8 + (1 << 16)],
    ] as const
  ) {
    const seen: { done: number; total: number }[] = [];
    await loadTensors(file.path, { names, onProgress: (progress) => seen.push(progress) });
    const { size } = await Deno.stat(file.path);
    const head = size - (12 << 20) - 8 - (1 << 16);
    assertEquals(seen[0], { done: head, total: head + bytes });
    assertEquals(seen.at(-1), { done: head + bytes, total: head + bytes });
    assert(seen.every(({ done }, i) => i === 0 || done > seen[i - 1].done));
  }
});

Deno.test("saving reports its progress, up to the bytes of the file", async () => {
  await using file = await createFile();
  const seen: { done: number; total: number }[] = [];
  const big = { data: new Float32Array(3 << 20) };
  await saveTensors(file.path, { big }, { onProgress: (progress) => seen.push(progress) });
  const { size } = await Deno.stat(file.path);
  assertEquals(seen.at(-1), { done: size, total: size });
  assert(seen.length >= 3);
});

Deno.test("two thousand tensors are loaded, all or every third", async () => {
  const entries = Array.from({ length: 2001 }, (_, i): [string, SavedTensor] => [
    `t${i}`,
    { data: i % 2 === 0 ? Float32Array.of(i, i) : Uint8Array.of(i) },
  ]);
  await using file = await createFile(Object.fromEntries(entries));
  for (const every of [1, 3]) {
    const some = entries.filter((_, i) => i % every === 0);
    const found = await loadTensors(file.path, { names: some.map(([name]) => name) });
    assertEquals(Object.keys(found).length, some.length);
    for (const [name, { data }] of some) assertEquals([...found[name].data], [...data]);
  }
});

Deno.test("an open file has names, shapes, dtypes and metadata, and reads single tensors", async () => {
  await using place = await createFile();
  const all = await loadTensors(place.path);
  await using file = await openTensors(place.path);
  assertEquals(file.names, Object.keys(all));
  assertEquals({ ...file.metadata }, { format: "pt", note: "é" });
  for (const [name, { shape, dtype }] of Object.entries(all)) {
    assertEquals([file.shapes[name], file.dtypes[name]], [shape, dtype]);
    assertEquals(await file.read(name), all[name]);
  }
  for (const record of [file.shapes, file.dtypes, file.metadata]) {
    assertEquals(Object.getPrototypeOf(record), null);
    assertThrows(() => Object.assign(record, { more: 1 }), TypeError);
  }
});

Deno.test("reads of an open file may overlap, and give arrays of their own", async () => {
  const tensors = Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [`t${i}`, { data: new Float32Array(10_000).fill(i) }]),
  );
  await using place = await createFile(tensors);
  using file = await openTensors(place.path);
  const names = [...file.names, ...[...file.names].reverse()];
  const found = await Promise.all(names.map((name) => file.read(name)));
  for (const [i, name] of names.entries()) assertEquals(found[i].data, tensors[name].data);
  const buffers = found.map(({ data }) => data.buffer);
  assertEquals(new Set(buffers).size, names.length);
});

Deno.test("a read that fails does not disturb the next one", async () => {
  await using place = await createFile();
  await using file = await openTensors(place.path);
  const [failed, read] = await Promise.allSettled([file.read("no"), file.read("U8.13")]);
  assertEquals([failed.status, read.status], ["rejected", "fulfilled"]);
});

Deno.test("a closed file reads nothing more; reads under way are finished", async () => {
  await using place = await createFile({ w: { data: new Float32Array(5 << 20).fill(3) } });
  const file = await openTensors(place.path);
  const reading = file.read("w");
  const closing = file.close();
  await assertRejects(() => file.read("w"), Error, 'Cannot read tensor "w" as the file has been');
  assert((await reading).data.every((value) => Number(value) === 3));
  await closing;
  await file.close();
  file[Symbol.dispose]();
  await file[Symbol.asyncDispose]();
});

Deno.test("errors name the file and the tensor", async () => {
  await using place = await createFile({ w: { data: Float32Array.of(1, 2) } });
  const load = (names: unknown) => loadTensors(place.path, { names } as never);
  await assertRejects(() => load(["w", "v"]), RangeError, 'Cannot load tensor "v" as');
  await assertRejects(
    () => load("w"),
    TypeError,
    'names must be a list of names: current value is "w"',
  );
  await assertRejects(() => load([1]), TypeError, "each of names must be a string");
  await assertRejects(() => loadTensors("", {}), TypeError, "a path or a file: URL");
  await assertRejects(() => loadTensors(place.path, { name: 1 } as never), TypeError, '"name"');
  await assertRejects(() => loadTensors(`${place.folder}/no`), Deno.errors.NotFound);
  await assertRejects(() => openTensors(`${place.folder}/no`), Deno.errors.NotFound);
  for (const open of [loadTensors, openTensors]) {
    const error = await assertRejects(() => open(place.folder), CheckpointError);
    assertEquals(error.message.includes(place.folder), true);
    assertEquals(error.message.includes("it is not a regular file"), true);
  }
  await Deno.writeTextFile(place.path, "no file of tensors");
  await assertRejects(() => loadTensors(place.path), CheckpointError, `Cannot load ${place.path}:`);
  await assertRejects(() => openTensors(place.path), CheckpointError, `Cannot load ${place.path}:`);
});

Deno.test("a file that becomes shorter while it is open is refused", async () => {
  await using place = await createFile({ w: { data: new Float32Array(1000) } });
  await using file = await openTensors(place.path);
  await Deno.truncate(place.path, 500);
  await assertRejects(() => file.read("w"), CheckpointError, "was longer when opened");
});

Deno.test("a file that is replaced while it is open is still the one that was opened", async () => {
  await using place = await createFile({ w: { data: Float32Array.of(1) } });
  await using file = await openTensors(place.path);
  await saveTensors(place.path, { w: { data: Float32Array.of(2) } });
  assertEquals((await file.read("w")).data, Float32Array.of(1));
  assertEquals((await loadTensors(place.path)).w.data, Float32Array.of(2));
});

Deno.test("what cannot be saved leaves the old file, and nothing beside it", async () => {
  await using place = await createFile({ w: { data: Float32Array.of(1) } });
  const before = await Deno.readFile(place.path);
  const wrong = { w: { data: Float32Array.of(1), shape: [2] } };
  await assertRejects(() => saveTensors(place.path, wrong), RangeError, "must have 8 bytes");
  const big = new Float32Array(4 << 20);
  const saving = saveTensors(place.path, { big: { data: big } }, {
    onProgress: () => void (big.byteLength > 0 && big.buffer.transfer()),
  });
  await assertRejects(() => saving, Error, "Cannot save the tensors as an array was detached");
  const failing = saveTensors(place.path, { big: { data: new Float32Array(1) } }, {
    onProgress: () => {
      throw new Error("the caller's");
    },
  });
  await assertRejects(() => failing, Error, "the caller's");
  await assertRejects(() => saveTensors(place.folder, {}), CheckpointError, "it is a directory");
  const missing = `${place.folder}/no/file`;
  await assertRejects(() => saveTensors(missing, {}), CheckpointError, `Cannot save ${missing}`);
  assertEquals(await Deno.readFile(place.path), before);
  assertEquals(namesIn(place.folder), ["model.safetensors"]);
});

Deno.test("what a killed process left is removed by the next load and by the next save", async () => {
  await using place = await createFile();
  const left = `${place.folder}/${await leftoverOf("model.safetensors")}`;
  for (const run of [() => loadTensors(place.path), () => saveTensors(place.path, {})]) {
    await Deno.writeTextFile(left, "left");
    await run();
    assertEquals(namesIn(place.folder), ["model.safetensors"]);
  }
});

Deno.test({
  name: `after each of 20 kills the file is one of the saves${
    Deno.build.os === "windows" ? " (skipped: not on Windows)" : ""
  }`,
  ignore: Deno.build.os === "windows",
  async fn() {
    await using folder = await temporaryFolder();
    const path = `${folder.path}/run`;
    let next = 0;
    for (let kill = 0; kill < 20; kill++) {
      const saver = script("../safetensors/saver.ts", [path, String(next)]);
      const last = await killWhileSaving(saver, (kill * 7919) % 97 / 5);
      await using file = await openTensors(path);
      const found = Number(file.metadata.n);
      assert(found === last || found === last + 1, `save ${found} after ${last} was on disk`);
      for (const name of file.names) {
        assert((await file.read(name)).data.every((value) => Number(value) === found));
      }
      next = found + 1;
    }
    await loadTensors(path);
    assertEquals(namesIn(folder.path), ["run"]);
  },
});

Deno.test("loading needs the permission to read the file, and no other", async () => {
  await using place = await createFile({ w: { data: Float32Array.of(7) } });
  const run = async (permissions: string[]) => {
    const { stdout } = await script("../safetensors/loader.ts", [place.path], permissions).output();
    return new TextDecoder().decode(stdout).trim();
  };
  assertEquals(await run([`--allow-read=${place.path}`]), "7 7");
  assertEquals(await run([]), "NotCapable");
});
