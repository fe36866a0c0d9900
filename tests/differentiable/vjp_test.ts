/** `sgdVjp`: torch's autograd, finite differences, equal bits on all roads, and bad input. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { sgd, type SgdFunctionOptions, sgdVjp } from "@descent/sgd";
import type { FloatArray, SgdGradients } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { digest, generate } from "../support/golden.ts";
import { assertNear, fullOptions, inputs, vjpCases } from "../support/vjp_golden.ts";

testOnBackends("going back step by step gives what torch's autograd gives", (backend) => {
  assertEquals(vjpCases.length, 160);
  for (const c of vjpCases) {
    const options = { ...fullOptions(c), backend };
    const { param, grads, buffer, paramCotangent, bufferCotangent } = inputs(c);
    const before = [{ param: param.slice(), buffer }];
    for (const grad of grads) {
      const buffers = [before.at(-1)!.buffer?.slice() ?? null];
      sgd([param], [grad], buffers, options);
      before.push({ param: param.slice(), buffer: buffers[0] });
    }
    let [dParam, dBuffer]: (FloatArray | null)[] = [paramCotangent, bufferCotangent];
    const sums = { lr: 0, momentum: 0, dampening: 0, weightDecay: 0 };
    for (let n = grads.length - 1; n >= 0; n--) {
      const cotangents = { params: [dParam], momentumBuffers: [dBuffer] };
      const { param, buffer } = before[n];
      const back = sgdVjp([param], [grads[n]], [buffer], cotangents, options);
      assertNear(c, back.grads[0], c.grads[n], `gradient ${n}`);
      for (const key of ["lr", "momentum", "dampening", "weightDecay"] as const) {
        sums[key] += back[key];
      }
      [dParam, dBuffer] = [back.params[0], back.momentumBuffers[0]];
    }
    assertNear(c, dParam, c.param, "param");
    assertNear(c, dBuffer, c.buffer, "buffer");
    for (const key of ["lr", "dampening", "weightDecay"] as const) {
      assertNear(c, sums[key], c[key], key);
    }
    assertNear(c, sums.momentum, c.momentum, "momentum");
  }
});

const FLAGS = [
  ...[{}, { nesterov: true }, { maximize: true }, { sign: true }],
  ...[{ decoupledWeightDecay: true }, { decoupledWeightDecay: true, nesterov: true }],
  { decoupledWeightDecay: true, sign: true, maximize: true },
];

/** Everything a step depends on, as numbers that can be nudged. */
interface Point {
  readonly arrays: Readonly<Record<"param" | "grad" | "buffer", Float64Array>>;
  readonly numbers: Record<"lr" | "momentum" | "dampening" | "weightDecay", number>;
}

testOnBackends("the derivatives are those of finite differences, in float64", (backend) => {
  for (const first of [true, false]) {
    for (const flags of FLAGS) {
      const make = (tensor: number) =>
        generate("float64", "ordinary", [77, tensor, 0], 3) as Float64Array;
      const [cp, cb] = [make(4), make(5)];
      const dampening = "nesterov" in flags ? 0 : 0.2;
      const point: Point = {
        arrays: { param: make(1), grad: make(2), buffer: make(3) },
        numbers: { lr: 0.3, momentum: 0.8, dampening, weightDecay: 0.1 },
      };
      const options = { nesterov: false, maximize: false, ...flags, ...point.numbers, backend };
      const loss = () => {
        const params = [point.arrays.param.slice()];
        const buffers = [first ? null : point.arrays.buffer.slice()];
        sgd(params, [point.arrays.grad], buffers, { ...options, ...point.numbers });
        return dot(cp, params[0]) + dot(cb, buffers[0] as Float64Array);
      };
      const slope = (set: (shift: number) => void) => {
        const h = 1e-5;
        const [above, below] = [h, -h].map((shift) => {
          set(shift);
          const value = loss();
          set(-shift);
          return value;
        });
        return (above - below) / (2 * h);
      };
      const back = sgdVjp(
        [point.arrays.param],
        [point.arrays.grad],
        [first ? null : point.arrays.buffer],
        { params: [cp], momentumBuffers: [cb] },
        options,
      );
      const context = JSON.stringify({ first, ...flags });
      const check = (name: string, actual: number, expected: number) =>
        assert(Math.abs(actual - expected) < 1e-8, `${context} ${name}: ${actual} ${expected}`);
      const results = {
        param: back.params[0],
        grad: back.grads[0]!,
        buffer: back.momentumBuffers[0],
      };
      for (const [name, array] of Object.entries(point.arrays)) {
        const result = results[name as keyof typeof results];
        if (result === null) continue;
        array.forEach((_, i) => check(name, result[i], slope((shift) => array[i] += shift)));
      }
      for (const name of ["lr", "momentum", "dampening", "weightDecay"] as const) {
        // Nesterov allows no dampening, so there is nothing to nudge.
        if (name === "dampening" && "nesterov" in flags) continue;
        check(name, back[name], slope((shift) => point.numbers[name] += shift));
      }
    }
  }
});

const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);

const LENGTHS = [0, 1, 7, 8, 9, 4095, 4096, 4097, 300_001];

function large(
  dtype: "float32" | "float64",
  backend: "cpu" | "js",
  rule: Partial<SgdFunctionOptions>,
) {
  const { momentum } = rule;
  const list = (tensor: number) =>
    LENGTHS.map((length, i) => generate(dtype, "ordinary", [i, tensor, 0], length));
  return sgdVjp(list(1), list(2), momentum === 0 ? LENGTHS.map(() => null) : list(3), {
    params: list(4),
    momentumBuffers: momentum === 0 ? undefined : list(5),
  }, { ...fullOptions(vjpCases[0]), weightDecay: 0.01, ...rule, backend });
}

