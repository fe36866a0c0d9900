/** The class `SGD`: parameter groups, their state, and the step. */

import type { Backend } from "../backends/backend.ts";
import { chooseWithReason } from "../backends/choose.ts";
import type { Tensor } from "../core/dtype.ts";
import { registerFinder, registerVerifiable } from "../core/exchange.ts";
import type { FloatArray, HostArray } from "../core/host_array.ts";
import { checkGroupKeys, checkShared } from "../core/hyperparameters.ts";
import type { BackendName, GroupOptions, ParamGroup, SGDOptions } from "../core/hyperparameters.ts";
import { holdBase, isScheduled } from "../core/initial_lr.ts";
import type { Parameter, SparseParameter } from "../core/parameter.ts";
import { printContents } from "../core/printing.ts";
import { checkMomentumBits, readPrecision } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot, checkObject } from "../core/validate.ts";
import { goBackThrough } from "../differentiable/backward.ts";
import type { BackwardOptions, BackwardResult, Cotangents } from "../differentiable/backward.ts";
import { checkRecordSteps, Recorder } from "../differentiable/recorder.ts";
import { arrange, checkMove, resetPlan, withMoved, withoutGroup } from "../plan/arrangement.ts";
import type { Arrangement } from "../plan/arrangement.ts";
import { registerMasters } from "../plan/masters.ts";
import type { ParameterState } from "../plan/state_arrays.ts";
import { prepareStateDict } from "../state/apply.ts";
import type { LoadStateDictOptions, LoadStateDictReport } from "../state/apply.ts";
import type { StateDict } from "../state/dict.ts";
import { checkOwner } from "../state/rank_owner.ts";
import { registerStateSource } from "../state/source.ts";
import { copyState, copyStateAsync, shareState } from "../state/take.ts";
import type { Owner, StateDictOptions } from "../state/take.ts";
import type { StepReport } from "../step/clipping.ts";
import { NEUTRAL_REQUEST, readAsyncArguments, readStepArguments } from "../step/options.ts";
import type { StepOptions } from "../step/options.ts";
import { Stepper } from "../step/stepper.ts";
import { createTogether } from "../step/in_world.ts";
import type { Together } from "../step/together.ts";
import { checkSigns } from "../step/votes.ts";
import { zeroGradients } from "../step/zero_grad.ts";
import { placeGroups } from "./members.ts";
import { createGroups, readGroupMembers, readMembers, SHARED } from "./param_groups.ts";
import type {
  GroupMembers,
  ListedParameter,
  ParamGroupOptions,
  ParamGroupWithLr,
} from "./param_groups.ts";
import { checkRemoval, readMove } from "./regroup.ts";
import { createStateMap, fillStateMap } from "./state_map.ts";
import type { StateMap } from "./state_map.ts";
import { backendOf, explainBackend, summarize } from "./summary.ts";
import type { SGDSummary } from "./summary.ts";
import { listVerifiable } from "./verifiable.ts";

/**
 * The state that an optimizer keeps for a parameter.
 *
 * @category Optimizer
 */
export interface ParameterStateView<T extends Tensor = FloatArray> {
  /**
   * The momentum buffer; null before the first step with momentum, and where momentum has 8 bits. All
   * momentum buffers that a step creates share one `ArrayBuffer`: `structuredClone` of one copies all of
   * it, and its transfer detaches all of them. On the `js` backend it may be that of a WebAssembly
   * memory, which cannot be transferred.
   */
  readonly momentumBuffer: T | null;
  /**
   * The float32 copy of a parameter in a 16-bit type if `masterWeights` is true; otherwise null. Steps
   * update this copy, so code that changes the parameter has to change it too.
   */
  readonly masterWeight: Float32Array | null;
  /**
   * Momentum in 8 bits, of parameters that have it by `momentumBits`; null before the first step with
   * momentum, and for all others. The arrays are the optimizer's own: what is written into them is what
   * the next step reads. `docs/formats.md` defines values and scales.
   */
  readonly momentum8: { readonly values: Int8Array; readonly scales: Uint8Array } | null;
  /**
   * The lower bits of the master weight of a bfloat16 parameter: 16 with `masterWeights` `"split"`, 8 with
   * `"split24"`; otherwise null. They become 0 when the parameter gets another array as `data`. Code
   * that writes values into the parameter and wants to begin exactly from them sets this to null.
   */
  correction: Int16Array | Int8Array | null;
  /**
   * A copy of the momentum: momentum in 8 bits as float32, a momentum buffer in its own type; null if
   * there is none.
   */
  readMomentum(): T | Float32Array | null;
  /**
   * A float32 copy of the master weight: of `masterWeight`, or of the parameter and its `correction`
   * joined, which is exact; null if there is none. It has more bits than the parameter.
   */
  readMasterWeight(): Float32Array | null;
}

