/** What a step writes must not be a gradient of it: data, momentum buffers, master weights, of any row. */

import { assertEquals, assertThrows } from "@std/assert";
import { BFloat16Array, SGD } from "@descent/sgd";
import type { Parameter, SparseParameter } from "@descent/sgd";

const ROWS = 4;

function half(buffer: ArrayBufferLike = new ArrayBuffer(8), offset = 0): BFloat16Array {
  return new BFloat16Array(buffer, offset, 2);
}

/** An optimizer after a step, with its parameters and all memory that the next step writes. */
function stepped() {
  const params = Array.from({ length: ROWS }, (_, i): Parameter<BFloat16Array> => {
    return { data: half(), grad: half(), name: `w${i}` };
  });
  const options = { lr: 0.1, momentum: 0.9, rounding: "nearest", masterWeights: true } as const;
  const optimizer = new SGD(params, { ...options, backend: "js" });
  optimizer.step();
  const states = params.map((param) => optimizer.state.get(param)!);
  optimizer.step();
  const written = params.map(({ data }, i) => ({
    data,
    "momentum buffer": states[i].momentumBuffer!,
    "master weight": states[i].masterWeight!,
  }));
  return { optimizer, params, written };
}

for (const kind of ["data", "momentum buffer", "master weight"] as const) {
  Deno.test(`a new gradient on the ${kind} of any row is refused, and nothing has changed`, () => {
    for (let row = 0; row < ROWS; row++) {
      for (let owner = 0; owner < ROWS; owner++) {
        const { optimizer, params, written } = stepped();
        const { buffer, byteOffset } = written[owner][kind];
        params[row].grad = half(buffer, byteOffset);
        const before = written.map(({ data }) => [...data]);
        assertThrows(
          () => optimizer.step(),
          RangeError,
          `Cannot use ${kind} of parameter ${owner} ("w${owner}") and grad of parameter ${row}`,
        );
        assertEquals(written.map(({ data }) => [...data]), before);
      }
    }
  });
}

Deno.test("the first step refuses a gradient on data of any other row", () => {
  for (let row = 0; row < ROWS; row++) {
    const params = Array.from({ length: ROWS }, () => ({ data: half(), grad: half() }));
    const optimizer = new SGD(params, { lr: 0.1, backend: "js" });
    params[row].grad = params[(row + 1) % ROWS].data;
    assertThrows(() => optimizer.step(), RangeError, "overlap");
  }
});

Deno.test("a step that zeroes gradients refuses values of a sparse gradient on a dense one that has not changed", () => {
  const dense = new Float32Array(4);
  const a = { data: new Float32Array(4), grad: dense, name: "a" };
  const grad = { indices: Int32Array.of(1), values: new Float32Array(2), shape: [3, 2] as const };
  const b: SparseParameter = { data: new Float32Array(6), grad, name: "b" };
  const optimizer = new SGD([a, b], { lr: 0.1, backend: "js" });
  const step = () => optimizer.step({ zeroGrad: true });
  step();
  step();
  b.grad = { ...grad, values: dense.subarray(2) };
  assertThrows(step, RangeError, "overlap");
});
