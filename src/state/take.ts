/** Takes an optimizer's state out of it. */

import { checkBuffer, isFixed, isUsable } from "../core/array_checks.ts";
import { deviceOf, elementTypeOf, findElementType, FLOAT32 } from "../core/dtype.ts";
import type { DeviceTensor, Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { HYPERPARAMETERS } from "../core/hyperparameters.ts";
import type { ParamGroup } from "../core/hyperparameters.ts";
import { settledInitialLr } from "../core/initial_lr.ts";
import { tagOf } from "../core/intrinsics.ts";
import { nameArray } from "../core/parameter.ts";
import type { ArrayName, Parameter } from "../core/parameter.ts";
import type { Precision } from "../core/rounding.ts";
import { checkBoolean, checkOptions, checkWord, describe, wrongType } from "../core/validate.ts";
import { cannotBlock, copyToHost, HostCopies } from "../memory/host_copy.ts";
import { assertUnlocked } from "../memory/locks.ts";
import { checkOwn } from "../plan/parameter_state.ts";
import type { ParameterState } from "../plan/parameter_state.ts";
import type { Plan } from "../plan/plan.ts";
import { checkScales } from "./check_arrays.ts";
import { withFloat32Momentum } from "./convert.ts";
import { KEYS } from "./dict.ts";
import type { ParameterStateDict, ParamGroupStateDict, StateDict } from "./dict.ts";
import { copyStored } from "./stored_array.ts";
import type { CodeArray } from "./stored_array.ts";

/** The parts of an optimizer that are its state. */
export interface Owner {
  /** The groups, in order. */
  readonly groups: readonly ParamGroup<Tensor>[];
  /** The names of their parameters, in order; undefined where there is none. */
  readonly names: readonly (string | undefined)[];
  /** What remembers momentum buffers and master weights, by the parameters' order. */
  readonly plan: Pick<Plan, "stateArrays" | "bindData" | "table" | "isRandom" | "devices">;
  /** What holds for parameters in 16-bit types. */
  readonly precision: Precision;
}

/**
 * The options of `stateDict`.
 *
 * @category Checkpoints
 */
export interface StateDictOptions {
  /** Whether the parameters' own values are part of the dict. @default {false} */
  parameters?: boolean;
  /**
   * `"stored"`: momentum as the optimizer keeps it. `"float32"`: momentum in 8 bits is decoded, which is
   * exact, to momentum buffers of float32, as torch has them.
   * @default {"stored"}
   */
  momentum?: "stored" | "float32";
}

/** How arrays come into a dict: shared, or as copies. */
interface Taker {
  /** False for a dict that has no state of its parameters. */
  readonly takesState?: boolean;
  readonly tensor: (tensor: Tensor) => HostArray;
  readonly codes: <A extends CodeArray>(codes: A) => A;
}

/**
 * A state dict whose copies of tensors on devices are read without blocking. It rejects if work of a
 * device has failed, also where nothing is read from it.
 *
 * @param take How arrays of the host come into it.
 * @param findUnwritten The rows whose momentum buffers have never been written, as devices know it.
 */
async function readState(
  owner: Owner,
  options: StateDictOptions,
  take: Taker,
  findUnwritten: () => Promise<readonly number[]>,
): Promise<StateDict> {
  checkStateDictOptions(options);
  const copies = new HostCopies();
  const dict = takeState(owner, options, {
    ...take,
    tensor: (tensor) =>
      deviceOf(tensor) === undefined ? take.tensor(tensor) : copies.copy(tensor as DeviceTensor),
  });
  const [unwritten] = await Promise.all([
    findUnwritten(),
    copies.complete(),
    ...owner.plan.devices.map((device) => device.synchronize("take the state")),
  ]);
  for (const row of unwritten) delete dict.state[row];
  return dict;
}

/** A state dict that shares the optimizer's arrays, and has copies of tensors on devices. */
export function shareState(
  owner: Owner,
  options: StateDictOptions = {},
  findUnwritten: () => Promise<readonly number[]>,
  takesState = true,
): Promise<StateDict> {
  const tensor: Taker["tensor"] = (tensor) => tensor as HostArray;
  const take: Taker = { takesState, tensor, codes: (codes) => codes };
  return readState(owner, options, take, findUnwritten);
}

/** As `copyState`, without blocking: the state is that of the moment of the call. */
export function copyStateAsync(
  owner: Owner,
  options: StateDictOptions = {},
  findUnwritten: () => Promise<readonly number[]>,
): Promise<StateDict> {
  return readState(owner, options, { tensor: copyToHost, codes: copyStored }, findUnwritten);
}

/**
 * A state dict of its own: later steps do not change it.
 *
 * @throws {TypeError} If a parameter is on WebGPU, whether there is anything to read or not.
 */
export function copyState(owner: Owner, options: StateDictOptions = {}): StateDict {
  checkStateDictOptions(options);
  if (owner.plan.devices.some(({ name }) => name === "webgpu")) throw cannotBlock();
  return takeState(owner, options, { tensor: copyToHost, codes: copyStored });
}

/**
 * Checks the options of `stateDict`.
 *
 * @throws {TypeError} If one does not exist or is of another type.
 */
export function checkStateDictOptions(options: StateDictOptions): void {
  checkOptions(options, ["parameters", "momentum"]);
  const { parameters, momentum } = options;
  if (parameters !== undefined) checkBoolean("parameters", parameters);
  if (momentum !== undefined) checkWord("momentum", momentum, ["stored", "float32"]);
}

function takeState(owner: Owner, options: StateDictOptions, take: Taker): StateDict {
  const { groups, names, plan, precision } = owner;
  const dict: StateDict = { state: {}, param_groups: [] };
  if (plan.isRandom) dict.rounding = { ...precision.random };
  if (options.parameters) dict.parameters = {};
  let row = 0;
  for (const group of groups) {
    const first = row;
    for (const parameter of group.params) {
      const isTaken = take.takesState !== false;
      const entry = isTaken ? takeEntry({ owner, parameter, row, take }) : null;
      if (entry !== null) dict.state[row] = entry;
      if (dict.parameters !== undefined) {
        const data = take.tensor(dataOf(parameter, row));
        const shape = shapeOf(parameter);
        dict.parameters[row] = shape === undefined ? { data } : { data, shape: [...shape] };
      }
      row++;
    }
    dict.param_groups.push(groupDict(group, first, names.slice(first, row)));
  }
  return options.momentum === "float32" ? withFloat32Momentum(dict) : dict;
}

/** A parameter whose state is taken. */
interface Source {
  readonly owner: Owner;
  readonly parameter: Parameter<Tensor>;
  readonly row: number;
  readonly take: Taker;
}

/** What is remembered of a parameter; null if nothing is. */
function takeEntry(source: Source): ParameterStateDict | null {
  checkAssigned(source);
  const entry: ParameterStateDict = { ...takeMomentum(source), ...takeMaster(source) };
  if (Object.keys(entry).length === 0) return null;
  const shape = shapeOf(source.parameter);
  return shape === undefined ? entry : { ...entry, shape: [...shape] };
}

function takeMomentum({ owner, parameter, row, take }: Source): ParameterStateDict | null {
  const { stateArrays: own, table } = owner.plan;
  const buffer = own.bufferAt(row);
  if (buffer !== null) {
    const isBound = table.datas[row] === parameter.data;
    if (isBound && table.hasMomentum8(row)) {
      throw notNull(nameArray(parameter, row, "momentum buffer"), buffer);
    }
    checkState(buffer, parameter, row, "momentum buffer");
    const rowsInUse = own.savedRowsInUse(row);
    const entry = { momentum_buffer: take.tensor(buffer) };
    return rowsInUse === null ? entry : { ...entry, rows_in_use: rowsInUse };
  }
  const momentum8 = own.momentum8At(row);
  if (momentum8 === null) return null;
  const { values, scales } = momentum8;
  checkCodes(values, parameter, row, "8-bit momentum");
  const entry = { momentum8: take.codes(values), momentum_scales: take.codes(scales) };
  // Whoever writes into scales can write what no dict and no file may have.
  const what = () => `scales of the ${nameArray(parameter, row, "8-bit momentum")}`;
  checkScales(scales, what, "take the state");
  return entry;
}

function takeMaster({ owner, parameter, row, take }: Source): ParameterStateDict | null {
  const own = owner.plan.stateArrays;
  const masterWeight = own.masterAt(row);
  if (masterWeight !== null) {
    checkState(masterWeight, parameter, row, "master weight");
    return { master_weight: take.tensor(masterWeight) as Float32Array };
  }
  const correction = own.isCorrectionOf(row, parameter.data) ? own.correctionAt(row) : null;
  if (correction === null) return null;
  checkCodes(correction, parameter, row, "correction");
  return { correction: take.codes(correction) };
}

/** Refuses what the user has assigned to a state that no state dict may have. */
function checkAssigned({ owner, parameter, row }: Source): void {
  const { plan: { stateArrays: own }, precision } = owner;
  const state = {
    momentumBuffer: own.bufferAt(row),
    masterWeight: own.masterAt(row),
    momentum8: own.momentum8At(row),
    correction: own.isCorrectionOf(row, parameter.data) ? own.correctionAt(row) : null,
  };
  if (Object.values(state).every((array) => array === null)) return;
  checkTogether(state, precision, (array) => nameArray(parameter, row, array));
}

/** Refuses arrays that do not go together, or not with the options. */
function checkTogether(
  { momentumBuffer, momentum8, masterWeight, correction }: Pick<
    ParameterState,
    "momentumBuffer" | "momentum8" | "masterWeight" | "correction"
  >,
  precision: Precision,
  name: (array: ArrayName) => string,
): void {
  if (momentum8 !== null) checkOwn(momentum8, name("8-bit momentum"));
  if (momentum8 !== null && momentumBuffer !== null) {
    throw notNull(name("momentum buffer"), momentumBuffer);
  }
  const { masterWeights } = precision;
  if (masterWeight !== null) {
    const reason = `it must be null with masterWeights ${describe(masterWeights)}`;
    const what = `use ${name("master weight")}`;
    if (masterWeights !== true) throw wrongType(what, reason, masterWeight);
    const isFloat32 = findElementType(masterWeight) === FLOAT32;
    if (!isFloat32) throw wrongType(what, "it must be a Float32Array", masterWeight);
  }
  if (correction === null) return;
  const tag = masterWeights === "split" ? "Int16Array" : "Int8Array";
  if (tagOf(correction) === tag) return;
  throw wrongType(`use ${name("correction")}`, `it must be an ${tag}`, correction);
}

function notNull(what: string, buffer: Tensor): TypeError {
  return wrongType(`use ${what}`, "it must be null with momentumBits 8", buffer);
}

/** The data of a parameter, which whoever owns it may have replaced by anything. */
function dataOf(parameter: Parameter<Tensor>, index: number): Tensor {
  const { data } = parameter;
  checkState(data, parameter, index, "data");
  assertUnlocked(data, () => nameArray(parameter, index, "data"));
  return data;
}

/** The name of an array is put together for an error only. */
function checkState(
  tensor: unknown,
  parameter: Parameter<Tensor>,
  index: number,
  array: ArrayName,
) {
  if (!isUsable(tensor)) checkTensor(tensor, nameArray(parameter, index, array));
}

/** Refuses codes whose memory is gone: the user can transfer it, but not replace it. */
function checkCodes(codes: CodeArray, parameter: Parameter<Tensor>, row: number, array: ArrayName) {
  const memory = codes as unknown as HostArray;
  if (!isFixed(memory)) checkBuffer(memory, nameArray(parameter, row, array));
}

/**
 * Checks an array, or a tensor on a device.
 *
 * @throws {TypeError} If it is neither, or its memory is not fixed.
 */
export function checkTensor(tensor: unknown, what: string): asserts tensor is Tensor {
  elementTypeOf(tensor, what);
  checkBuffer(tensor as Tensor, what);
}

/** The shape that a dict has: none for one dimension. */
function shapeOf({ shape }: Parameter<Tensor>): readonly number[] | undefined {
  return shape === undefined || shape.length === 1 ? undefined : shape;
}

export function groupDict(
  group: ParamGroup<Tensor>,
  first: number,
  names: readonly (string | undefined)[],
): ParamGroupStateDict {
  // Torch's groups do not have decoupled weight decay, so dicts without it are like theirs.
  const taken = HYPERPARAMETERS.filter((name) => name !== "decoupledWeightDecay" || group[name]);
  const values = taken.map((name) => [KEYS[name], group[name]]);
  const initialLr = settledInitialLr(group);
  const isNamed = names.some((name) => name !== undefined);
  return {
    ...Object.fromEntries(values),
    ...(initialLr === undefined ? {} : { [KEYS.initialLr]: initialLr }),
    ...(group.momentumBits === 8 ? { [KEYS.momentumBits]: 8 } : {}),
    params: group.params.map((_, i) => first + i),
    ...(isNamed ? { param_names: names.map((name) => name ?? null) } : {}),
  };
}
