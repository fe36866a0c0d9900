/** The codec against the Rust crate's own vectors and files of the Python package. */

import { assertEquals, assertThrows } from "@std/assert";
import { CheckpointError } from "@descent/sgd";
import {
  bytesOf,
  layOut,
  PREFIX,
  readHeader,
  readHeaderLength,
} from "../../src/checkpoint/safetensors.ts";
import fc from "fast-check";
import type { Tensor } from "../../src/checkpoint/tensor_order.ts";
import python from "./fixtures/safetensors_vectors.json" with { type: "json" };

function encode(tensors: readonly Tensor[], metadata?: Record<string, string>): Uint8Array {
  const layout = layOut(tensors, metadata);
  const bytes = new Uint8Array(layout.size);
  bytes.set(layout.head);
  let at = layout.head.length;
  for (const { array } of layout.tensors) {
    bytes.set(bytesOf(array), at);
    at += array.byteLength;
  }
  return bytes;
}

function decode(bytes: Uint8Array) {
  const end = PREFIX + readHeaderLength(bytes.subarray(0, PREFIX), bytes.length);
  const header = readHeader(bytes.subarray(PREFIX, end), bytes.length - end);
  const tensors = new Map(header.tensors.map(({ name, info }) => [name, info]));
  assertEquals(tensors.size, header.tensors.length);
  return { ...header, tensors, data: bytes.subarray(end) };
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

/** Bytes as the crate's tests write them: `\xNN` in a byte string. */
function rust(literal: string): Uint8Array {
  return Uint8Array.from(literal, (char) => char.charCodeAt(0));
}

const ZEROS = "\0".repeat(16);
const VALUES = Float32Array.of(0, 1, 2, 3, 4, 5);

// Transcribed from tensor.rs of safetensors 0.8.0.
const CRATE_WRITES: [string, Tensor[], Record<string, string>, string][] = [
  [
    "test_serialization",
    [{ name: "attn.0", array: VALUES, shape: [1, 2, 3] }],
    {},
    '@\0\0\0\0\0\0\0{"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}}',
  ],
  [
    "test_serialization_forced_alignement",
    [{ name: "attn0", array: VALUES, shape: [1, 1, 2, 3] }],
    {},
    'H\0\0\0\0\0\0\0{"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}       ',
  ],
  ["test_empty", [], {}, "\x08\0\0\0\0\0\0\0{}      "],
  [
    "test_empty with metadata",
    [],
    { framework: "pt" },
    '(\0\0\0\0\0\0\0{"__metadata__":{"framework":"pt"}}     ',
  ],
];

for (const [name, tensors, metadata, head] of CRATE_WRITES) {
  Deno.test(`the bytes are those of the crate's ${name}`, () => {
    const data = tensors.flatMap(({ array }) => [...bytesOf(array)]);
    assertEquals(encode(tensors, metadata), Uint8Array.from([...rust(head), ...data]));
  });
}

const CRATE_READS: [string, string, Record<string, { dtype: string; shape: number[] }>][] = [
  [
    "test_empty_shapes_allowed",
    '8\0\0\0\0\0\0\0{"test":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}\0\0\0\0',
    { test: { dtype: "I32", shape: [] } },
  ],
  [
    "test_deserialization",
    `<\0\0\0\0\0\0\0{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}${ZEROS}`,
    { test: { dtype: "I32", shape: [2, 2] } },
  ],
  [
    "test_serialization_fp4",
    '@\0\0\0\0\0\0\0{"attn.0":{"dtype":"F4","shape":[1,2],"data_offsets":[0,1]}}    \0',
    { "attn.0": { dtype: "F4", shape: [1, 2] } },
  ],
  [
    "test_zero_sized_tensor",
    '<\0\0\0\0\0\0\0{"test":{"dtype":"I32","shape":[2,0],"data_offsets":[0, 0]}}',
    { test: { dtype: "I32", shape: [2, 0] } },
  ],
  ["test_whitespace_padded_header", "\x06\0\0\0\0\0\0\0{}\x0D\x20\x09\x0A", {}],
  ["test_whitespace_leading_padded_header", "\x06\0\0\0\0\0\0\0\x09\x0A{}\x0D\x20", {}],
];

for (const [name, literal, tensors] of CRATE_READS) {
  Deno.test(`what the crate reads in ${name} is read`, () => {
    const found = [...decode(rust(literal)).tensors].map(([name, { dtype, shape }]) => [
      name,
      { dtype, shape },
    ]);
    assertEquals(Object.fromEntries(found), tensors);
  });
}

const overlapping = Array.from(
  { length: 10 },
  (_, i) => `"weight_${i}":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}`,
).join(",");
const one = '{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}';

const CRATE_REFUSES: [string, string, string][] = [
  [
    "test_json_attack",
    `${
      String.fromCharCode((overlapping.length + 2) & 255)
    }\x02\0\0\0\0\0\0{${overlapping}}${ZEROS}`,
    "must start at byte 16 of the data",
  ],
  [
    "test_metadata_incomplete_buffer",
    `<\0\0\0\0\0\0\0${one}${ZEROS}extra_bogus_data_for_polyglot_file`,
    "must have 50 bytes",
  ],
  [
    "test_metadata_incomplete_buffer, 2 bytes missing",
    `<\0\0\0\0\0\0\0${one}${ZEROS.slice(2)}`,
    "must have 14 bytes",
  ],
  ["test_header_too_large", `<\0\0\0\0\xff\xff\xff${one}${ZEROS}`, "at most 76 bytes"],
  ["test_header_too_small", "", "at least 8 bytes: it has 0"],
  ["a file of torch.save", `PK\x03\x04${ZEROS}`, "a ZIP archive, as torch.save writes"],
  ["test_invalid_header_length", "<\0\0\0\0\0\0\0", "at most 0 bytes: 60 are announced"],
  ["test_invalid_header_non_utf8", "\x01\0\0\0\0\0\0\0\xff", "not UTF-8"],
  ["test_invalid_header_not_json", "\x01\0\0\0\0\0\0\0{", "must be a string"],
  [
    "test_invalid_info",
    '<\0\0\0\0\0\0\0{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0, 4]}}',
    "must have 16 bytes: its data_offsets are [0, 4]",
  ],
  [
    "test_validation_overflow of the shape",
    `O\0\0\0\0\0\0\0{"test":{"dtype":"I32","shape":[2,18446744073709551614],"data_offsets":[0,16]}}${ZEROS}`,
    "whole number from 0 to 2^53 - 1",
  ],
  [
    "test_validation_overflow of the bytes",
    `N\0\0\0\0\0\0\0{"test":{"dtype":"I32","shape":[2,9223372036854775807],"data_offsets":[0,16]}}${ZEROS}`,
    "whole number from 0 to 2^53 - 1",
  ],
  [
    "test_serialization_fp4_misaligned",
    '?\0\0\0\0\0\0\0{"attn.0":{"dtype":"F4","shape":[1,3],"data_offsets":[0,2]}}   \0\0',
    "does not end with a whole byte",
  ],
];

for (const [name, literal, message] of CRATE_REFUSES) {
  Deno.test(`what the crate refuses in ${name} is refused`, () => {
    assertThrows(() => decode(rust(literal)), CheckpointError, message);
  });
}

Deno.test("a header above 100 MB is not written", () => {
  const metadata = { long: "a".repeat(100_000_000) };
  assertThrows(() => layOut([], metadata), RangeError, "at most 100000000 bytes");
});

Deno.test("more tensors than can be read again are not written", () => {
  const array = new Float32Array(0);
  const tensors = Array.from({ length: 250_000 }, (_, i) => ({
    name: `${i}`,
    array,
    shape: Array(8).fill(0),
  }));
  assertEquals(decode(encode(tensors)).tensors.size, 250_000);
  const more = [...tensors, { name: "more", array, shape: [0] }];
  assertThrows(() => layOut(more), RangeError, "at most 250000 tensors: it has 250001");
});

const ZEROS_64: number[] = Array(64).fill(0);
const EMPTY = new Float32Array(0);
const TOO_MUCH: [string, Tensor[], Record<string, string>, string][] = [
  [
    "65 dimensions",
    [{ name: "w", array: Float32Array.of(1), shape: Array(65).fill(1) }],
    {},
    'tensor "w" must have at most 64 dimensions: it has 65',
  ],
  [
    "a product beyond 2^53 before a zero",
    [{ name: "w", array: EMPTY, shape: [2 ** 30, 2 ** 30, 0] }],
    {},
    'tensor "w" is too large',
  ],
  [
    "more keys and items than are read",
    Array.from({ length: 65_000 }, (_, i) => ({ name: `${i}`, array: EMPTY, shape: ZEROS_64 })),
    {},
    "at most 4194304 keys and items: it has 4550001",
  ],
];

for (const [name, tensors, metadata, message] of TOO_MUCH) {
  Deno.test(`a layout with ${name} is not written`, () => {
    assertThrows(() => layOut(tensors, metadata), RangeError, message);
  });
}

Deno.test("a file may have as many keys and items as can be read", () => {
  const tensors = Array.from({ length: 59_918 }, (_, i) => ({
    name: `${i}`,
    array: EMPTY,
    shape: ZEROS_64,
  }));
  const notes = Object.fromEntries(Array.from({ length: 43 }, (_, i) => [`${i}`, ""]));
  assertEquals(decode(encode(tensors, notes)).tensors.size, tensors.length);
  const more = { ...notes, more: "" };
  assertThrows(() => layOut(tensors, more), RangeError, "it has 4194305");
});

Deno.test("every layout that is written is read, whatever its shapes are", () => {
  const side = fc.oneof(fc.constantFrom(0, 1, 2, 2 ** 26, 2 ** 48, 2 ** 53 - 1), fc.nat(4));
  const shape = fc.array(side, { maxLength: 70, size: "max" })
    .map((sides) => {
      const length = sides.reduce((a, b) => a * b, 1);
      return length <= 64 ? sides : [...sides, 0];
    });
  const names = fc.uniqueArray(fc.string({ unit: "grapheme" }), { maxLength: 4 });
  const tally = { written: 0, refused: 0 };
  fc.assert(fc.property(
    names.chain((all) => fc.tuple(...all.map((name) => fc.tuple(fc.constant(name), shape)))),
    fc.boolean(),
    (entries, wide) => {
      const tensors = entries.map(([name, shape]) => {
        const length = shape.reduce((a, b) => a * b, 1);
        return { name, shape, array: new (wide ? Float64Array : Float32Array)(length || 0) };
      });
      let bytes: Uint8Array;
      try {
        bytes = encode(tensors);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        return void tally.refused++;
      }
      tally.written++;
      const found = [...decode(bytes).tensors].map(([name, { shape }]) => [name, shape]);
      assertEquals(new Map(found as []), new Map(entries as []));
    },
  ));
  assertEquals(Math.min(tally.written, tally.refused) > 10, true, JSON.stringify(tally));
});

for (const [name, { base64, metadata, tensors }] of Object.entries(python)) {
  const file = fromBase64(base64);
  const expected = Object.entries(tensors) as [
    string,
    { dtype: "F32" | "F64"; shape: number[]; values: string },
  ][];

  Deno.test(`a file of the Python package is read: ${name}`, () => {
    const found = decode(file);
    assertEquals(Object.fromEntries(found.metadata), metadata as Record<string, string>);
    assertEquals([...found.tensors.keys()].sort(), expected.map(([name]) => name).sort());
    for (const [name, { dtype, shape, values }] of expected) {
      const info = found.tensors.get(name)!;
      assertEquals({ dtype: info.dtype, shape: info.shape }, { dtype, shape });
      assertEquals(found.data.subarray(info.start, info.end), fromBase64(values));
    }
  });

  Deno.test(`the same bytes are written as by the Python package: ${name}`, () => {
    const written = expected.map(([name, { dtype, shape, values }]) => {
      const { buffer } = fromBase64(values);
      return { name, shape, array: new (dtype === "F32" ? Float32Array : Float64Array)(buffer) };
    });
    assertEquals(encode(written, metadata as Record<string, string>), file);
  });
}
