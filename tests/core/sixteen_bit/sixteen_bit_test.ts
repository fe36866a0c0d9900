/** What an optimizer keeps of 16-bit parameters, and what options do to gradients. */

import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { BFloat16Array, clipGradNorm, SGD } from "@descent/sgd";
import type { DeviceTensor, HostArray, Parameter, SGDOptions, StepOptions } from "@descent/sgd";
import fc from "fast-check";
import { registerDeviceTensor } from "../../../src/core/dtype.ts";
import { testOnBackends } from "../../support/backends.ts";
import { bitsOf, digest, fromBits, fromNumbers, numbersOf, TYPES } from "./golden.ts";
import type { SixteenBit } from "./golden.ts";

function parameterOf(dtype: SixteenBit, data: number[], grad: number[]): Parameter<HostArray> {
  return { data: fromNumbers(dtype, data), grad: fromNumbers(dtype, grad) };
}

/** Numbers of every size that both types hold. */
const noise = (count: number, salt: number) =>
  Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898 + salt) * 2 ** ((i + salt) % 9 - 5));

const MODES: readonly SGDOptions[] = [
  { rounding: "nearest" },
  { rounding: "nearest", masterWeights: true },
  { rounding: "stochastic", seed: 3 },
  { rounding: "stochastic", masterWeights: true },
  { rounding: "torch" },
];

testOnBackends("momentum buffers are float32, and with torch's rounding as the data", (backend) => {
  for (const dtype of TYPES) {
    for (const mode of MODES) {
      const w = parameterOf(dtype, [1, 2], [0.5, 0.1]);
      const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9, ...mode, backend });
      optimizer.step();
      const { momentumBuffer, masterWeight } = optimizer.state.get(w)!;
      const name = mode.rounding === "torch" ? w.data.constructor.name : "Float32Array";
      assertEquals(momentumBuffer!.constructor.name, name);
      assertEquals(numbersOf(momentumBuffer!), numbersOf(w.grad as HostArray));
      assertEquals(masterWeight !== null, mode.masterWeights === true);
      optimizer.step();
      assertStrictEquals(optimizer.state.get(w)!.momentumBuffer, momentumBuffer);
      assertStrictEquals(optimizer.state.get(w)!.masterWeight, masterWeight);
    }
  }
});

testOnBackends("16-bit parameters step beside others, each in its own type", (backend) => {
  const options = { lr: 0.1, momentum: 0.9, weightDecay: 0.01, backend };
  const create = (kind: string): Parameter<HostArray> => {
    const values = (salt: number) =>
      kind === "float32"
        ? Float32Array.from(noise(100, salt))
        : fromNumbers(kind as SixteenBit, noise(100, salt));
    return { data: values(0), grad: values(1) };
  };
  const kinds = ["float16", "float32", "bfloat16", "float32", "float16"];
  const params = kinds.map(create);
  const alone = kinds.map(create);
  const optimizer = new SGD(params, options);
  for (let i = 0; i < 3; i++) optimizer.step();
  for (const [i, parameter] of alone.entries()) {
    const single = new SGD([parameter], options);
    for (let k = 0; k < 3; k++) single.step();
    assertEquals(digest([params[i].data]), digest([parameter.data]), kinds[i]);
  }
});

testOnBackends(
  "master weights begin with the parameter and keep what it cannot hold",
  (backend) => {
    for (const dtype of TYPES) {
      const w = parameterOf(dtype, [1], [2 ** -4]);
      const options = { lr: 2 ** -10, masterWeights: true, backend };
      const optimizer = new SGD([w], options);
      assertEquals(optimizer.state.get(w)!.masterWeight, null);
      optimizer.step();
      const { masterWeight } = optimizer.state.get(w)!;
      assertEquals([...masterWeight!], [1 - 2 ** -14]);
      assertEquals(numbersOf(w.data), [1], "too little for the 16-bit type");
      for (let i = 1; i < 2 ** 12; i++) optimizer.step();
      assertEquals([...masterWeight!], [0.75]);
      assertEquals(numbersOf(w.data), [0.75]);
      masterWeight![0] = 4;
      optimizer.step();
      assertEquals(numbersOf(w.data), [4], "the parameter follows its master weight");
    }
  },
);

testOnBackends("without a gradient nothing is made and nothing moves", (backend) => {
  for (const mode of MODES) {
    const w: Parameter<HostArray> = { data: BFloat16Array.of(1, 2), grad: null };
    const other = parameterOf("float16", [1], [1]);
    const optimizer = new SGD([w, other], { lr: 0.1, momentum: 0.9, ...mode, backend });
    optimizer.step();
    assertEquals(optimizer.state.get(w), { momentumBuffer: null, masterWeight: null });
    assertEquals(numbersOf(w.data), [1, 2]);
  }
});

