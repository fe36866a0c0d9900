/**
 * Copies the file of every dtype, tensor by tensor, and prints what it has read: `copier.ts FIXTURES
 * TARGET`. It is bundled for runtimes that do not read TypeScript.
 */

import { loadTensors, openTensors, saveTensors } from "@descent/sgd/safetensors";

const [fixtures, target] = process.argv.slice(2);
const source = `${fixtures}/every_dtype.safetensors`;
const tensors = await loadTensors(source);
const file = await openTensors(source);
const parts = await Promise.all(file.names.map((name) => file.read(name)));
const copies = Object.fromEntries(file.names.map((name, i) => [name, parts[i]]));
await saveTensors(target, copies, { metadata: file.metadata });
const { F32: one } = await loadTensors(source, { names: ["F32.28"] }).then((found) => ({
  F32: found["F32.28"],
}));
await file.close();
const large = `${target}.large`;
const numbers = Float32Array.from({ length: 3 << 20 }, (_, i) => i % 1021); // three pieces of a file
await saveTensors(large, { first: { data: Float64Array.of(0) }, numbers: { data: numbers } });
const { numbers: again } = await loadTensors(large, { names: ["numbers"] });
const sharded = await loadTensors(`${fixtures}/model.safetensors.index.json`);
const codeOf = (error: unknown) => (error as { code?: string }).code;
console.log(JSON.stringify({
  kinds: Object.fromEntries(
    Object.entries(tensors).map(([name, { data }]) => [name, nameOf(data)]),
  ),
  single: Array.from(new Uint8Array(one.data.buffer)),
  sharded: Object.fromEntries(
    Object.entries(sharded).map(([name, { data }]) => [name, data.length]),
  ),
  metadata: file.metadata,
  large: numbers.findIndex((value, i) => value !== again.data[i]),
  missing: await openTensors(`${fixtures}/no`).then(() => "found", codeOf),
  closed: await file.read("F32.28").then(() => "read", ({ message }) => message),
}));

/** The name of a class; a bundler may have renamed the one of BFloat16Array, not its methods. */
function nameOf(data: object): string {
  return "toFloat32Array" in data ? "BFloat16Array" : data.constructor.name;
}
