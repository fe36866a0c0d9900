/** Matches the averages of a state dict with those of a `WeightAverage`. */

import { dtypeOf } from "../core/dtype.ts";
import type { FloatArray } from "../core/host_array.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { label } from "../core/parameter.ts";
import { cannot, refusal } from "../core/validate.ts";
import { checkAverageDict } from "../state/weight_average.ts";
import type { CheckedAverage } from "../state/weight_average.ts";
import { typeOfAverage } from "./averaged.ts";
import type { Averaged } from "./averaged.ts";

/** What an average resumes from. */
export interface Matched {
  readonly count: number;
  /** In the order of the parameters, of the types and lengths of their averages. */
  readonly arrays: readonly FloatArray[];
}

/**
 * Finds the average of each parameter: by name where all have one on both sides, otherwise in order.
 *
 * @throws {TypeError} If the dict is not valid, or an average is of another type.
 * @throws {RangeError} If there are more or fewer, or one has another name, length or shape.
 */
export function matchAverages(list: readonly Averaged[], dict: unknown): Matched {
  const { count, averages, names } = checkAverageDict(dict);
  if (averages.length !== list.length) {
    const needed = `it must have the averages of ${list.length} parameters`;
    throw new RangeError(refusal("load the average", needed, averages.length, "number"));
  }
  const places = placesOf(list, names);
  const arrays = list.map((averaged, i) => checkFits(averaged, averages[places[i]], i));
  return { count, arrays };
}

/** The place of each parameter among the averages of the dict. */
function placesOf(
  list: readonly Averaged[],
  names: readonly (string | null)[] | null,
): readonly number[] {
  const isNamed = names !== null && names.every((name) => name !== null) &&
    list.every(({ name }) => name !== undefined) && new Set(names).size === names.length;
  if (!isNamed) return list.map((_, i) => i);
  const byName = new Map(names.map((name, place) => [name as string, place]));
  return list.map(({ name }, i) => {
    const place = byName.get(name!);
    if (place !== undefined) return place;
    throw new RangeError(
      cannot("load the average", `the state must have ${label({ name }, i)}`, "it does not"),
    );
  });
}

function checkFits(averaged: Averaged, { data, shape }: CheckedAverage, i: number): FloatArray {
  const doing = `load the average of ${label(averaged, i)}`;
  const [type, given] = [typeOfAverage(averaged.dtype), dtypeOf(data, "the average")];
  if (given !== type) {
    throw new TypeError(refusal(doing, `it must be ${type.name}`, given.name, "type"));
  }
  const length = lengthOf(data);
  if (length !== averaged.length) {
    const needed = `its length must be ${averaged.length}, like the parameter`;
    throw new RangeError(refusal(doing, needed, length, "length"));
  }
  const own = averaged.shape;
  if (shape === null || own === undefined || own.length === 1) return data;
  if (String(shape) === String(own)) return data;
  const needed = `its shape must be [${own.join(", ")}]`;
  throw new RangeError(refusal(doing, needed, `[${shape.join(", ")}]`, "shape"));
}
