/** Tensors come in the order of their names, as strings are compared. */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { HostArray } from "../../src/core/host_array.ts";
import type { Tensor } from "../../src/checkpoint/tensor_order.ts";
import { sortTensors } from "../../src/checkpoint/tensor_order.ts";

const ARRAYS: readonly HostArray[] = [
  new Float16Array(1),
  new Float32Array(1),
  new Float64Array(1),
];

function inOrder(tensors: readonly Tensor[]): Tensor[] {
  return [...tensors].sort((a, b) =>
    b.array.BYTES_PER_ELEMENT - a.array.BYTES_PER_ELEMENT || (a.name < b.name ? -1 : 1)
  );
}

/** Few letters, so that names share beginnings; some of which a byte does not hold. */
const letter = fc.constantFrom("a", "b", "0", ".", "\0", "\u00fe", "\u00ff", "\u0100", "字", "😀");
const tensors = fc.uniqueArray(
  fc.record({
    name: fc.array(letter, { maxLength: 16 }).map((letters) => letters.join("")),
    array: fc.constantFrom(...ARRAYS),
    shape: fc.constant([1]),
  }),
  { selector: ({ name }) => name, maxLength: 200 },
);

Deno.test("any names are in the order of their strings, behind wider elements", () => {
  fc.assert(
    fc.property(tensors, (list) => assertEquals(sortTensors(list), inOrder(list))),
    { numRuns: 1000, seed: 1 },
  );
});

Deno.test("names of which each begins with the one before are sorted too", () => {
  const list = Array.from({ length: 2000 }, (_, i) => (
    { name: "a".repeat(2000 - i), array: ARRAYS[1], shape: [1] }
  ));
  assertEquals(sortTensors(list).map(({ name }) => name.length), list.map((_, i) => i + 1));
});

Deno.test("an empty list of tensors is in order", () => assertEquals(sortTensors([]), []));