testOnBackends(
  "a skipped step leaves master weights, buffers and random bits as they were",
  (backend) => {
    const run = (skips: boolean) => {
      const w = parameterOf("bfloat16", noise(100, 0), noise(100, 1));
      const mode = { rounding: "stochastic", masterWeights: true } as const;
      const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9, ...mode, backend });
      const step = () => {
        if (skips) {
          const { grad } = w;
          w.grad = fromNumbers("bfloat16", noise(99, 1).concat(Infinity));
          optimizer.step({ checkFinite: true });
          assert(optimizer.lastStep?.skipped);
          w.grad = grad;
        }
        optimizer.step();
      };
      step();
      step();
      const { momentumBuffer, masterWeight } = optimizer.state.get(w)!;
      return digest([w.data, momentumBuffer!, masterWeight!]);
    };
    assertEquals(run(true), run(false));
  },
);

testOnBackends("gradients are unscaled, clipped and zeroed on their way, in float32", (backend) => {
  for (const dtype of TYPES) {
    const count = 9000; // more than one tile
    const w = parameterOf(dtype, noise(count, 0), noise(count, 1));
    const wide = [w.data, w.grad as HostArray].map((array) => Float32Array.from(numbersOf(array)));
    const v = { data: wide[0], grad: wide[1] };
    const options: StepOptions = { gradScale: 3, maxNorm: 1, maxValue: 0.01, zeroGrad: true };
    const [half, single] = [w, v].map((each) => new SGD([each], { lr: 1, backend }));
    half.step(options);
    single.step(options);
    assertEquals(half.lastStep, single.lastStep);
    assertEquals(bitsOf(w.data), bitsOf(fromNumbers(dtype, v.data)), "rounded once");
    assertEquals(new Set(bitsOf(w.grad as HostArray)), new Set([0]), "positive zeros");
  }
});

testOnBackends(
  "with torch's rounding every product and limit of a gradient is rounded",
  (backend) => {
    for (const dtype of TYPES) {
      const round = (value: number) => numbersOf(fromNumbers(dtype, [Math.fround(value)]))[0];
      const grads = noise(200, 1).map(round);
      const w = parameterOf(dtype, new Array(200).fill(0), grads);
      const options = { lr: 1, rounding: "torch", backend } as const;
      new SGD([w], options).step({ gradScale: 3, maxValue: 0.03 });
      const limit = Math.fround(0.03);
      const expected = grads.map((g) => {
        const scaled = round(g * Math.fround(1 / 3));
        return 0 - round(Math.max(-limit, Math.min(limit, scaled)));
      });
      assertEquals(
        numbersOf(w.data),
        expected,
      );
    }
  },
);

testOnBackends("clipGradNorm measures in float64 and rounds each product once", (backend) => {
  for (const dtype of TYPES) {
    const grad = fromNumbers(dtype, noise(9000, 1));
    const before = numbersOf(grad);
    const norm = clipGradNorm([grad], 1, { backend });
    const exact = Math.sqrt(before.reduce((sum, x) => sum + x * x, 0));
    assert(Math.abs(norm / exact - 1) < 1e-12, `${norm}, not ${exact}`);
    const factor = Math.fround(Math.min(1, 1 / (norm + 1e-6)));
    const expected = fromNumbers(dtype, before.map((x) => Math.fround(x * factor)));
    assertEquals(bitsOf(grad), bitsOf(expected));
  }
});

testOnBackends("stepAsync has the bits of step", async (backend) => {
  for (const dtype of TYPES) {
    for (const mode of MODES) {
      const create = () => {
        const w = parameterOf(dtype, noise(3000, 0), noise(3000, 1));
        return { w, optimizer: new SGD([w], { lr: 0.1, momentum: 0.9, ...mode, backend }) };
      };
      const [a, b] = [create(), create()];
      for (let i = 0; i < 3; i++) {
        a.optimizer.step();
        await b.optimizer.stepAsync();
      }
      assertEquals(digest([a.w.data]), digest([b.w.data]), JSON.stringify([dtype, mode]));
    }
  }
});

testOnBackends(
  "rounding once gives float32's step, rounded, whatever the bits",
  (backend) => {
    const bits = fc.uint16Array({ minLength: 1, maxLength: 80 });
    fc.assert(
      fc.property(fc.constantFrom(...TYPES), bits, bits, (dtype, p, g) => {
        const count = Math.min(p.length, g.length);
        const arrays = [p, g].map((each) => fromBits(dtype, each.slice(0, count)));
        const wide = arrays.map((array) => Float32Array.from(numbersOf(array)));
        const options = { lr: 0.1, momentum: 0.9, weightDecay: 0.1, backend };
        new SGD([{ data: arrays[0], grad: arrays[1] }], options).step();
        new SGD([{ data: wide[0], grad: wide[1] }], options).step();
        assertEquals(bitsOf(arrays[0]), bitsOf(fromNumbers(dtype, wide[0])));
      }),
      { numRuns: 200 },
    );
  },
);