/**
 * Stochastic gradient descent with momentum: `torch.optim.SGD`, bit for bit, in one native pass.
 *
 * For each element, with `g` the gradient (negated by `maximize`), `p` the parameter and `b` the
 * momentum buffer:
 *
 * ```text
 * g <- g + weightDecay * p                    (decoupled: p <- (1 - lr * weightDecay) * p instead)
 * b <- momentum * b + (1 - dampening) * g     (b <- g at a parameter's first step)
 * u <- nesterov ? g + momentum * b : b        (u <- g without momentum)
 * u <- sign ? sign(u) : u
 * p <- p - lr * u
 * ```
 *
 * @example
 * ```ts
 * import { SGD } from "@descent/sgd";
 *
 * const w = { data: new Float32Array([1, 2]), grad: new Float32Array([0.5, -0.5]), name: "w" };
 * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
 * optimizer.step();
 * console.log(w.data); // Float32Array(2) [ 0.95, 2.05 ]
 * ```
 *
 * @typeParam T What data may be, beside arrays of float32 and float64. `SGD` alone is an optimizer of
 * any arrays, `SGD<Tensor>` one of any tensors.
 *
 * @category Optimizer
 */
export class SGD<T extends Tensor = HostArray> {
  readonly #backend: Backend;
  /** Why it was chosen. */
  readonly #reason: string;
  readonly #defaults: GroupOptions;
  readonly #precision: Precision;
  readonly #stepper: Stepper;
  /** The steps in a world; null without one, and in one of a single rank. */
  readonly #together: Together | null;
  /** Whether ranks vote on signs. */
  readonly #votes: boolean;
  /** The objects that show the state; null until they are first read. */
  #state: StateMap | null = null;
  #groups: readonly ParamGroup<Tensor>[] = Object.freeze([]);
  /** The parameters' names, as they were when the parameters were added. */
  #names: readonly (string | undefined)[] = [];
  readonly #recorder: Recorder;
  readonly #findUnwritten = (): Promise<readonly number[]> => this.#stepper.findUnwritten();

