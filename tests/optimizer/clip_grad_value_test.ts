/** `clipGradValue` beyond torch's numbers, which `clipping_golden_test.ts` holds it to. */

import { assertEquals, assertThrows } from "@std/assert";
import { BFloat16Array, clipGradValue, SGD } from "@descent/sgd";
import type { HostArray, Parameter } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";

const array = (...values: number[]) => new Float32Array(values);

testOnBackends("gradients of parameters and arrays are clipped in place", (backend) => {
  const parameter = { data: array(7, 7), grad: array(3, -0.5) };
  const alone = new Float64Array([0.25, -4]);
  const skipped = { data: array(1), grad: null };
  assertEquals(clipGradValue([parameter, skipped, alone].values(), 1, { backend }), undefined);
  assertEquals(parameter, { data: array(7, 7), grad: array(1, -0.5) });
  assertEquals([...alone], [0.25, -1]);
});

testOnBackends("every length and type of array is clipped, and NaN stays", (backend) => {
  for (const length of [1, 63, 64, 79, 4096, 4097, 12_289]) {
    const values = Float32Array.from({ length }, (_, i) => [NaN, -3, 0.5, Infinity, -0.25][i % 5]);
    const expected = values.map((x) => Math.max(-0.75, Math.min(0.75, x)));
    const half = Float16Array.from(values);
    const arrays: HostArray[] = [
      values,
      Float64Array.from(values),
      half,
      BFloat16Array.from(values),
    ];
    clipGradValue(arrays, 0.75, { backend });
    for (const grad of arrays) {
      const found = grad instanceof BFloat16Array ? grad.toFloat32Array() : Float32Array.from(grad);
      assertEquals(found, expected);
    }
  }
});

testOnBackends("a limit is rounded to the type of the gradient once", (backend) => {
  const [bfloat16, single] = [BFloat16Array.of(1, -1), array(1, -1)];
  clipGradValue([bfloat16, single], 0.3, { backend });
  assertEquals(bfloat16.toFloat32Array(), BFloat16Array.of(0.3, -0.3).toFloat32Array());
  assertEquals(single, array(0.3, -0.3));
});

testOnBackends("without a limit nothing is clipped", (backend) => {
  const grad = array(NaN, Infinity, 3);
  clipGradValue([grad], Infinity, { backend });
  assertEquals(grad, array(NaN, Infinity, 3));
  clipGradValue([], 1, { backend });
});

testOnBackends("rows of a sparse gradient are summed before they are clipped", (backend) => {
  const grad = {
    indices: new BigInt64Array([1n, 0n, 1n, 1n]),
    values: array(0.75, -2, 0.5, 0.5, 0.75, 3, -1, 3),
    shape: [2, 2] as const,
  };
  const w = { data: new Float32Array(4), grad };
  clipGradValue([w], 1, { backend });
  assertEquals([...grad.values], [0.5, 1, 0.5, 0.5, 0, 0, 0, 0]);
  new SGD([w], { lr: 1, backend }).step();
  assertEquals(w.data, array(-0.5, -0.5, -0.5, -1));
});

testOnBackends("what cannot be clipped is refused, and nothing has changed", (backend) => {
  const memory = array(1, 2, 3);
  const sparse = { indices: new Int32Array([0, 5]), values: array(1, 1), shape: [2, 1] };
  const indices = new Uint32Array(memory.buffer, 4, 2);
  const shape = [2 ** 31, 1];
  const wrong: [unknown, unknown, typeof TypeError | typeof RangeError, string][] = [
    [3, 1, TypeError, "params as it must be iterable: current value is 3"],
    [[].values(), 1, TypeError, "params as an iterator must yield"],
    [[{}], 1, TypeError, "gradient 0 as it must be a Float32Array"],
    [[memory, { grad: sparse }], 0, RangeError, "its indices must be >= 0 and < 2"],
    [[memory, { ...sparse, shape: [7] }], 0, RangeError, "gradient 1 as its shape must be"],
    [[memory, { ...sparse, shape: "2" }], 0, TypeError, "gradient 1 as shape must be an array"],
    [[memory], -1, RangeError, "maxValue as it must be >= 0: current value is -1"],
    [[memory], NaN, RangeError, "maxValue as it must be >= 0"],
    [[memory], "1", TypeError, "maxValue as it must be a number"],
    [[memory, memory.subarray(2)], 1, RangeError, "must not share memory"],
    [
      [{ indices, values: memory.subarray(1), shape }],
      1,
      RangeError,
      "gradient 0 and indices of gradient 0 as they must not share memory",
    ],
    [
      [{ indices, values: array(1, 2), shape }, memory],
      1,
      RangeError,
      "gradient 1 and indices of gradient 0 as they must not share memory",
    ],
  ];
  for (const [params, maxValue, kind, text] of wrong) {
    const clip = () => clipGradValue(params as Parameter[], maxValue as number, { backend });
    assertThrows(clip, kind, text);
    assertEquals(memory, array(1, 2, 3));
  }
  const options = { backend, normType: 2 };
  assertThrows(() => clipGradValue([memory], 1, options), TypeError, 'option "normType"');
});

testOnBackends("gradients of a running step are refused", async (backend) => {
  const w = { data: new Float32Array(4), grad: array(1, 2, 3, 4) };
  const optimizer = new SGD([w], { lr: 1, backend });
  const step = optimizer.stepAsync();
  assertThrows(() => clipGradValue([w], 1, { backend }), Error, "grad of parameter 0");
  await step;
  assertEquals(w.data, array(-1, -2, -3, -4));
});
