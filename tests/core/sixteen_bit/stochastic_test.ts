/** Stochastic rounding: true to its chances, and the same bits wherever and however often it runs. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { BFloat16Array, SGD, sgd } from "@descent/sgd";
import type { BackendName, HostArray, Parameter, SGDOptions } from "@descent/sgd";
import { ChaCha8 } from "../../../src/backends/js/random.ts";
import { cpuMissing, testOnBackends } from "../../support/backends.ts";
import { bitsOf, fromBits, fromNumbers, numbersOf, TYPES } from "./golden.ts";
import type { SixteenBit } from "./golden.ts";

/** Steps once by -change, from `from` on, in so many elements at once. */
function stepBy(
  dtype: SixteenBit,
  [from, change]: readonly [from: number, change: number],
  { count = 20_000, ...options }: Partial<SGDOptions> & { count?: number },
): HostArray {
  const numbers = (value: number) => new Float32Array(count).fill(value);
  const data = fromNumbers(dtype, numbers(from));
  assertEquals(numbersOf(data)[0], from, "the case begins with a value of the type");
  const grad = fromNumbers(dtype, numbers(-change));
  new SGD([{ data, grad }], { lr: 2 ** -10, rounding: "stochastic", ...options }).step();
  return data;
}

const bytesOf = (array: HostArray) => new Uint8Array(array.buffer).toHex();

Deno.test("ChaCha8 gives the key stream of its published test vectors", () => {
  // draft-strombergson-chacha-test-vectors-00, TC1 and TC2, 8 rounds, 256-bit key.
  const vectors: [key: number[], start: string][] = [
    [[], "3e00ef2f895f40d67f5bb8e81f09a5a12c840ec3ce9a7f3b181be188ef711a1e"],
    [[1], "cf5ee9a0494aa9613e05d5ed725b804b12f4a465ee635acc3a311de8740489ea"],
  ];
  for (const [key, start] of vectors) {
    const random = new ChaCha8(key, 0);
    random.make(0);
    assertEquals(new Uint8Array(random.block.buffer).toHex().slice(0, 64), start);
  }
});

testOnBackends("values become one of their two neighbors, on average themselves", (backend) => {
  // From a value, by 2^-10 of a gradient: over an eighth, a half, nearly all of the gap, and below
  // float16's smallest normal number.
  const cases: Record<SixteenBit, [from: number, change: number][]> = {
    float16: [[1, 2 ** -3], [1, 2 ** -1], [-2, -1.875], [-2, 0.25], [2 ** -20, 2 ** -16], [
      0,
      2 ** -15,
    ]],
    bfloat16: [[1, 2 ** 0], [1, 2 ** 2], [-2, -15], [3, 2.5], [2 ** -120, 2 ** -120], [
      0,
      2 ** -100,
    ]],
  };
  for (const dtype of TYPES) {
    for (const [from, change] of cases[dtype]) {
      const exact = from + change * 2 ** -10;
      const values = numbersOf(stepBy(dtype, [from, change], { backend }));
      const found = [...new Set(values)].sort((a, b) => a - b);
      const what = `${dtype}: ${exact} became ${found}`;
      if (found.length === 1) {
        assertEquals(found[0], exact, what);
        continue;
      }
      assert(found.length === 2 && found[0] < exact && exact < found[1], what);
      const [low, high] = found;
      const share = (exact - low) / (high - low);
      const above = values.filter((value) => value === high).length;
      const deviation = Math.sqrt(values.length * share * (1 - share));
      // Five deviations: once in two million such cases by chance, and the seed is fixed.
      assert(Math.abs(above - share * values.length) < 5 * deviation, `${what}, ${above} times up`);
    }
  }
});

testOnBackends(
  "what the type holds exactly stays, and what it does not hold overflows",
  (backend) => {
    const cases: [SixteenBit, from: number, change: number, expected: number][] = [
      ["float16", 1, 0, 1],
      ["float16", 2 ** -24, 0, 2 ** -24],
      ["float16", 65504, 65504, Infinity],
      ["float16", -65504, -65504, -Infinity],
      ["float16", 1, Infinity, Infinity],
      ["bfloat16", 2 ** -133, 0, 2 ** -133],
      ["bfloat16", 1, -Infinity, -Infinity],
      ["bfloat16", 1, NaN, NaN],
      ["float16", 1, NaN, NaN],
    ];
    for (const [dtype, from, change, expected] of cases) {
      const lr = expected === Infinity || expected === -Infinity ? 2 ** -4 : 2 ** -10;
      const values = numbersOf(stepBy(dtype, [from, change], { backend, count: 100, lr }));
      assertEquals([...new Set(values)], [expected], `${dtype}: ${from} by ${change}`);
    }
  },
);

