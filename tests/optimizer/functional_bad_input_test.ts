/** Bad input of `sgd` is a clear error, and nothing has changed after it. */

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { type FloatArray, sgd } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { array, type Fault } from "../support/faults.ts";

const sgdOptions = {
  lr: 0.1,
  momentum: 0.9,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
  maximize: false,
};
const callSgd = (
  params: unknown,
  grads: unknown,
  buffers: unknown,
  options: unknown = sgdOptions,
) => sgd(params as FloatArray[], grads as FloatArray[], buffers as null[], options as never);

const functionalFaults: Fault[] = [
  ["lists of different lengths", () => callSgd([array(1)], [], [null]), RangeError, "gradList"],
  ["a missing list", () => callSgd([array(1)], [array(1)], undefined), TypeError, "momentumBuffer"],
  ["empty lists", () => callSgd([], [], []), TypeError, "empty"],
  ["no options", () => callSgd([array(1)], [array(1)], [null], null), TypeError, "options"],
  [
    "a buffer of another length",
    () => callSgd([array(1)], [array(1)], [array(1, 2)]),
    RangeError,
    "momentum buffer of parameter 0",
  ],
  [
    "a buffer of another dtype",
    () => callSgd([array(1)], [array(1)], [new Float64Array(1)]),
    TypeError,
    "must be float32",
  ],
  ["an array twice", () => callSgd(...twice()), RangeError, "overlap"],
  ...(["lr", "momentum", "dampening", "weightDecay", "nesterov", "maximize"].map((name): Fault => [
    `a missing ${name}`,
    () => callSgd([array(1)], [array(1)], [null], { ...sgdOptions, [name]: undefined }),
    TypeError,
    `${name} is missing`,
  ])),
];

function twice(): [unknown, unknown, unknown] {
  const data = array(1);
  return [[data, data], [array(1), array(1)], [null, null]];
}

for (const [what, fault, kind, message] of functionalFaults) {
  Deno.test(`sgd refuses ${what}`, () => {
    assertStringIncludes(assertThrows(fault, kind).message, message);
  });
}

testOnBackends("sgd fills in no buffer when it throws", (backend) => {
  const buffers = [null, null];
  const params = [array(1, 2), array(3)];
  assertThrows(() => sgd(params, [array(1, 1), array(1, 1)], buffers, { ...sgdOptions, backend }));
  assertEquals([buffers, params], [[null, null], [array(1, 2), array(3)]]);
});

testOnBackends("sgd refuses a list that it could not fill in, before it steps", (backend) => {
  const params = [array(1)];
  const frozen = Object.freeze([null]) as unknown as null[];
  const options = { ...sgdOptions, backend };
  assertThrows(() => sgd(params, [array(1)], frozen, options), TypeError, "writable");
  assertEquals(params, [array(1)]);
  sgd(params, [array(1)], frozen, { ...options, momentum: 0, lr: 1 });
  assertEquals(params, [array(0)]);
});
