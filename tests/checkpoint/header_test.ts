/** What a header of safetensors may say of its tensors: the sizes of all dtypes, and where they lie. */

import { assertEquals, assertThrows } from "@std/assert";
import { CheckpointError } from "@descent/sgd";
import { PREFIX, readHeader, readHeaderLength } from "../../src/checkpoint/safetensors.ts";

// Dtype::bitsize of safetensors 0.8.0.
const BITS = {
  ...{ BOOL: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8 },
  ...{ F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8, I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32 },
  ...{ F32: 32, C64: 64, F64: 64, I64: 64, U64: 64 },
};

function read(header: unknown, bytes: number) {
  return readHeader(new TextEncoder().encode(JSON.stringify(header)), bytes);
}

for (const [dtype, bits] of Object.entries(BITS)) {
  Deno.test(`eight elements of ${dtype} take ${bits} bytes`, () => {
    for (const bytes of [bits - 1, bits, bits + 1, bits + 8]) {
      const run = () => read({ a: { dtype, shape: [8], data_offsets: [0, bytes] } }, bytes);
      if (bytes === bits) assertEquals(run().tensors[0].info.shape, [8]);
      else assertThrows(run, CheckpointError);
    }
  });
}

Deno.test("empty tensors lie anywhere between others, in any order of the header", () => {
  const full = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
  for (const offset of [0, 8]) {
    const empty = { dtype: "F32", shape: [0], data_offsets: [offset, offset] };
    for (const header of [{ a: full, b: empty }, { b: empty, a: full }]) {
      assertEquals(read(header, 8).tensors.length, 2);
    }
  }
  const inside = { dtype: "F32", shape: [0], data_offsets: [4, 4] };
  assertThrows(() => read({ a: full, b: inside }, 8), CheckpointError);
});

Deno.test("a header of 100 MB is read, and none that is a byte longer", () => {
  const prefix = (length: number) => new Uint8Array(BigUint64Array.of(BigInt(length)).buffer);
  const most = 100_000_000;
  assertEquals(readHeaderLength(prefix(most), PREFIX + most + 1), most);
  assertThrows(() => readHeaderLength(prefix(most + 1), PREFIX + most + 1), CheckpointError);
});
