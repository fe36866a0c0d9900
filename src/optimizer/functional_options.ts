/** The options of the functional form. */

import { chooseBackend } from "../backends/choose.ts";
import { checkGroupKeys, resolve } from "../core/hyperparameters.ts";
import type { BackendName } from "../core/hyperparameters.ts";
import { checkMomentumBits, readPrecision } from "../core/rounding.ts";
import type { Precision, Rounding } from "../core/rounding.ts";
import {
  cannot,
  checkBoolean,
  checkNumber,
  checkObject,
  refusal,
  SAFE_WHOLE,
} from "../core/validate.ts";

/**
 * The options of `sgd`. As in torch, the hyperparameters have no defaults here.
 *
 * @category Optimizer
 */
export interface SgdFunctionOptions {
  /**
   * Whether some gradients may be sparse. It is only a hint, as in torch: sparse gradients are
   * recognized without it.
   * @default {false}
   */
  hasSparseGrad?: boolean;
  /** False: tensor by tensor; true or null: all tensors in one native call. @default {null} */
  foreach?: boolean | null;
  /** Weight decay, finite and >= 0: an L2 penalty unless it is decoupled. */
  weightDecay: number;
  /** Momentum factor, finite and >= 0. */
  momentum: number;
  /** Learning rate, finite and >= 0. */
  lr: number;
  /** Dampening of momentum, finite and >= 0. */
  dampening: number;
  /** Nesterov momentum; needs momentum > 0 and dampening 0. */
  nesterov: boolean;
  /** Maximize the objective instead of minimizing it. */
  maximize: boolean;
  /** Sign-SGD: step by the sign of the update. @default {false} */
  sign?: boolean;
  /** Decoupled weight decay, as for the class. @default {false} */
  decoupledWeightDecay?: boolean;
  /** Which implementation runs, as for the class. @default {"auto"} */
  backend?: "auto" | BackendName;
  /**
   * How parameters in 16-bit types are rounded, as for the class. Their momentum buffers are float32,
   * and of the same type as the parameter with `"torch"`.
   * @default {"nearest"}
   */
  rounding?: Rounding;
  /**
   * The bits of an element of momentum, as for the class: with 8, the entries of parameters with at
   * least 4,096 elements are values and scales.
   * @default {32}
   */
  momentumBits?: 8 | 32;
  /**
   * Whether parameters in 16-bit types have master weights, as for the class. They are in
   * `masterWeightList`.
   * @default {false}
   */
  masterWeights?: boolean | "split" | "split24";
  /**
   * One master weight per parameter, which `masterWeights` needs and which is refused without it: a
   * `Float32Array` for `true`, an `Int16Array` of corrections for `"split"`, an `Int8Array` for
   * `"split24"`. Null means that the master weight begins at this step, with the parameter's value, and
   * the entry is filled in; for float32 and float64 it stays null.
   */
  masterWeightList?: (Float32Array | Int16Array | Int8Array | null)[];
  /**
   * The seed of stochastic rounding, of momentum in 8 bits and of `"split24"`: a whole number from 0 to
   * 2^53 - 1.
   * @default {0}
   */
  seed?: number;
  /**
   * The number of the step, for everything that `seed` is for, and in its range; it must differ at each
   * step.
   * @default {0}
   */
  counter?: number;
}

const REQUIRED = ["weightDecay", "momentum", "lr", "dampening", "nesterov", "maximize"] as const;

/** The options that are not hyperparameters, without `momentumBits`. */
const OTHERS: readonly (keyof SgdFunctionOptions)[] = [
  ...["hasSparseGrad", "backend", "rounding", "seed", "counter"] as const,
  ...["masterWeights", "masterWeightList"] as const,
];

/** Checks the options of one step, and chooses the backend. */
export function readOptions(options: SgdFunctionOptions) {
  checkObject("step", options);
  checkGroupKeys(options, OTHERS);
  const { hasSparseGrad = false, backend, rounding, seed, counter = 0, ...others } = options;
  const { momentumBits = 32, masterWeights, masterWeightList, ...rest } = others;
  checkBoolean("hasSparseGrad", hasSparseGrad);
  for (const name of REQUIRED) {
    if (rest[name] === undefined) throw new TypeError(cannot("step", `${name} is missing`));
  }
  checkNumber("counter", counter, SAFE_WHOLE);
  const precision: Precision = readPrecision({ rounding, masterWeights, seed });
  precision.random.counter = counter;
  checkMomentumBits(momentumBits, precision.rounding);
  checkMasterList(masterWeightList, precision);
  return {
    ...{ hyperparameters: resolve(rest), momentumBits, masterWeightList, precision },
    backend: chooseBackend(backend),
  };
}

/** Master weights need a list, and a list needs master weights. */
function checkMasterList(list: unknown, { masterWeights }: Precision): void {
  if (masterWeights && list === undefined) {
    throw new TypeError(cannot("step", "masterWeightList is missing, which masterWeights need"));
  }
  if (masterWeights || list === undefined) return;
  throw new TypeError(refusal("step", "masterWeightList needs masterWeights", masterWeights));
}
