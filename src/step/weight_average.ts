/** The class `WeightAverage`: averages of parameters over the steps of a training. */

import { updateAverages } from "../backends/average.ts";
import type { Backend } from "../backends/backend.ts";
import { chooseBackend } from "../backends/choose.ts";
import type { Device } from "../core/dtype.ts";
import { copyOf, lengthOf, setAll } from "../core/intrinsics.ts";
import { printContents } from "../core/printing.ts";
import { cannot } from "../core/validate.ts";
import { COPY } from "../plan/averages.ts";
import type { AverageUpdate, RowAverages } from "../plan/averages.ts";
import { MasterFinder } from "../plan/masters.ts";
import type { Plan } from "../plan/plan.ts";
import { registerAverageSource } from "../state/weight_average.ts";
import type { WeightAverageStateDict } from "../state/weight_average.ts";
import { checkApart, datasOf, readAveraged, termOf } from "./averaged.ts";
import type { Averaged, AveragedParameter } from "./averaged.ts";
import { matchAverages } from "./average_match.ts";
import { readAverageOptions, updateAt } from "./average_options.ts";
import type { AverageOptions, WeightAverageOptions } from "./average_options.ts";
import { BoundAverage } from "./bound_average.ts";
import { registerAverage } from "./step_average.ts";
import { swapIn, swapOut } from "./swap.ts";
import type { Swapped } from "./swap.ts";

/** Why the average is not available. */
const SWAPPED = "its values are in the parameters: swap back first";
const IN_USE = "a step that is running uses it: await the promise of stepAsync first";
const READING = "it is reading its parameters: a getter of them cannot do this";

/**
 * An average of parameters over the steps of a training, as `torch.optim.swa_utils.AveragedModel`: it
 * often does better than the parameters of the last step.
 *
 * Averages are float32, and float64 of float64 parameters. Those of 16-bit parameters are made of their
 * master weights where an optimizer has any. Until the first update they are the values that the
 * parameters had when the average was made; the first update copies the parameters.
 *
 * @example
 * ```ts
 * import { SGD, WeightAverage } from "@descent/sgd";
 *
 * const w = { data: new Float32Array([1]), grad: new Float32Array([1]) };
 * const optimizer = new SGD([w], { lr: 0.5 });
 * const average = new WeightAverage([w], { decay: 0.75 });
 * for (let i = 0; i < 3; i++) optimizer.step({ average });
 * {
 *   using _ = average.applied();
 *   console.log(w.data[0]); // 0.15625
 * }
 * console.log(w.data[0]); // -0.5
 * ```
 *
 * @category Optimizer
 */
export class WeightAverage {
  readonly #backend: Backend;
  readonly #options: AverageOptions;
  readonly #list: readonly Averaged[];
  #count = 0;
  #revision = 0;
  #swapped: Swapped | null = null;
  /** Why nothing can change it; null if it can be changed. */
  #busy: typeof IN_USE | typeof READING | null = null;

