/** Takes an optimizer's state out of it and puts it back. */

import { checkBuffer, isUsable } from "../core/array_checks.ts";
import { countOf, deviceOf, dtypeOf, elementTypeOf, FLOAT32, isSixteenBit } from "../core/dtype.ts";
import type { DeviceTensor, ElementType, Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { HYPERPARAMETERS, resolve } from "../core/hyperparameters.ts";
import type { Hyperparameters, ParamGroup } from "../core/hyperparameters.ts";
import { restoreInitialLr, settledInitialLr } from "../core/initial_lr.ts";
import { copyOf, lengthOf } from "../core/intrinsics.ts";
import { nameArray } from "../core/parameter.ts";
import type { ArrayName, Parameter } from "../core/parameter.ts";
import { bufferTypeOf } from "../core/rounding.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot, checkBoolean, checkOptions, quote } from "../core/validate.ts";
import { copyFromHost, copyToHost, HostCopies, hostDtypeOf } from "../memory/host_copy.ts";
import { assertUnlocked } from "../memory/locks.ts";
import type { Plan } from "../plan/plan.ts";
import { checkStateDict, KEYS } from "./dict.ts";
import type {
  CheckedDict,
  CheckedGroup,
  CheckedTensor,
  ParameterStateDict,
  ParamGroupStateDict,
  StateDict,
} from "./dict.ts";
import { baseLrsOf } from "./extras.ts";
import type { Label } from "./labels.ts";
import { match } from "./match.ts";
import type { Match } from "./match.ts";
import type { Problem } from "./misfits.ts";
import { linkGroups } from "./scheduler_links.ts";

/** The parts of an optimizer that are its state. */
export interface Owner {
  /** The groups, in order. */
  readonly groups: readonly ParamGroup<Tensor>[];
  /** The names of their parameters, in order; undefined where there is none. */
  readonly names: readonly (string | undefined)[];
  /** What remembers momentum buffers and master weights, by the parameters' order. */
  readonly plan: Pick<Plan, "stateArrays" | "bindData" | "table">;
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
}

/**
 * The options of `loadStateDict`.
 *
 * @category Checkpoints
 */
export interface LoadStateDictOptions {
  /** Whether everything must match; if not, what matches is loaded. @default {true} */
  strict?: boolean;
  /** Whether the parameters' own values are loaded too, in place. @default {false} */
  parameters?: boolean;
}

/**
 * What did not match. Parameters are called by their names, and by their indices where they have none:
 * those in the optimizer, or in the dict for `unexpected`. If some parameter of either is named like an
 * index, such as "1", those without names are `param.0`, `param.1` and so on, as in files.
 *
 * @category Checkpoints
 */
export interface LoadStateDictReport {
  /** Parameters of the optimizer that the dict does not have, or whose values it should have. */
  missing: string[];
  /** Parameters of the dict that the optimizer does not have. */
  unexpected: string[];
  /** Parameters of both that differ in length, shape or dtype. */
  mismatched: string[];
  /**
   * Parameters that are in another group of the dict: what fits of their state is loaded, and the
   * groups keep their hyperparameters.
   */
  regrouped: string[];
}

/**
 * A state dict whose copies of tensors on devices are read without blocking.
 *
 * @param take What the dict has of an array.
 * @param findUnwritten The rows whose momentum buffers have never been written, as devices know it.
 */
async function readState(
  owner: Owner,
  options: StateDictOptions,
  take: (array: HostArray) => HostArray,
  findUnwritten: () => Promise<readonly number[]>,
): Promise<StateDict> {
  const copies = new HostCopies();
  const dict = takeState(
    owner,
    options,
    (tensor) =>
      deviceOf(tensor) === undefined
        ? take(tensor as HostArray)
        : copies.copy(tensor as DeviceTensor),
  );
  const [unwritten] = await Promise.all([findUnwritten(), copies.complete()]);
  for (const row of unwritten) delete dict.state[row];
  return dict;
}

/** A state dict that shares the optimizer's arrays, and has copies of tensors on devices. */
export function shareState(
  owner: Owner,
  options: StateDictOptions = {},
  findUnwritten: () => Promise<readonly number[]>,
): Promise<StateDict> {
  return readState(owner, options, (array) => array, findUnwritten);
}

/** As `copyState`, without blocking: the state is that of the moment of the call. */
export function copyStateAsync(
  owner: Owner,
  options: StateDictOptions = {},
  findUnwritten: () => Promise<readonly number[]>,
): Promise<StateDict> {
  checkFlags(options, ["parameters"]);
  return readState(owner, options, copyOf, findUnwritten);
}

function takeState(
  { groups, names, plan: { stateArrays: own }, precision: { rounding, random } }: Owner,
  options: StateDictOptions,
  take: (tensor: Tensor) => HostArray,
): StateDict {
  const dict: StateDict = { state: {}, param_groups: [] };
  if (rounding === "stochastic") dict.rounding = { ...random };
  if (options.parameters) dict.parameters = {};
  let first = 0;
  for (const group of groups) {
    for (const [i, parameter] of group.params.entries()) {
      const shape = shapeOf(parameter);
      const [momentumBuffer, masterWeight] = [own.bufferAt(first + i), own.masterAt(first + i)];
      if (momentumBuffer !== null) {
        checkState(momentumBuffer, parameter, first + i, "momentum buffer");
      }
      if (masterWeight !== null) checkState(masterWeight, parameter, first + i, "master weight");
      if (momentumBuffer !== null || masterWeight !== null) {
        const entry: ParameterStateDict = {};
        if (momentumBuffer !== null) entry.momentum_buffer = take(momentumBuffer);
        if (masterWeight !== null) entry.master_weight = take(masterWeight) as Float32Array;
        dict.state[first + i] = shape === undefined ? entry : { ...entry, shape: [...shape] };
      }
      if (dict.parameters) {
        const data = take(dataOf(parameter, first + i));
        dict.parameters[first + i] = shape === undefined ? { data } : { data, shape: [...shape] };
      }
    }
    const next = first + group.params.length;
    dict.param_groups.push(groupDict(group, first, names.slice(first, next)));
    first = next;
  }
  return dict;
}

/** A state dict of its own: later steps do not change it. */
export function copyState(owner: Owner, options: StateDictOptions = {}): StateDict {
  checkFlags(options, ["parameters"]);
  return takeState(owner, options, copyToHost);
}

function checkFlags(options: unknown, names: readonly string[]): void {
  checkOptions(options, names);
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined) checkBoolean(name, value);
  }
}

