/** Tensors as bytes: all dtypes, held to files of the Python package and of the Rust crate. */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { BFloat16Array, CheckpointError, SGD } from "@descent/sgd";
import { decodeTensors, encodeTensors } from "@descent/sgd/safetensors";
import type { LoadedTensor, SavedTensor, TensorDtype } from "@descent/sgd/safetensors";
import { BITS, everyDtype } from "./every_dtype.ts";
import expected from "./fixtures/expected.json" with { type: "json" };

const fixture = (name: string) => Deno.readFile(new URL(`fixtures/${name}`, import.meta.url));

/** The class of the data of each dtype; bytes for those that are not here. */
const CLASSES: Partial<Record<string, unknown>> = {
  ...{ I8: Int8Array, I16: Int16Array, U16: Uint16Array, F16: Float16Array, BF16: BFloat16Array },
  ...{ I32: Int32Array, U32: Uint32Array, F32: Float32Array, F64: Float64Array },
  ...{ I64: BigInt64Array, U64: BigUint64Array },
};

function bytesOf({ data }: { readonly data: ArrayBufferView }): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The elements as Python prints them. */
function valuesOf({ data }: LoadedTensor): string[] {
  const numbers = data instanceof BFloat16Array ? data.toFloat32Array() : data;
  return Array.from(numbers as ArrayLike<number>, (value) => String(value));
}

/** Numbers that Python prints, as JavaScript prints them. */
const asNumbers = (values: readonly string[]) =>
  values.map((value) => /^-?\d+$/.test(value) ? value : String(Number(value)));

Deno.test("the file that the Rust crate writes of every dtype is read", async () => {
  const tensors = decodeTensors(await fixture("every_dtype.safetensors"));
  const all = everyDtype();
  assertEquals(Object.keys(tensors).sort(), Object.keys(all).sort());
  for (const [name, { dtype, shape, data }] of Object.entries(all)) {
    const found = tensors[name];
    assertEquals([found.dtype, found.shape], [dtype, [...shape]]);
    assertStrictEquals(found.data.constructor, CLASSES[dtype] ?? Uint8Array, dtype);
    assertEquals(bytesOf(found), data, name);
  }
});

Deno.test("every dtype is written to the bytes of the Rust crate: from bytes, and from arrays", async () => {
  const file = await fixture("every_dtype.safetensors");
  const metadata = { format: "pt" };
  assertEquals(encodeTensors(everyDtype(), { metadata }), file);
  assertEquals(encodeTensors(decodeTensors(file), { metadata }), file);
  const reversed = Object.fromEntries(Object.entries(everyDtype()).reverse());
  assertEquals(encodeTensors(reversed, { metadata }), file);
});

for (const [name, { metadata, tensors }] of Object.entries(expected)) {
  Deno.test(`a file of the Python package is read, and written to the same bytes: ${name}`, async () => {
    const file = await fixture(name);
    const found = decodeTensors(file);
    const entries = Object.entries(tensors) as [string, Described][];
    assertEquals(Object.keys(found).sort(), entries.map(([name]) => name).sort());
    for (const [name, { dtype, shape, values }] of entries) {
      assertEquals([found[name].dtype, found[name].shape], [dtype, shape], name);
      assertEquals(valuesOf(found[name]), asNumbers(values), name);
    }
    assertEquals(encodeTensors(found, { metadata: metadata as Record<string, string> }), file);
  });
}

interface Described {
  readonly dtype: string;
  readonly shape: number[];
  readonly values: string[];
}

Deno.test("the record has no prototype, and any name is one of its own", () => {
  const names = ["__proto__", "constructor", "toString", "", "0", "é", 'a "quoted" name'];
  const tensors = Object.fromEntries(
    names.map((name, i) => [name, { data: Int8Array.of(i) }]),
  );
  const found = decodeTensors(encodeTensors(tensors));
  assertEquals(Object.getPrototypeOf(found), null);
  for (const [i, name] of names.entries()) assertEquals(found[name].data[0], i);
  assertEquals(Object.keys(found).sort(), [...names].sort());
});