  /**
   * Makes an optimizer; no parameter changes before the first step.
   *
   * @param params Parameters, or groups `{ params, lr?, momentum?, ... }`, not both.
   * @param options The options of groups that do not set them, and the backend.
   * @throws {TypeError} If there are no parameters, lr is missing, or something is of another type.
   * @throws {RangeError} If a hyperparameter is out of range, if parameters repeat or overlap, or if
   * two have the same name or one has a name that no checkpoint could hold.
   * @throws {WorldError} With a `world`, whose ranks all have to make it, if something differs between them.
   * @throws {Error} If backend `"cpu"` is requested and not available; the message says what to do.
   */
  constructor(
    params:
      | ListedParameter<T | FloatArray>[]
      | Iterable<Parameter<T | FloatArray> | SparseParameter>
      | Iterable<ParamGroupOptions<T | FloatArray>>,
    options: SGDOptions,
  );
  /**
   * The same without options: each group has a learning rate of its own.
   *
   * @param groups Groups `{ params, lr, momentum?, ... }`.
   */
  constructor(
    groups: ParamGroupWithLr<T | FloatArray>[] | Iterable<ParamGroupWithLr<T | FloatArray>>,
  );
  constructor(params: Iterable<unknown>, options: SGDOptions = {}) {
    checkObject("create the optimizer", options);
    checkGroupKeys(options, [...SHARED]);
    const { backend, recordSteps = Infinity, world, exchange, ...others } = options;
    const { rounding, masterWeights, seed, ...defaults } = others;
    checkRecordSteps(recordSteps);
    this.#precision = readPrecision({ rounding, masterWeights, seed });
    const members = readMembers(params);
    checkShared(defaults);
    const { momentumBits = 32 } = defaults;
    checkMomentumBits(momentumBits, this.#precision.rounding);
    this.#defaults = defaults;
    const { backend: chosen, reason } = chooseWithReason(backend);
    [this.#backend, this.#reason] = [chosen, reason];
    this.#recorder = new Recorder(recordSteps);
    this.#together = createTogether(world, exchange, this.#backend, this.#precision);
    this.#votes = exchange === "signs";
    this.#stepper = new Stepper(this.#backend, this.#recorder, this.#precision, this.#together);
    this.#addGroups(members);
    printContents(this, "SGD", () => this.toJSON());
    registerStateSource(this, {
      dict: (options, hasState) => this.#shareState(options, hasState),
      revision: () => this.#stepper.revision,
      steps: () => this.#stepper.steps,
      join: (what) => {
        this.#owner("save the state");
        return this.#together?.state.beginSave(this.#stepper.plan, what) ?? null;
      },
    });
    if (this.#together !== null) {
      const together = this.#together;
      registerFinder(
        this,
        (found, scale) => together.isFoundAnywhere(this.#stepper.plan, found, scale),
      );
    }
    registerVerifiable(this, () => {
      const owner = this.#owner("verify");
      const hasOwnState = this.#together?.state.hasOwnState ?? false;
      return listVerifiable(this.#stepper.plan, hasOwnState ? null : copyState(owner));
    });
  }

  /**
   * The backend that runs the steps: `webgpu` if all parameters are tensors of adopted devices, `gpu` if
   * all are on devices and some on one that `openGpu` has opened.
   */
  get backend(): BackendName | "gpu" | "webgpu" {
    return backendOf(this.#stepper.plan.parameters, this.#backend.name);
  }

  /**
   * Why the steps run on `backend`: a sentence, with what to do where the native library was not found.
   *
   * @example
   * ```ts
   * import { SGD } from "@descent/sgd";
   *
   * const w = { data: new Float32Array(1), grad: null };
   * const optimizer = new SGD([w], { lr: 0.1, backend: "js" });
   * console.log(optimizer.backendReason); // The backend is js, as the option backend is "js"
   * ```
   */
  get backendReason(): string {
    return explainBackend(this.#stepper.plan.parameters, this.#backend.name, this.#reason);
  }

  /** The groups, in order. Their hyperparameters can be assigned between steps. */
  get paramGroups(): readonly ParamGroup<T | FloatArray>[] {
    return this.#groups as readonly ParamGroup<T | FloatArray>[];
  }

  /**
   * The state of each parameter, in the order of the groups. The objects are made when this is first
   * read, and kept: about 400 bytes per parameter. The map is the optimizer's own: its `set`, `delete`
   * and `clear` throw.
   *
   * This cannot ask a device of WebGPU whether a first step was skipped: until `stateDictAsync` has been
   * awaited, it shows a momentum tensor, of zeros if it was, and what is written into it then is not used.
   */
  get state(): ReadonlyMap<
    Parameter<T | FloatArray> | SparseParameter,
    ParameterStateView<T | FloatArray>
  > {
    this.#together?.state.checkWhole();
    this.#stepper.settleSync();
    if (this.#state === null) this.#showState(this.#state = createStateMap());
    const state: ReadonlyMap<Parameter<Tensor>, ParameterState> = this.#state;
    return state as ReadonlyMap<
      Parameter<T | FloatArray> | SparseParameter,
      ParameterStateView<T | FloatArray>
    >;
  }

  /**
   * Adds a group, for example a layer that is trained from now on. Schedulers of the optimizer set its
   * learning rate from their next step on. In a world all ranks call it, and get rank 0's values of its
   * parameters.
   *
   * @param group Its parameters and the options in which it differs.
   * @throws {TypeError} If it has no parameters, or something is of another type.
   * @throws {RangeError} If a hyperparameter is out of range, if a parameter is here already or overlaps
   * another, or if its name is another's or one that no checkpoint could hold.
   * @throws {WorldError} If ranks of its world do something else, or add another group; no rank has added it.
   */
  addParamGroup(group: ParamGroupOptions<T | FloatArray>): void {
    this.#recorder.assertNotInBackward("addParamGroup");
    this.#stepper.checkIdle("add a group");
    this.#addGroups([readGroupMembers(group)]);
  }

  /**
   * Removes a group with the state of its parameters; their arrays stay as they are. The groups after
   * it move up, and schedulers keep the schedule and the base of each group that stays.
   *
   * Stochastic rounding, momentum in 8 bits and `"split24"` draw random bits by the number of the
   * parameter, which is its place in the groups at the time of the step. The numbers of the parameters
   * after those that leave change with this, as with `moveParameter`; a checkpoint of the optimizer as
   * it is then resumes bit for bit.
   *
   * @param index The index of the group in `paramGroups`.
   * @throws {TypeError} If it is not a number.
   * @throws {RangeError} If there is no such group, or it is the only one.
   * @throws {WorldError} With exchange `"shards"`, where all ranks have to call it, if they do something else.
   * @throws {Error} If `stepAsync` is running, or steps are recorded: call `backward` first.
   *
   * @example Train the head alone
   * ```ts
   * import { SGD } from "@descent/sgd";
   *
   * const body = { data: new Float32Array([1]), grad: new Float32Array([1]) };
   * const head = { data: new Float32Array([1]), grad: new Float32Array([1]) };
   * const optimizer = new SGD([{ params: [body] }, { params: [head] }], { lr: 0.5 });
   * optimizer.removeParamGroup(0);
   * optimizer.step();
   * console.log(body.data[0], head.data[0]); // 1 0.5
   * ```
   */
  removeParamGroup(index: number): void {
    this.#checkRegrouping("removeParamGroup", "remove a group");
    checkRemoval(index, this.#groups);
    this.#arrange(withoutGroup(this.#stepper.plan, index));
  }

  /**
   * Moves a parameter to the end of another group, with its momentum, master weight and everything
   * else that is remembered of it. The group that it leaves may be left without parameters. In the
   * group that it is in already it stays where it is.
   *
   * @param parameter A parameter of the optimizer.
   * @param toGroup The group that it moves to: its index in `paramGroups`, or the group.
   * @throws {TypeError} If `toGroup` is neither a number nor a group, or the momentum of that group has
   * 8 bits and the parameter is of a type that cannot have it.
   * @throws {RangeError} If one of them is not of this optimizer, or the parameter has momentum whose
   * bits are not those of the group.
   * @throws {WorldError} With exchange `"shards"`, where all ranks have to call it, if they do something else.
   * @throws {Error} If `stepAsync` is running, or steps are recorded: call `backward` first.
   *
   * @example
   * ```ts
   * import { SGD } from "@descent/sgd";
   *
   * const parameter = () => ({ data: new Float32Array(1), grad: new Float32Array(1) });
   * const [a, b, c] = [parameter(), parameter(), parameter()];
   * const optimizer = new SGD([{ params: [a, b] }, { params: [c], lr: 0.1 }], { lr: 0.5 });
   * optimizer.moveParameter(a, 1);
   * console.log(optimizer.paramGroups.map(({ params }) => params.length)); // [ 1, 2 ]
   * ```
   */
  moveParameter(
    parameter: Parameter<T | FloatArray> | SparseParameter,
    toGroup: number | ParamGroup<T | FloatArray>,
  ): void {
    this.#checkRegrouping("moveParameter", "move a parameter");
    const { plan } = this.#stepper;
    const { row, group } = readMove(parameter, toGroup, plan.parameters, this.#groups);
    if (plan.table.groupAt(row) === group) return;
    this.#stepper.withReentrancyGuard(() => checkMove(plan, row, group, this.#precision));
    this.#arrange(withMoved(plan, row, group));
  }

  /**
   * Lets go of everything that is remembered of the parameters: momentum, master weights with the bits
   * that the parameters do not have, and how many steps have drawn random bits. The next step is as the
   * first one of a new optimizer; groups, learning rates and the seed stay as they are.
   *
   * @throws {Error} If `stepAsync` is running, or steps are recorded: call `backward` first.
   *
   * @example
   * ```ts
   * import { SGD } from "@descent/sgd";
   *
   * const w = { data: new Float32Array([1]), grad: new Float32Array([1]) };
   * const optimizer = new SGD([w], { lr: 0.5, momentum: 0.9 });
   * optimizer.step();
   * optimizer.resetState();
   * console.log(optimizer.state.get(w)?.momentumBuffer); // null
   * ```
   */
  resetState(): void {
    this.#checkRegrouping("resetState", "reset the state");
    resetPlan(this.#stepper.plan, this.#precision);
    this.#stepper.revision++;
  }

  /**
   * Updates every parameter that has a gradient, in place. Everything is checked before the first
   * write: if this throws, no parameter and no state has changed.
   *
   * @param options What happens to gradients in the same pass over memory: they are added up, unscaled,
   * checked, clipped and zeroed. If the check finds one that is infinite or NaN, the step is skipped, and
   * `lastStep` reports it: parameters, momentum buffers and "first step" stay as they were.
   * @throws {TypeError} If an array is missing, of another type, detached or resizable; if an option
   * does not exist or is of another type; if gradients are to be added up, unscaled, checked or clipped
   * that come with `differentiable`, added up that are sparse or not arrays, or checked or clipped by their
   * norm that are not all arrays or all on one GPU; if sparse gradients are to be zeroed of
   * parameters that are frozen.
   * @throws {RangeError} If lengths differ, also of the lists of gradients to add; if arrays overlap,
   * hyperparameters do not fit together or are
   * larger than the type in which an update is computed can hold; if an option is out of range; if
   * gradients are to be zeroed that share memory.
   * @throws {WorldError} In a world, all of whose ranks have to call it, if they do something else, if
   * something differs between them, or if one has ended.
   * @throws {Error} If `stepAsync` is running.
   */
  step(options?: StepOptions): undefined;
  /**
   * Calls the closure first, updates every parameter, and returns what the closure returned.
   *
   * @param closure Computes the gradients and returns the loss.
   * @param options As above.
   * @returns What the closure returned, also if the step is skipped.
   * @throws {TypeError} As above, and if the closure is asynchronous.
   */
  step<Loss>(closure: () => Loss, options?: StepOptions): Loss;
  step(first?: (() => unknown) | StepOptions, options?: StepOptions): unknown {
    this.#recorder.assertNotInBackward("step");
    this.#stepper.checkIdle("step");
    const plain = first === undefined && options === undefined;
    const request = plain ? null : readStepArguments(first, options);
    const loss = typeof first === "function" ? this.#call(first) : undefined;
    this.#stepper.step(request ?? NEUTRAL_REQUEST);
    return loss;
  }

  /**
   * Takes a step on another thread, without blocking the event loop. The result has the same bits as
   * that of `step`. On the `js` backend, which has no other thread, the step runs synchronously.
   *
   * Until the promise settles, do not write to the arrays of any parameter, and do not replace, detach
   * or resize them: that rejects the promise (the step has then updated all of the arrays that it
   * began with, or none if it was still measuring gradients). Operations that would conflict with the
   * running step throw: another step, `zeroGrad`, `addParamGroup`, `stateDict` and others like them.
   * Sparse gradients that are to be zeroed are replaced when the step begins.
   *
   * `foreach` has no effect here: all tensors go in one call.
   *
   * @param options The options of `step`; a closure is not supported.
   * @returns What the step did, as `lastStep` has it afterwards.
   * @throws {TypeError} As `step`.
   * @throws {RangeError} As `step`.
   * @throws {WorldError} As `step`. All ranks call `stepAsync`.
   * @throws {Error} If a step is running already, or an array has changed while this one ran.
   *
   * @example
   * ```ts
   * import { SGD } from "@descent/sgd";
   *
   * const w = { data: new Float32Array([1, 2]), grad: new Float32Array([0.5, -0.5]) };
   * const optimizer = new SGD([w], { lr: 0.1 });
   * const step = optimizer.stepAsync({ zeroGrad: true });
   * // Here the next batch can be loaded.
   * await step;
   * console.log(w.data); // Float32Array(2) [ 0.95, 2.05 ]
   * ```
   */
  async stepAsync(options?: StepOptions): Promise<StepReport> {
    this.#recorder.assertNotInBackward("stepAsync");
    this.#stepper.checkIdle("step");
    return await this.#stepper.stepAsync(readAsyncArguments(options));
  }

  /**
   * What the last step did; null before the first one. It is also null after a `step` whose gradients
   * are on a GPU and were measured there: the step is queued, and only `stepAsync` waits for its report.
   */
  get lastStep(): StepReport | null {
    return this.#stepper.lastStep;
  }

  /** How many steps are recorded: those of `differentiable` groups since the last `backward`. */
  get recordedSteps(): number {
    return this.#recorder.steps.length;
  }

  /**
   * Differentiates a loss through the recorded steps, and forgets these steps.
   *
   * With `differentiable: true`, each step keeps copies of what it reads: data, gradients and
   * momentum buffers, up to `recordSteps` steps. This method takes the derivatives of a loss with
   * respect to the current parameters, and returns those with respect to the values before the first
   * recorded step and to the hyperparameters. `through` receives those with respect to the gradients
   * of each step; if the gradients depend on the parameters, it adds their contribution. `sgdVjp`
   * describes how each step is differentiated. Values that were assigned between steps are treated as
   * if they had not been.
   *
   * @param cotangents The derivatives of the loss with respect to parameters, each like its data;
   * those of missing parameters are zeros.
   * @param options `through`, and the derivatives with respect to momentum buffers.
   * @throws {TypeError} If a cotangent is of another type than its parameter.
   * @throws {RangeError} If it is of another length, or its parameter is not in any recorded step, or a
   * parameter's length or dtype changed between two of them.
   * @throws {Error} If nothing is recorded, or a group was differentiable in some of the steps only.
   * Within `through`, `step`, `backward`, `loadStateDict` and `addParamGroup` throw too.
   *
   * @example The best learning rate for one step
   * ```ts
   * import { SGD } from "@descent/sgd";
   *
   * const w = { data: new Float64Array([4]), grad: new Float64Array(1) };
   * const optimizer = new SGD([w], { lr: 0.1, differentiable: true });
   * w.grad[0] = 2 * w.data[0]; // of w^2
   * optimizer.step();
   * const loss = w.data[0] ** 2;
   * const { groups } = optimizer.backward(new Map([[w, new Float64Array([2 * w.data[0]])]]));
   * console.log(loss.toFixed(2), groups[0].lr.toFixed(1)); // 10.24 -51.2
   * ```
   */
  backward(cotangents: Cotangents, options: BackwardOptions = {}): BackwardResult {
    this.#stepper.checkIdle("go back");
    const members = this.#stepper.plan.parameters as Parameter[];
    return this.#recorder.goBack((steps) =>
      goBackThrough({ steps, members, backend: this.#backend }, cotangents, options)
    );
  }

  /**
   * Fills every gradient with zeros; a sparse one is replaced by one without entries.
   *
   * @param options With `setToNull`, sets `grad` to null instead: a parameter that gets no new
   * gradient is then skipped by the next step, while a zero gradient still decays and carries
   * momentum.
   * @throws {TypeError} If an option does not exist or is of another type, a gradient is of another
   * type or its buffer detached, or a parameter whose gradient is to be replaced is frozen; none has
   * then changed.
   */
  zeroGrad(options: { setToNull?: boolean } = {}): void {
    this.#stepper.checkIdle("zero gradients");
    const { parameters } = this.#stepper.plan;
    this.#stepper.withReentrancyGuard(() => zeroGradients(parameters, options));
  }

  /**
   * The optimizer's state in torch's shape: a snapshot, which later steps do not change.
   *
   * Names are part of it where parameters of a group have one, as they were when the parameters were
   * given to the optimizer, and shapes where parameters have more or fewer than one dimension.
   *
   * @param options With `parameters`, the parameters' own values are part of it too; with
   * `momentum: "float32"`, momentum in 8 bits is decoded to what torch loads.
   * @throws {TypeError} If an array is detached, or a parameter is on WebGPU: `stateDictAsync` is for that.
   * @throws {WorldError} With exchange `"shards"`, where all ranks have to call it, if they do something else,
   * or if something differs between them.
   *
   * @example
   * ```ts
   * import { SGD } from "@descent/sgd";
   *
   * const w = { data: new Float32Array([1, 2]), grad: new Float32Array([0.5, -0.5]), name: "w" };
   * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
   * optimizer.step();
   * const { state, param_groups } = optimizer.stateDict();
   * console.log(state[0].momentum_buffer); // Float32Array(2) [ 0.5, -0.5 ]
   * console.log(param_groups[0].param_names); // [ "w" ]
   * ```
   */
  stateDict(options?: StateDictOptions): StateDict {
    const owner = this.#owner("take the state");
    this.#together?.state.collect(this.#stepper.plan);
    this.#stepper.settleSync();
    return copyState(owner, options);
  }

  /**
   * The same, for tensors on a GPU without blocking; those of a `WebGpuTensor` cannot be read otherwise.
   * It is the state at the time of the call, whatever is stepped meanwhile.
   *
   * @param options With `parameters`, the parameters' own values are part of it too.
   * @throws {TypeError} If an array is detached, or a buffer of WebGPU lacks the usage COPY_SRC.
   * @throws {WorldError} As `stateDict`.
   * @throws {Error} If a device is lost, or has refused some of the work so far.
   *
   * @example
   * ```ts
   * import { SGD } from "@descent/sgd";
   *
   * const w = { data: new Float32Array([1, 2]), grad: new Float32Array([0.5, -0.5]) };
   * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
   * optimizer.step();
   * const { state } = await optimizer.stateDictAsync();
   * console.log(state[0].momentum_buffer); // Float32Array(2) [ 0.5, -0.5 ]
   * ```
   */
  async stateDictAsync(options?: StateDictOptions): Promise<StateDict> {
    const owner = this.#owner("take the state");
    this.#together?.state.collect(this.#stepper.plan);
    return await copyStateAsync(owner, options, this.#findUnwritten);
  }

  /**
   * Resumes from a state dict of Descent or of torch's shape.
   *
   * The hyperparameters of the dict replace the optimizer's own, the constructor's `lr` included,
   * as in torch; to continue with another lr, assign it afterwards. So does `initial_lr`, the learning
   * rate from which schedulers that are made after this start; if the dict has none, it is the dict's
   * `lr`. Existing schedulers load their own state. Keys that newer releases added get
   * their defaults if the dict does not have them; keys that Descent does not know are left out. Shapes
   * are compared where both sides have one: an array of the dict without `shape` fits any
   * shape of its length. Groups stay the objects that they are, and the dict's arrays are copied.
   *
   * A parameter whose name both sides have is matched by it, and its state goes with it, also into
   * another group. The others are matched in order, within groups that belong together: those which
   * share the most names, and then, in order, those which share none. So an optimizer without names
   * takes a dict with names, as in torch, and one with names takes a dict without. A parameter with a
   * name is matched in order only if the dict has no name that the optimizer lacks and as many
   * parameters are left in the group on both sides: so it never gets what has another name. Names that
   * several parameters of a dict have, as torch allows, count as none. A group takes the dict's
   * hyperparameters if it has the same parameters there, and otherwise keeps its own.
   *
   * Everything is checked before anything changes: if this throws, nothing has changed. In a world all ranks
   * call it, and get rank 0's parameters and state; if it throws on one rank, no rank has loaded.
   *
   * @param dict The state dict.
   * @param options With `strict: false`, what matches is loaded, also into other groups, and the rest
   * stays as it is; with `parameters`, the parameters' own values are loaded too, in place; with
   * `convert`, momentum and master weights of another form are converted.
   * @returns What did not match; empty lists if all did.
   * @throws {TypeError} If the dict or an option is not valid, or if the dict has no parameters
   * where they are asked for, and `strict` is not false.
   * @throws {RangeError} If a hyperparameter is out of range, or if the dict does not fit: the
   * message lists each parameter that is missing, in another group, or of another length, shape or
   * dtype.
   * @throws {WorldError} If ranks of its world do something else, load something that differs in more than
   * values, or cannot load.
   *
   * @example
   * ```ts
   * import { SGD } from "@descent/sgd";
   *
   * const w = { data: new Float32Array([1, 2]), grad: null };
   * const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9 });
   * optimizer.loadStateDict({
   *   state: { 0: { momentum_buffer: new Float32Array([0.5, -0.5]) } },
   *   param_groups: [{ lr: 0.05, momentum: 0.9, dampening: 0, weight_decay: 0, params: [0] }],
   * });
   * console.log(optimizer.paramGroups[0].lr); // 0.05
   * ```
   */
  loadStateDict(dict: StateDict, options?: LoadStateDictOptions): LoadStateDictReport {
    this.#recorder.assertNotInBackward("loadStateDict");
    const owner = this.#owner("load the state");
    this.#stepper.settleSync();
    const ranks = this.#together?.state ?? null;
    const prepare = () => {
      if (ranks !== null && ranks.owner !== null) checkOwner(dict, ranks.owner);
      return prepareStateDict(owner, dict, options);
    };
    const report = this.#stepper.withReentrancyGuard(() =>
      ranks === null ? prepare().load() : ranks.load(this.#stepper.plan, prepare)
    );
    this.#recorder.steps.length = 0; // they do not lead to the loaded state
    this.#stepper.revision++;
    return report;
  }

  /**
   * A summary for logs, which `JSON.stringify` calls and `console.log` shows: the backend, counts, and
   * the hyperparameters of each group; no arrays. `stateDict` has the state.
   */
  toJSON(): SGDSummary {
    return summarize(this.backend, this.#groups);
  }

  #shareState(options?: StateDictOptions, hasState = true): Promise<StateDict> {
    const owner = this.#owner("save the state");
    return shareState(owner, options, this.#findUnwritten, hasState);
  }

  #owner(doing: string): Owner {
    this.#stepper.checkIdle(doing);
    return {
      ...{ groups: this.#groups, names: this.#names },
      ...{ plan: this.#stepper.plan, precision: this.#precision },
    };
  }

  /** Everything is checked before anything is added. */
  #addGroups(members: readonly GroupMembers[]): void {
    const { plan } = this.#stepper;
    const first = plan.parameters.length;
    this.#stepper.withReentrancyGuard(() => {
      const { rounding } = this.#precision;
      const known = () => plan.parameters;
      const added = createGroups(members, this.#defaults, known, this.#names, rounding);
      if (this.#votes) checkSigns("add parameters", added.map(({ values }) => values));
      const names = added.flatMap(({ names }) => names);
      const agree = () => this.#together?.state.add(plan, first, names);
      plan.add(added.map(({ values, params }) => ({ group: values, params })), agree);
      if (this.#precision.masterWeights !== false) {
        registerMasters(plan, plan.parameters, this.#together?.state.isSharded ?? false);
      }
      this.#names = [...this.#names, ...names];
      if (this.#groups.some(isScheduled)) {
        for (const { group } of added) holdBase(group);
      }
      this.#groups = Object.freeze([...this.#groups, ...added.map(({ group }) => group)]);
    });
    if (this.#state !== null) this.#showState(this.#state);
    this.#stepper.revision++;
  }

  #checkRegrouping(method: string, doing: string): void {
    this.#recorder.assertNotInBackward(method);
    this.#stepper.checkIdle(doing);
    this.#recorder.assertEmpty(doing);
  }

  #arrange(arrangement: Arrangement): void {
    const { plan } = this.#stepper;
    this.#together?.state.arrange(plan, arrangement.rows);
    this.#groups = placeGroups(this.#groups, plan.ends, arrangement);
    arrange(plan, arrangement, this.#precision);
    const names = this.#names;
    this.#names = arrangement.rows.map((row) => names[row]);
    if (this.#state !== null) this.#showState(this.#state);
    this.#stepper.revision++;
  }

  #showState(state: StateMap): void {
    const { stateArrays: own, parameters } = this.#stepper.plan;
    fillStateMap(state, parameters, own.materializeAll());
  }

  #call(closure: () => unknown): unknown {
    const loss = closure();
    if (typeof (loss as PromiseLike<unknown> | undefined)?.then === "function") {
      throw new TypeError(
        cannot(
          "step",
          "the closure must compute the gradients before it returns",
          "it returned a promise",
        ),
      );
    }
    this.#stepper.checkIdle("step");
    return loss;
  }
}
