/** Files that mean harm are refused, or rightly accepted, whatever is in them. */

import { assert, assertEquals } from "@std/assert";
import { CheckpointError } from "@descent/sgd";
import { decodeTensors, encodeTensors } from "@descent/sgd/safetensors";
import type { LoadedTensor } from "@descent/sgd/safetensors";
import fc from "fast-check";
import { hostileFiles } from "../checkpoint/hostile_files.ts";
import { BITS, everyDtype } from "./every_dtype.ts";

const VALID = encodeTensors(everyDtype(), { metadata: { note: "é" } });
const headerEnd = 8 + Number(new DataView(VALID.buffer).getBigUint64(0, true));

/** Decodes bytes; whether they were accepted, which an oracle with `JSON.parse` must confirm. */
function checkDecode(bytes: Uint8Array): boolean {
  let tensors: Record<string, LoadedTensor>;
  try {
    tensors = decodeTensors(bytes);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    assert(error.message.startsWith("Cannot read the checkpoint as "), error.message);
    assert(error.message.length < 2000, "the message is long");
    return false;
  }
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(8, 8 + length));
  // `JSON.parse` keeps "__proto__" as a key of its own.
  const { __metadata__: _, ...described } = JSON.parse(text);
  assertEquals(Object.keys(tensors).sort(), Object.keys(described).sort());
  let total = 0;
  for (
    const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries<Info>(described)
  ) {
    const tensor = tensors[name];
    assertEquals([tensor.dtype, tensor.shape], [dtype, shape]);
    const bits = shape.reduce((a, b) => a * b, BITS[dtype]);
    assertEquals(bits, 8 * (to - from));
    const { buffer, byteOffset, byteLength } = tensor.data;
    const found = new Uint8Array(buffer, byteOffset, byteLength);
    assertEquals(found, bytes.slice(8 + length + from, 8 + length + to));
    total += to - from;
  }
  assertEquals(8 + length + total, bytes.length);
  assertEquals({ ...decodeTensors(encodeTensors(tensors)) }, { ...tensors });
  return true;
}

interface Info {
  dtype: keyof typeof BITS;
  shape: number[];
  data_offsets: [number, number];
}

Deno.test("a file truncated at any byte, or with anything behind it, is refused", () => {
  assert(checkDecode(VALID));
  for (let end = 0; end < VALID.length; end += end < headerEnd ? 7 : 13) {
    assert(!checkDecode(VALID.subarray(0, end)), `accepted with ${end} bytes`);
  }
  const longer = new Uint8Array(VALID.length + 1);
  longer.set(VALID);
  assert(!checkDecode(longer));
});

Deno.test("hostile files of all kinds are refused, or rightly accepted", () => {
  let accepted = 0;
  fc.assert(
    fc.property(hostileFiles(), (bytes) => void (accepted += Number(checkDecode(bytes)))),
    { numRuns: 5_000, seed: 2 },
  );
  assert(accepted > 100, `only ${accepted} were accepted: the rest may be refused for one reason`);
});

Deno.test("a header with a changed letter is refused, or is another valid file", () => {
  const letters = [...'0123456789{}[]",:.eE -'].map((letter) => letter.charCodeAt(0));
  let accepted = 0;
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: headerEnd - 1 }),
      fc.constantFrom(...letters),
      (at, to) => {
        const bytes = VALID.slice();
        bytes[at] = to;
        accepted += Number(checkDecode(bytes));
      },
    ),
    { numRuns: 2_000, seed: 3 },
  );
  assert(accepted > 0 && accepted < 1_000, `${accepted}`);
});

Deno.test("a file that announces a terabyte takes no memory for it", () => {
  const text = '{"w":{"dtype":"F32","shape":[274877906944],"data_offsets":[0,1099511627776]}}';
  const bytes = new Uint8Array(8 + text.length + 4);
  bytes[0] = text.length;
  new TextEncoder().encodeInto(text, bytes.subarray(8));
  assert(!checkDecode(bytes));
});
