/** The tensors of `fixtures/every_dtype.safetensors`, by the formula of `kernels/tests/safetensors.rs`. */

import type { SavedTensor, TensorDtype } from "@descent/sgd/safetensors";

/** Bits of an element, in the order of the format's list. */
export const BITS: Readonly<Record<TensorDtype, number>> = {
  ...{ BOOL: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8 },
  ...{ F8_E4M3FNUZ: 8, F8_E5M2FNUZ: 8, I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32 },
  ...{ F32: 32, C64: 64, F64: 64, I64: 64, U64: 64 },
};

const SHAPES = [{ shape: [2, 4], count: 8 }, { shape: [], count: 1 }, { shape: [3, 0], count: 0 }, {
  shape: [3],
  count: 3,
}];

/** A tensor as bytes. */
export interface Raw {
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array<ArrayBuffer>;
}

/** The tensors as bytes, by their names. */
export function everyDtype(): Record<string, Raw & SavedTensor> {
  const all: Record<string, Raw> = {};
  for (const [i, [dtype, bits]] of Object.entries(BITS).entries()) {
    for (const { shape, count } of SHAPES) {
      if (bits * count % 8 !== 0) continue;
      const data = Uint8Array.from(
        { length: bits * count / 8 },
        (_, k) => i === 0 ? k % 2 : (37 * k + 11 * i + 1) % 256,
      );
      const name = `${dtype}.${shape.length * 10 + count}`;
      all[name] = { dtype: dtype as TensorDtype, shape, data };
    }
  }
  return all;
}