const arraysOf = ({ params, grads, momentumBuffers }: SgdGradients) =>
  [...params, ...grads, ...momentumBuffers].filter((array) => array !== null);

testOnBackends("float32 gives the bits of the js backend, sums included", (backend) => {
  const rules = [{ momentum: 0 }, { momentum: 0.9 }, { momentum: 0.9, decoupledWeightDecay: true }];
  for (const rule of rules) {
    const [a, b] = [large("float32", "js", rule), large("float32", backend as "js", rule)];
    assertEquals(digest(arraysOf(b)), digest(arraysOf(a)));
    const sums = (
      { lr, momentum, dampening, weightDecay }: SgdGradients,
    ) => [lr, momentum, dampening, weightDecay];
    assertEquals(sums(b), sums(a));
    assert(sums(b)[0] !== 0 && sums(b)[3] !== 0);
  }
});

const plain: SgdFunctionOptions = {
  ...{ lr: 0.5, momentum: 0, dampening: 0, weightDecay: 0 },
  ...{ nesterov: false, maximize: false },
};
const one = (x: number) => new Float32Array([x]);

testOnBackends("a skipped step passes its cotangents on, in new arrays", (backend) => {
  const [cp, cb] = [one(3), one(4)];
  const options = { ...plain, momentum: 0.5, weightDecay: 1, backend };
  const cotangents = { params: [cp], momentumBuffers: [cb] };
  const back = sgdVjp([one(1)], [null], [one(2)], cotangents, options);
  assertEquals([back.params[0], back.grads[0], back.momentumBuffers[0]], [one(3), null, one(4)]);
  assert(back.params[0] !== cp && back.momentumBuffers[0] !== cb);
  assertEquals([back.lr, back.momentum, back.dampening, back.weightDecay], [0, 0, 0, 0]);
});

testOnBackends("without momentum a buffer's cotangent passes by", (backend) => {
  const cotangents = { params: [one(3)], momentumBuffers: [one(4)] };
  const back = sgdVjp([one(1)], [one(1)], [one(2)], cotangents, { ...plain, backend });
  assertEquals([back.grads[0], back.momentumBuffers[0]], [one(-1.5), one(4)]);
});

testOnBackends("cotangents that are null or left out are zeros", (backend) => {
  const options = { ...plain, momentum: 0.5, backend };
  const back = sgdVjp([one(1)], [one(1)], [one(2)], { params: [null] }, options);
  assertEquals([...arraysOf(back)].map(([x]) => x + 0), [0, 0, 0]);
  const forth = sgdVjp([one(1)], [one(1)], [one(2)], { params: [one(1)] }, options);
  assertEquals(forth.momentumBuffers[0], one(-0.25));
});

testOnBackends("with sign no derivative passes the update, except that of lr", (backend) => {
  const options = { ...plain, sign: true, weightDecay: 0.5, backend };
  const back = sgdVjp([one(2)], [one(-3)], [null], { params: [one(7)] }, options);
  assertEquals([back.params[0], back.grads[0]![0] + 0], [one(7), 0]);
  assertEquals([back.lr, back.weightDecay + 0], [7, 0]);
});

testOnBackends("nothing that is read is written", (backend) => {
  const arrays = Array.from({ length: 5 }, (_, i) => one(i + 1));
  const [p, g, b, cp, cb] = arrays;
  const options = { ...plain, momentum: 0.5, backend };
  sgdVjp([p], [g], [b], { params: [cp], momentumBuffers: [cb] }, options);
  assertEquals(arrays.map(([x]) => x), [1, 2, 3, 4, 5]);
});

testOnBackends("arrays that a list changes while it is read never reach a backend", (backend) => {
  const params = [new Float32Array(9), one(1)];
  const grads = [new Float32Array(9), one(1)];
  const grad = grads[1];
  const get = () => (params[0].buffer.transfer(), grad);
  Object.defineProperty(grads, 1, { get });
  const cotangents = { params: [null, null] };
  const call = () => sgdVjp(params, grads, [null, null], cotangents, { ...plain, backend });
  assertThrows(call, TypeError, "data of parameter 0 as its buffer is detached");
});

type Fault = [what: string, call: () => unknown, kind: ErrorConstructor, message: string];
const call = (cotangents: unknown, grad: unknown = one(1), options: unknown = plain) => () =>
  sgdVjp(
    [one(1)],
    [grad as FloatArray],
    [null],
    cotangents as never,
    options as SgdFunctionOptions,
  );

const faults: Fault[] = [
  ["no cotangents", call(undefined), TypeError, "undefined"],
  ["too few cotangents", call({ params: [] }), RangeError, "one of 0"],
  ["misspelt cotangents", call({ params: [null], buffers: [] }), TypeError, '"buffers"'],
  [
    "a cotangent of another dtype",
    call({ params: [new Float64Array(1)] }),
    TypeError,
    "cotangent of parameter 0",
  ],
  ["a cotangent of another length", call({ params: [new Float32Array(2)] }), RangeError, "2"],
  ["a gradient of another length", call({ params: [null] }, one(1).slice(1)), RangeError, "grad"],
  [
    "a sparse gradient",
    call({ params: [null] }, { indices: new Int32Array(1), values: one(1), shape: [1, 1] }),
    TypeError,
    "Cannot use grad of parameter 0 as it must be float32, like its data: current value is",
  ],
  [
    "options out of range",
    call({ params: [null] }, one(1), { ...plain, lr: -1 }),
    RangeError,
    "lr",
  ],
  ["no options", call({ params: [null] }, one(1), null), TypeError, "options"],
];

for (const [what, fault, kind, message] of faults) {
  Deno.test(`sgdVjp refuses ${what}`, () => {
    assertStringIncludes(assertThrows(fault, kind).message, message);
  });
}