Deno.test("decoded tensors are copies, each with a buffer of its own that fits it", () => {
  const bytes = encodeTensors({
    a: { data: Float32Array.of(1, 2) },
    b: { data: Uint8Array.of(1, 2, 3) },
  });
  const { a, b } = decodeTensors(bytes);
  bytes.fill(0);
  assertEquals(a.data, Float32Array.of(1, 2));
  assertEquals([a.data.buffer.byteLength, b.data.buffer.byteLength], [8, 3]);
});

Deno.test("bytes that begin anywhere in their buffer are decoded", () => {
  const file = encodeTensors({ a: { data: Float64Array.of(0.1) } });
  const moved = new Uint8Array(file.length + 5).subarray(3, 3 + file.length);
  moved.set(file);
  assertEquals(decodeTensors(moved).a.data, Float64Array.of(0.1));
});

Deno.test("a parameter is saved as it is, and a loaded tensor is stepped as it is", () => {
  const w = { name: "w", data: Float32Array.of(1, 2), grad: Float32Array.of(1, 1), shape: [2, 1] };
  const { w: loaded } = decodeTensors(encodeTensors({ w }));
  if (loaded.dtype !== "F32") throw new TypeError(loaded.dtype);
  const { data, shape } = loaded;
  new SGD([{ name: "w", data, shape, grad: w.grad }], { lr: 0.5 }).step();
  assertEquals(loaded, { data: Float32Array.of(0.5, 1.5), shape: [2, 1], dtype: "F32" });
});

Deno.test("the same tensors and metadata give the same bytes, in whatever order they come", () => {
  const a = { data: Float32Array.of(1) };
  const b = { data: Int16Array.of(2) };
  const first = encodeTensors({ a, b }, { metadata: { x: "1", y: "2" } });
  assertEquals(encodeTensors({ b, a }, { metadata: { y: "2", x: "1" } }), first);
});

Deno.test("a view is saved without what surrounds it, and a shared buffer is taken", () => {
  const shared = new Float32Array(new SharedArrayBuffer(16));
  shared.set([0, 1, 2, 3]);
  const { v } = decodeTensors(encodeTensors({ v: { data: shared.subarray(1, 3) } }));
  assertEquals(v.data, Float32Array.of(1, 2));
});

Deno.test("many small tensors share buffers, and are aligned", () => {
  const entries = Array.from({ length: 2000 }, (_, i): [string, SavedTensor] => [
    `t${i}`,
    { data: i % 2 === 0 ? Float32Array.of(i) : Uint8Array.of(i) },
  ]);
  const found = decodeTensors(encodeTensors(Object.fromEntries(entries)));
  for (const [name, { data }] of entries) assertEquals([...found[name].data], [...data]);
  assert(new Set(Object.values(found).map(({ data }) => data.buffer)).size < 100);
});

const detached = new Float32Array(2);
detached.buffer.transfer();
const bad = (value: unknown) => ({ w: value }) as Record<string, SavedTensor>;
const one = Float32Array.of(1);