  /**
   * Makes an average of parameters.
   *
   * @param params Parameters, or groups of them such as `optimizer.paramGroups`. Those that a group gets
   * later are not averaged.
   * @param options How updates count.
   * @throws {TypeError} If there are no parameters, one is on a GPU, or something is of another type.
   * @throws {RangeError} If decay is out of range, or parameters repeat or overlap.
   * @throws {Error} If backend `"cpu"` is requested and not available.
   */
  constructor(
    params:
      | Iterable<AveragedParameter>
      | Iterable<{ readonly params: Iterable<AveragedParameter> }>,
    options: WeightAverageOptions,
  ) {
    this.#options = readAverageOptions(options);
    this.#backend = chooseBackend(options.backend);
    this.#list = readAveraged(params, this.#backend);
    this.#run(COPY);
    registerAverage(this, {
      bind: (plan, backend, device, isLate) => this.#bind(plan, backend, device, isLate),
      hold: () => this.#hold(),
    });
    registerAverageSource(this, {
      dict: () => this.#dict((average) => average),
      revision: () => this.#revision,
    });
    printContents(this, "WeightAverage", () => this.#contents());
  }

  /** How many updates it has had; torch's `n_averaged`. */
  get count(): number {
    return this.#count;
  }

  /** Whether the parameters have the values of the average. */
  get isSwapped(): boolean {
    return this.#swapped !== null;
  }

  /**
   * Takes the parameters' current values into the average. `step({ average })` does it in the pass that
   * steps the parameters.
   *
   * @throws {TypeError} If the data of a parameter are of another type than when the average was made, or
   * this rank of a world has a part of its master weights, as with exchange `"shards"`.
   * @throws {RangeError} If they have another length.
   * @throws {Error} If the values are swapped, or a step is running that uses the average or a parameter.
   */
  update(): void {
    this.#checkFree("update the average");
    this.#run(updateAt(this.#count + 1, this.#options));
    this.#finish();
  }

  /**
   * Exchanges the values of the parameters with the average, in place, and back when it is called again.
   * Meanwhile the average cannot be updated, and no optimizer should step.
   *
   * A parameter in a 16-bit type gets the nearest values. Its own are kept, and so are master weights.
   *
   * @throws {TypeError} As `update`.
   * @throws {RangeError} As `update`.
   * @throws {Error} If a step is running that uses the average or a parameter, or if a parameter has got
   * another array since the values were swapped. Nothing is written then.
   */
  swap(): void {
    this.#checkHeld("swap the average");
    const datas = this.#read(() => datasOf([...this.#list.entries()]));
    checkApart(this.#list, datas, this.#backend);
    if (this.#swapped === null) this.#swapped = swapIn(this.#list, datas);
    else {
      swapOut(this.#list, this.#swapped, datas);
      this.#swapped = null;
    }
    this.#revision++;
  }

  /**
   * Swaps, and swaps back at the end of the block: for an evaluation.
   *
   * @throws {TypeError} As `update`.
   * @throws {RangeError} As `update`.
   * @throws {Error} As `update`.
   *
   * @example
   * ```ts
   * import { WeightAverage } from "@descent/sgd";
   *
   * const w = { data: new Float32Array([1]) };
   * const average = new WeightAverage([w], { decay: "mean" });
   * average.update();
   * w.data[0] = 4;
   * average.update();
   * {
   *   using _ = average.applied();
   *   console.log(w.data[0]); // 2.5
   * }
   * console.log(w.data[0]); // 4
   * ```
   */
  applied(): Disposable {
    if (this.#swapped !== null) throw new Error(cannot("apply the average", SWAPPED));
    this.swap();
    const own = this.#swapped;
    return {
      [Symbol.dispose]: () => {
        if (own !== null && this.#swapped === own) this.swap();
      },
    };
  }

  /**
   * The state of the average: a snapshot, which later updates do not change. The options are not part of
   * it, as in torch.
   *
   * @throws {Error} If the values are swapped, or a step is running that uses the average.
   */
  stateDict(): WeightAverageStateDict {
    return this.#dict(copyOf);
  }

  /**
   * Resumes from a state. Parameters are matched by their names where all have one on both sides,
   * otherwise in order. Everything is checked before anything changes.
   *
   * @param dict The state: of `stateDict`, or `weight_average` of what `loadState` returns.
   * @throws {TypeError} If something is missing or of another type.
   * @throws {RangeError} If there are more or fewer parameters, or one has another name, length or shape.
   * @throws {Error} If the values are swapped, or a step is running that uses the average.
   */
  loadStateDict(dict: WeightAverageStateDict): void {
    this.#checkFree("load the state");
    const { count, arrays } = matchAverages(this.#list, dict);
    this.#list.forEach(({ average }, i) => setAll(average, arrays[i]));
    this.#count = count;
    this.#revision++;
  }

  #dict(take: (average: Averaged["average"]) => Averaged["average"]): WeightAverageStateDict {
    this.#checkFree("take the state");
    const averages = this.#list.map(({ average, shape }, i) => {
      const data = take(average);
      const isFlat = shape === undefined || shape.length === 1;
      return [i, isFlat ? { data } : { data, shape: [...shape] }];
    });
    const names = this.#list.map(({ name }) => name ?? null);
    return {
      n_averaged: this.#count,
      averages: Object.fromEntries(averages),
      ...(names.some((name) => name !== null) ? { param_names: names } : {}),
    };
  }

  /** What consoles show of it. */
  #contents(): object {
    const { decay, isCorrected: biasCorrection } = this.#options;
    const { count, isSwapped } = this;
    const elements = this.#list.reduce((sum, { average }) => sum + lengthOf(average), 0);
    return { decay, biasCorrection, count, isSwapped, parameters: this.#list.length, elements };
  }

  /** Updates all averages, outside of a step. */
  #run(update: AverageUpdate): void {
    const datas = this.#read(() => datasOf([...this.#list.entries()]));
    const masters = new MasterFinder();
    const terms = this.#list.map((averaged, i) =>
      termOf(averaged, i, datas[i], masters.find(averaged.parameter, datas[i]))
    );
    updateAverages(this.#backend, terms, update);
  }

  #finish(): void {
    this.#count++;
    this.#revision++;
  }

  #bind(plan: Plan, backend: Backend, device: Device | null, isLate: boolean): RowAverages {
    this.#checkFree("step with average");
    if (device !== null) {
      throw new TypeError(
        cannot(
          "step with average",
          "the host must know whether the step is skipped",
          "the gradients are on a GPU: call update of the average after stepAsync",
        ),
      );
    }
    const update = updateAt(this.#count + 1, this.#options);
    return this.#read(() =>
      new BoundAverage(plan, backend, this.#list, update, isLate, () => this.#finish())
    );
  }

  #hold(): () => void {
    this.#busy = IN_USE;
    return () => this.#busy = null;
  }

  /** Reads parameters. Their getters may call anything but what changes the average. */
  #read<Result>(body: () => Result): Result {
    this.#busy = READING;
    try {
      return body();
    } finally {
      this.#busy = null;
    }
  }

  #checkFree(doing: string): void {
    this.#checkHeld(doing);
    if (this.#swapped !== null) throw new Error(cannot(doing, SWAPPED));
  }

  #checkHeld(doing: string): void {
    if (this.#busy !== null) throw new Error(cannot(doing, this.#busy));
  }
}