testOnBackends(
  "a step that is refused has made no master weight and changed no parameter",
  (backend) => {
    const w = parameterOf("bfloat16", [1, 2], [1, 1]);
    const bad: Parameter<HostArray> = { data: new Float32Array(2), grad: new Float64Array(2) };
    const optimizer = new SGD([w, bad], { lr: 0.1, momentum: 0.9, masterWeights: true, backend });
    assertThrows(() => optimizer.step(), TypeError);
    assertEquals(numbersOf(w.data), [1, 2]);
    assertEquals(optimizer.state.get(w), { momentumBuffer: null, masterWeight: null });
  },
);

testOnBackends("a buffer, a gradient and a master weight may share no memory", (backend) => {
  const words = new Uint16Array(8);
  const data = new BFloat16Array(words.buffer, 0, 4);
  const grad = new BFloat16Array(words.buffer, 6, 4);
  const step = () => new SGD([{ data, grad }], { lr: 1, backend }).step();
  assertThrows(step, RangeError, "must not share memory");
  const w = parameterOf("bfloat16", [1, 2], [1, 1]);
  const optimizer = new SGD([w], { lr: 1, masterWeights: true, backend });
  optimizer.step();
  const { masterWeight } = optimizer.state.get(w)!;
  w.grad = new BFloat16Array(masterWeight!.buffer, 2, 2);
  assertThrows(() => optimizer.step(), RangeError, "master weight of parameter 0 and grad");
});

testOnBackends("a master weight that is detached during stepAsync rejects it", async (backend) => {
  const w = parameterOf("bfloat16", [1, 2], [1, 1]);
  const optimizer = new SGD([w], { lr: 1, masterWeights: true, backend });
  optimizer.step();
  const step = optimizer.stepAsync();
  const kept = (optimizer.state.get(w)!.masterWeight!.buffer as ArrayBuffer).transfer();
  await assertRejects(() => step, Error, "master weight of parameter 0 was detached");
  assertEquals(kept.byteLength, 8); // it stays alive until here
});

testOnBackends("a master weight that was detached is an error", (backend) => {
  const w = parameterOf("bfloat16", [1, 2], [1, 1]);
  const optimizer = new SGD([w], { lr: 1, masterWeights: true, backend });
  optimizer.step();
  structuredClone(null, {
    transfer: [optimizer.state.get(w)!.masterWeight!.buffer as ArrayBuffer],
  });
  assertThrows(() => optimizer.step(), TypeError, "master weight of parameter 0 was detached");
});

testOnBackends(
  "at every size and offset each element steps as alone, and none beside it",
  (backend) => {
    for (const dtype of TYPES) {
      for (const mode of MODES.filter(({ rounding }) => rounding !== "stochastic")) {
        const options = { lr: 0.1, momentum: 0.9, ...mode, backend };
        const whole = parameterOf(dtype, noise(80, 0), noise(80, 1));
        const lengths = [...Array(71).keys()];
        const params = lengths.map((length): Parameter<HostArray> => {
          const [data, grad] = [0, 1].map((salt) => {
            const surrounded = [
              ...noise(length % 5 + 1, 2),
              ...noise(length, salt),
              ...noise(9, 3),
            ];
            return fromNumbers(dtype, surrounded).subarray(length % 5 + 1, length % 5 + 1 + length);
          });
          return { data, grad };
        });
        const around = () => params.map(({ data }) => surroundingsOf(data));
        const before = around();
        for (const list of [params, [whole]]) {
          const optimizer = new SGD(list, options);
          optimizer.step();
          optimizer.step();
        }
        assertEquals(around(), before);
        const expected = numbersOf(whole.data);
        for (const { data } of params) {
          assertEquals(
            numbersOf(data),
            expected.slice(0, data.length),
          );
        }
      }
    }
  },
);

/** The bits of a view's buffer that are not the view's. */
function surroundingsOf({ buffer, byteOffset, byteLength }: HostArray): number[] {
  const bits = new Uint16Array(buffer);
  const [from, to] = [byteOffset / 2, (byteOffset + byteLength) / 2];
  return [...bits.subarray(0, from), ...bits.subarray(to)];
}

Deno.test("float16 on a GPU is rounded to the nearest, without master weights, or refused", () => {
  const device = {
    name: "gpu" as const,
    address: () => 2 ** 48,
    step: () => {},
    report: () => Promise.reject(),
    written: () => Promise.reject(),
    zero: () => {},
    synchronize: () => Promise.resolve(),
  };
  const tensorOf = (bytes: number): DeviceTensor => {
    const tensor = {
      ...{ length: 4, byteLength: 4 * bytes, readSync: () => new Float16Array(4), write() {} },
      read: () => Promise.resolve(new Float16Array(4)),
    };
    const name = bytes === 2 ? "float16" : "float32";
    registerDeviceTensor(tensor, { code: 17, bytes, name, device, zeros: () => tensorOf(bytes) });
    return tensor;
  };
  for (const mode of MODES) {
    const step = (bytes: number) =>
      new SGD<DeviceTensor>([{ data: tensorOf(bytes), grad: null }], { lr: 1, ...mode }).step();
    step(4);
    if (mode.rounding === "nearest" && !mode.masterWeights) step(2);
    else assertThrows(() => step(2), TypeError, 'needs rounding "nearest" and no masterWeights');
  }
});
