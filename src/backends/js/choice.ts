/** How the rows of a plan are stepped on the `js` backend: what many of them have in common. */

import { FLOAT32, isSixteenBit } from "../../core/dtype.ts";
import type { Dtype } from "../../core/dtype.ts";
import { codeOf } from "../../core/rounding.ts";
import { factorsOf, linesOf } from "../../core/rule.ts";
import type { Lines } from "../../core/rule.ts";
import {
  codeIn,
  FIRST,
  FORMAT_GRAD_F32,
  FORMAT_MOMENTUM8,
  FORMAT_SPLIT,
  FORMAT_SPLIT24,
  formatsIn,
  groupOf,
  readGroup,
  stateOf,
} from "../../plan/layout.ts";
import type { CallRow } from "../../plan/layout.ts";
import type { Plan } from "../../plan/plan.ts";
import { loopsOf } from "./loops/loops.ts";
import type { StepLoops } from "./loops/loops.ts";
import { computeTypeOf, preparationOf } from "./preparation.ts";
import type { Preparation } from "./preparation.ts";
import type { Format, Numbers } from "./wasm/kernel.ts";
import { Method } from "./wasm/sweep.ts";

/** What rows of one type, format, state and group have in common. */
export interface Choice {
  readonly code: number;
  readonly formats: number;
  readonly state: number;
  readonly group: number;
  /** Whether they have master weights, or corrections. */
  readonly hasMaster: boolean;
  /** Whether others are added to their gradients. */
  readonly isSum: boolean;
  readonly dtype: Dtype;
  /** The loops over elements: of the type that every operation rounds to. */
  readonly loops: StepLoops;
  readonly lines: Lines;
  readonly numbers: Numbers;
  /** How WebAssembly steps them. */
  readonly method: Method;
  /** Whether they are float32 or float64, with momentum of the same type. */
  readonly isPlain: boolean;
  /** Whether every operation rounds to their 16-bit type. */
  readonly isEach: boolean;
  /** Whether parameters are rounded by random bits. */
  readonly isStochastic: boolean;
}

/** Whether a choice is one for a row, too. */
export function isFor({ halves, table, addends }: Plan, row: number, choice: Choice): boolean {
  return codeIn(halves, row) === choice.code && groupOf(halves, row) === choice.group &&
    stateOf(halves, row) === choice.state && formatsIn(halves, row) === choice.formats &&
    hasMaster(table, row) === choice.hasMaster && isSum(addends, row) === choice.isSum;
}

function hasMaster({ masters }: Plan["table"], row: number): boolean {
  return masters.length > 0 && masters[row] !== null;
}

function isSum(addends: Plan["addends"], row: number): boolean {
  return addends.count > 0 && addends.of(row) !== null;
}

/** Chooses how a row is stepped. */
export function choose(plan: Plan, row: number, call: CallRow | null): Choice {
  const { halves, table } = plan;
  const [code, formats] = [codeIn(halves, row), formatsIn(halves, row)];
  const [state, group] = [stateOf(halves, row), groupOf(halves, row)];
  const dtype = table.typesAt(row).dtype as Dtype;
  const half = isSixteenBit(dtype);
  const isEach = half && code === codeOf(dtype, "torch");
  const isStochastic = half && code === codeOf(dtype, "stochastic");
  const h = readGroup(plan.groupRows, group);
  const lines = linesOf(h, state === FIRST);
  const preparation = call === null ? null : preparationOf(call, plan, group, dtype);
  const factors = factorsOf(h, computeTypeOf(dtype).round);
  return {
    ...{ code, formats, state, group, dtype, isEach, isStochastic, lines },
    hasMaster: hasMaster(table, row),
    isSum: isSum(plan.addends, row),
    loops: loopsOf(isEach ? dtype : computeTypeOf(dtype)),
    numbers: { factors, preparation, key: 0 },
    method: new Method(formatOf(plan, row, lines, preparation, isStochastic)),
    isPlain: !half && formats === 0,
  };
}

function formatOf(
  { halves, table, addends }: Plan,
  row: number,
  lines: Lines,
  preparation: Preparation | null,
  unrounded: boolean,
): Format {
  const dtype = table.typesAt(row).dtype as Dtype;
  const formats = formatsIn(halves, row);
  return {
    ...{ dtype, lines, unrounded },
    gradType: isSum(addends, row)
      ? computeTypeOf(dtype)
      : (formats & FORMAT_GRAD_F32) !== 0
      ? FLOAT32
      : dtype,
    momentum8: (formats & FORMAT_MOMENTUM8) !== 0,
    master: masterOf(formats, hasMaster(table, row)),
    prepared: preparation !== null && !preparation.isNeutral,
  };
}

function masterOf(formats: number, hasMaster: boolean): Format["master"] {
  if ((formats & FORMAT_SPLIT) !== 0) return "split";
  if ((formats & FORMAT_SPLIT24) !== 0) return "split24";
  return hasMaster ? "float32" : "none";
}