/**
 * Loads a state dict. Everything is checked and copied before anything changes.
 *
 * @throws {TypeError} If the dict is not valid.
 * @throws {RangeError} If it does not fit, and `strict` is not false.
 */
export function applyStateDict(
  owner: Owner,
  dict: unknown,
  options: LoadStateDictOptions = {},
): LoadStateDictReport {
  checkFlags(options, ["strict", "parameters"]);
  const { strict = true, parameters = false } = options;
  const checked = checkStateDict(dict);
  if (strict && parameters && checked.parameters.size === 0) {
    throw new TypeError(cannot("load the parameters", "the state dict has none"));
  }
  const { pairs, matches, problems, label } = match(owner.groups, owner.names, checked.groups);
  const fitting = matches.filter((found) => {
    const reason = misfit(owner, found, checked, parameters);
    if (reason === null) return true;
    problems.push(problemOf("mismatched", found.name, reason));
    return false;
  });
  const isValued = ({ id }: Match) => checked.parameters.has(id);
  for (const { name } of parameters ? fitting.filter((found) => !isValued(found)) : []) {
    problems.push(problemOf("missing", name, "has no values in the dict"));
  }
  problems.push(...strays(checked, label));
  if (strict) refuse(problems);
  const settings = pairs.map(({ here, there }) =>
    changeGroup(here, resolve(there.values), savedBases(there, checked))
  );
  const memories = changeMemories(owner, fitting, checked); // binds the data of all that fit
  const changes = [
    memories,
    ...settings,
    () => Object.assign(owner.precision.random, checked.rounding),
  ];
  const values = parameters ? fitting.filter(isValued) : [];
  const writes = values.map((found) => prepareWrite(owner, found, checked));
  // Nothing from here on runs code of the user's.
  for (const { check } of writes) check();
  for (const { write } of writes) write();
  for (const change of changes) change();
  linkGroups((dict as StateDict).lr_scheduler, owner.groups, pairs, checked.groups);
  return report(problems);
}

/** The data of a parameter, which its owner may have replaced by anything. */
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

function checkTensor(tensor: unknown, what: string): asserts tensor is Tensor {
  elementTypeOf(tensor, what);
  checkBuffer(tensor as Tensor, what);
}

/** The shape that a dict has: none for one dimension. */
function shapeOf({ shape }: Parameter<Tensor>): readonly number[] | undefined {
  return shape === undefined || shape.length === 1 ? undefined : shape;
}

function groupDict(
  group: ParamGroup<Tensor>,
  first: number,
  names: readonly (string | undefined)[],
): ParamGroupStateDict {
  const values = HYPERPARAMETERS.map((name) => [KEYS[name], group[name]]);
  const initialLr = settledInitialLr(group);
  const isNamed = names.some((name) => name !== undefined);
  return {
    ...Object.fromEntries(values),
    ...(initialLr === undefined ? {} : { [KEYS.initialLr]: initialLr }),
    params: group.params.map((_, i) => first + i),
    ...(isNamed ? { param_names: names.map((name) => name ?? null) } : {}),
  };
}