const REFUSED: [string, () => unknown, typeof TypeError | typeof RangeError, string][] = [
  ["no tensors", () => encodeTensors(undefined!), TypeError, "a plain object of names and tensors"],
  ["a Map", () => encodeTensors(new Map() as never), TypeError, "current value is of type Map"],
  [
    "an array for a tensor",
    () => encodeTensors(bad([1])),
    TypeError,
    'tensor "w" must be an object',
  ],
  [
    "a list of numbers",
    () => encodeTensors(bad({ data: [1] })),
    TypeError,
    'the data of tensor "w" must be a typed array of safetensors: current value is of type Array',
  ],
  [
    "a clamped array",
    () => encodeTensors(bad({ data: new Uint8ClampedArray(1) })),
    TypeError,
    "current value is of type Uint8ClampedArray",
  ],
  ["a detached array", () => encodeTensors({ w: { data: detached } }), TypeError, "is detached"],
  [
    "an unknown dtype",
    () => encodeTensors(bad({ data: one, dtype: "F7" })),
    TypeError,
    'the dtype of tensor "w" must be one of safetensors: current value is "F7"',
  ],
  [
    "a dtype that every object has",
    () => encodeTensors(bad({ data: one, dtype: "constructor" })),
    TypeError,
    "must be one of safetensors",
  ],
  [
    "the dtype of another array",
    () => encodeTensors({ w: { data: new Uint16Array(1), dtype: "BF16" } }),
    TypeError,
    'the dtype of tensor "w" must be U16, as that of its array: current value is "BF16"',
  ],
  [
    "bytes of wide elements without a shape",
    () => encodeTensors({ w: { data: new Uint8Array(8), dtype: "F64" } }),
    TypeError,
    'the shape of tensor "w" must be there, as its data are bytes',
  ],
  [
    "a shape that does not fit",
    () => encodeTensors({ w: { data: one, shape: [2] } }),
    RangeError,
    'tensor "w" of dtype F32 and shape [2] must have 8 bytes: its data has 4',
  ],
  [
    "half a byte",
    () => encodeTensors({ w: { data: new Uint8Array(1), dtype: "F4", shape: [1] } }),
    RangeError,
    "must have whole bytes, and not 4 bits",
  ],
  [
    "a shape of text",
    () => encodeTensors(bad({ data: one, shape: "1" })),
    TypeError,
    'the shape of tensor "w" must be an array of whole numbers >= 0: current value is 1',
  ],
  [
    "a negative side",
    () => encodeTensors({ w: { data: one, shape: [-1, -1] } }),
    TypeError,
    "current value is [-1, -1]",
  ],
  [
    "a shape beyond 2^53",
    () => encodeTensors({ w: { data: new Float32Array(0), shape: [2 ** 30, 2 ** 30, 0] } }),
    RangeError,
    'Cannot encode the tensors as tensor "w" is too large: its shape is [1073741824, ',
  ],
  [
    "65 dimensions",
    () => encodeTensors({ w: { data: one, shape: Array(65).fill(1) } }),
    RangeError,
    'Cannot encode the tensors as tensor "w" must have at most 64 dimensions: it has 65',
  ],
  [
    "the name of the metadata",
    () => encodeTensors({ "__metadata__": { data: one } }),
    TypeError,
    'no tensor may be called "__metadata__"',
  ],
  [
    "a name with a lone surrogate",
    () => encodeTensors({ "\ud800": { data: one } }),
    TypeError,
    "the name of a tensor must not have lone surrogates",
  ],
  [
    "metadata that is a number",
    () => encodeTensors({}, { metadata: { epoch: 3 as never } }),
    TypeError,
    "metadata.epoch must be a string: current value is 3",
  ],
  [
    "metadata that is a list",
    () => encodeTensors({}, { metadata: ["a"] as never }),
    TypeError,
    "metadata must be an object",
  ],
  [
    "metadata with a lone surrogate",
    () => encodeTensors({}, { metadata: { a: "\udc00" } }),
    TypeError,
    "metadata.a must not have lone surrogates",
  ],
  [
    "an unknown option",
    () => encodeTensors({}, { meta: {} } as never),
    TypeError,
    'option "meta"',
  ],
  ["an array buffer", () => decodeTensors(new ArrayBuffer(8) as never), TypeError, "a Uint8Array"],
];

for (const [name, run, type, message] of REFUSED) {
  Deno.test(`tensors are refused: ${name}`, () => {
    const error = assertThrows(run, type, message);
    assert(error.message.startsWith("Cannot "), error.message);
  });
}

Deno.test("no tensors at all are a file, with metadata or without", () => {
  assertEquals(Object.keys(decodeTensors(encodeTensors({}))), []);
  assertEquals(Object.keys(decodeTensors(encodeTensors({}, { metadata: { a: "b" } }))), []);
});

Deno.test("an unknown dtype in a file is refused by its name", () => {
  const text = '{"w":{"dtype":"F5","shape":[1],"data_offsets":[0,1]}}';
  const bytes = new Uint8Array(8 + text.length + 1);
  bytes[0] = text.length;
  new TextEncoder().encodeInto(text, bytes.subarray(8));
  assertThrows(() => decodeTensors(bytes), CheckpointError, 'is not known: it is "F5"');
});

Deno.test("the type of the data follows from the dtype", () => {
  const tensor = decodeTensors(encodeTensors({ w: { data: BigInt64Array.of(-1n) } })).w;
  if (tensor.dtype !== "I64") throw new Error(tensor.dtype);
  const first: bigint = tensor.data[0];
  assertEquals(first, -1n);
  const dtypes: readonly TensorDtype[] = Object.keys(BITS) as TensorDtype[];
  assertEquals(dtypes.length, 22);
});