testOnBackends(
  "without it small steps are lost in bfloat16, and with it they add up",
  (backend) => {
    const train = (rounding: "nearest" | "stochastic") => {
      const data = fromNumbers("bfloat16", new Float32Array(1000).fill(1));
      const grad = fromNumbers("bfloat16", new Float32Array(1000).fill(-1));
      const optimizer = new SGD([{ data, grad }], { lr: 2 ** -10, rounding, backend });
      for (let i = 0; i < 1024; i++) optimizer.step();
      return numbersOf(data).reduce((a, b) => a + b) / 1000;
    };
    assertEquals(train("nearest"), 1);
    assert(Math.abs(train("stochastic") - 2) < 0.01);
  },
);

testOnBackends("the same seed gives the same bits, and another one others", (backend) => {
  for (const dtype of TYPES) {
    const run = (seed?: number) => bytesOf(stepBy(dtype, [1, 0.0625], { backend, seed }));
    assertEquals(run(7), run(7));
    assertEquals(run(), run(0));
    const seeds = [0, 1, 2 ** 32, 2 ** 53 - 1].map(run);
    assertEquals(new Set(seeds).size, seeds.length);
  }
});

testOnBackends(
  "each step, each parameter and each element has random bits of its own",
  (backend) => {
    const create = (): Parameter<HostArray> => ({
      data: fromNumbers("bfloat16", new Float32Array(4096).fill(1)),
      grad: fromNumbers("bfloat16", new Float32Array(4096).fill(1)),
    });
    const params = [create(), create()];
    const optimizer = new SGD(params, { lr: 2 ** -9, rounding: "stochastic", backend });
    optimizer.step();
    const [a, b] = params.map(({ data }) => bytesOf(data));
    assertNotEquals(a, b);
    const first = numbersOf(params[0].data);
    for (let period = 1; period <= 64; period *= 2) {
      const same = first.filter((value, i) => i >= period && value === first[i - period]).length;
      assert(Math.abs(same / (4096 - period) - 1 / 2) < 0.05, `equal ${same} times in ${period}`);
    }
    params[0].data = create().data;
    optimizer.step();
    assertNotEquals(bytesOf(params[0].data), a);
  },
);

Deno.test({
  name: "cpu and js have the same bits" + (cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`),
  ignore: cpuMissing !== null,
  fn() {
    for (const dtype of TYPES) {
      for (const size of [0, 1, 31, 32, 33, 63, 64, 65, 8191, 8192, 8193, 100_001]) {
        const run = (backend: BackendName) => trainAll(dtype, [size, 65], backend);
        assertEquals(run("js"), run("cpu"), `${dtype}, ${size}`);
      }
    }
  },
});

/** Three steps over values of every magnitude. */
function trainAll(dtype: SixteenBit, sizes: readonly number[], backend: BackendName): string[] {
  const noise = (n: number, salt: number) =>
    fromBits(dtype, Uint16Array.from({ length: n }, (_, i) => Math.imul(i + 1, 40_503 + 2 * salt)));
  const params = sizes.map((n, i): Parameter<HostArray> => ({ data: noise(n, i), grad: null }));
  const optimizer = new SGD(params, { lr: 0.1, momentum: 0.9, rounding: "stochastic", backend });
  for (const step of [1, 2, 3]) {
    params.forEach((parameter, i) => parameter.grad = noise(sizes[i], 10 * step + i));
    optimizer.step();
  }
  return params.map(({ data }) => new Uint8Array(bitsOf(data).buffer).toHex());
}

testOnBackends("bits do not depend on how tensors are shared out among calls", (backend) => {
  const train = (foreach: boolean) => {
    const params = [65, 1000, 3].map((size): Parameter<HostArray> => ({
      data: fromNumbers("float16", new Float32Array(size).fill(1)),
      grad: fromNumbers("float16", new Float32Array(size).fill(0.0625)),
    }));
    new SGD(params, { lr: 2 ** -10, foreach, rounding: "stochastic", backend }).step();
    return params.map(({ data }) => bytesOf(data));
  };
  assertEquals(train(true), train(false));
});

testOnBackends("the function draws the bits of the class, by seed and counter", (backend) => {
  const start = () => BFloat16Array.from(new Float32Array(100).fill(1));
  const grad = BFloat16Array.from(new Float32Array(100).fill(0.3));
  const w = { data: start(), grad };
  const optimizer = new SGD([w], { lr: 0.01, rounding: "stochastic", seed: 5, backend });
  const data = start();
  const off = { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false };
  for (const counter of [0, 1, 2]) {
    optimizer.step();
    sgd([data], [grad], [null], {
      ...{ lr: 0.01, ...off, rounding: "stochastic", seed: 5, counter, backend },
    });
    assertEquals(data, w.data);
  }
});
