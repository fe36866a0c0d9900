/** Conversions of 16-bit types in the loops of a step: of every bit pattern, and of many float32. */

import { assertEquals } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { HostArray } from "@descent/sgd";
import { load, store } from "../../src/core/convert.ts";
import { bitsOf, fromBits, TYPES } from "../core/sixteen_bit/golden.ts";
import type { SixteenBit } from "../core/sixteen_bit/golden.ts";
import { testOnBackends } from "../support/backends.ts";
import { words } from "../support/golden.ts";

const ALL = Uint16Array.from({ length: 65_536 }, (_, i) => i);

const float32 = (bits: Uint32Array<ArrayBuffer>) => new Float32Array(bits.buffer);

function loaded(array: HostArray): Float32Array {
  const values = new Float32Array(array.length);
  load(array, values);
  return values;
}

/** Float32 next to every value of a type, and half-way to its neighbor. */
function bordering(dtype: SixteenBit): Float32Array {
  const values = loaded(fromBits(dtype, ALL.slice()));
  const bits = new Uint32Array(values.buffer);
  const half = dtype === "float16" ? 0x1000 : 0x8000;
  const subnormal = Float32Array.from(values, (value) => value + Math.sign(value) * 2 ** -25);
  const shifts = [-1, 0, 1, half - 1, half, half + 1];
  const near = shifts.map((shift) => float32(bits.map((word) => word + shift)));
  const all = [...near, subnormal, float32(words(1, 2, 3, 2 ** 18) as Uint32Array<ArrayBuffer>)];
  const joined = new Float32Array(all.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of all) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

for (const dtype of TYPES) {
  testOnBackends(`a step takes every ${dtype} for the float32 that it is`, (backend) => {
    const [data, grad] = [fromBits(dtype, ALL.slice()), fromBits(dtype, ALL.slice())];
    const parameter = { data, grad };
    const optimizer = new SGD([parameter], { lr: 0, momentum: 0.5, backend });
    optimizer.step();
    const buffer = optimizer.state.get(parameter)!.momentumBuffer as HostArray;
    assertEquals(bitsOf(buffer), bitsOf(loaded(grad)));
  });

  testOnBackends(`a step rounds every float32 to the nearest ${dtype}`, (backend) => {
    const values = bordering(dtype);
    const data = fromBits(dtype, new Uint16Array(values.length));
    const grad = fromBits(dtype, new Uint16Array(values.length));
    const parameter = { data, grad };
    const optimizer = new SGD([parameter], { lr: 0, masterWeights: true, backend });
    optimizer.step();
    (optimizer.state.get(parameter)!.masterWeight as Float32Array).set(values);
    optimizer.step();
    const expected = fromBits(dtype, new Uint16Array(values.length));
    store(values, expected);
    assertEquals(bitsOf(data), bitsOf(expected));
  });
}