/** Why what the dict has of a parameter cannot be its state; null if it can. */
function misfit(
  { precision }: Owner,
  { parameter, index, id }: Match,
  dict: CheckedDict,
  parameters: boolean,
): string | null {
  const what = nameArray(parameter, index, "data");
  checkTensor(parameter.data, what);
  const own = hostDtypeOf(parameter.data, what);
  const bufferType = bufferTypeOf(own, precision.rounding);
  const master = dict.masters.get(id);
  if (master !== undefined && !(isSixteenBit(own) && precision.masterWeights)) {
    return "has no master weight, but there is one in the dict";
  }
  const values = parameters ? dict.parameters.get(id) : undefined;
  if (values !== undefined) assertUnlocked(parameter.data, () => what);
  return difference("momentum buffer", dict.buffers.get(id), parameter, bufferType) ??
    difference("master weight", master, parameter, FLOAT32) ??
    difference("values", values, parameter, own);
}

function difference(
  what: string,
  there: CheckedTensor | undefined,
  here: Parameter<Tensor>,
  { name: expected }: ElementType,
): string | null {
  if (there === undefined) return null;
  const { data, shape } = there;
  const dtype = dtypeOf(data, what).name;
  if (dtype !== expected) {
    const own = hostDtypeOf(here.data, "data").name;
    const whose = own === expected ? "" : `, with a ${what} of ${expected}`;
    return `is ${own}${whose}, but its ${what} in the dict: ${dtype}`;
  }
  const [own, length] = [countOf(here.data), lengthOf(data)];
  if (length !== own) return `has length ${own}, but its ${what} in the dict: ${length}`;
  if (shape === null || here.shape === undefined) return null;
  if (shape.length === here.shape.length && shape.every((side, i) => side === here.shape![i])) {
    return null;
  }
  return `has shape [${here.shape.join(", ")}], but its ${what} in the dict: [${shape.join(", ")}]`;
}

/** Tensors of the dict that belong to none of its own groups. */
function strays(
  { groups, buffers, masters, parameters }: CheckedDict,
  label: Label,
): Problem[] {
  const members = new Set(groups.flatMap(({ params }) => params));
  const indices = new Set([...buffers.keys(), ...masters.keys(), ...parameters.keys()]);
  return [...indices].filter((index) => !members.has(index)).map((index) =>
    problemOf("unexpected", label(null, index), "is in none of the dict's own param_groups")
  );
}

function problemOf(kind: Problem["kind"], name: string, reason: string): Problem {
  return { kind, name, line: `${quote(name)} ${reason}` };
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const lines = new Set(problems.map(({ line }) => `\n- ${line}`));
  throw new RangeError(
    cannot("load the state dict", `it must fit the optimizer:${[...lines].join("")}`),
  );
}

function report(problems: readonly Problem[]): LoadStateDictReport {
  const of = (kind: Problem["kind"]) =>
    problems.filter((problem) => problem.kind === kind).map(({ name }) => name);
  return {
    missing: of("missing"),
    unexpected: of("unexpected"),
    mismatched: of("mismatched"),
    regrouped: of("regrouped"),
  };
}

/**
 * What was saved of a group's initial learning rate, and the base that the scheduler had. Older files
 * have only the latter, in no group the former.
 */
function savedBases(group: CheckedGroup, { groups, scheduler }: CheckedDict) {
  const base = baseLrsOf(scheduler)[groups.indexOf(group)];
  const isOld = groups.every(({ values }) => values.initialLr === undefined);
  return { initialLr: isOld ? base : group.values.initialLr, base };
}

function changeGroup(
  group: ParamGroup<Tensor>,
  values: Hyperparameters,
  { initialLr, base }: ReturnType<typeof savedBases>,
): () => void {
  return () => {
    for (const name of HYPERPARAMETERS) Object.assign(group, { [name]: values[name] });
    restoreInitialLr(group, initialLr, base);
  };
}

function changeMemories(
  { plan }: Owner,
  matches: readonly Match[],
  { buffers, masters }: CheckedDict,
): () => void {
  for (const { index } of matches) plan.bindData(index);
  return plan.stateArrays.prepareCopies(matches.map(({ index, id }) => ({
    row: index,
    momentumBuffer: buffers.get(id)?.data ?? null,
    masterWeight: masters.get(id)?.data ?? null,
  })));
}

/** Writes a parameter's values to the data that its row was bound to: a getter could give others. */
function prepareWrite({ plan: { table } }: Owner, { index, id }: Match, dict: CheckedDict) {
  const data = table.datas[index];
  const values = dict.parameters.get(id)!.data;
  const what = table.name(index, "data");
  return {
    check() {
      deviceOf(data)?.checkWritable?.(data as DeviceTensor);
      const isOfType = hostDtypeOf(data, what) === dtypeOf(values, "values");
      if (isOfType && countOf(data) === lengthOf(values)) return assertUnlocked(data, () => what);
      throw new RangeError(cannot("load the state", `${what} changed meanwhile`));
    },
    write: () => copyFromHost(data, values),
  };
}
