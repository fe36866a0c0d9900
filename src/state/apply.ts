/** Takes an optimizer's state out of it and puts it back. */

import { checkBuffer, isUsable } from "../core/array_checks.ts";
import { countOf, dtypeOf, elementTypeOf } from "../core/dtype.ts";
import type { Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { HYPERPARAMETERS, resolve } from "../core/hyperparameters.ts";
import type { Hyperparameters, ParamGroup } from "../core/hyperparameters.ts";
import { restoreInitialLr, settledInitialLr } from "../core/initial_lr.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { nameArray } from "../core/parameter.ts";
import type { ArrayName, Parameter } from "../core/parameter.ts";
import type { Precision } from "../core/rounding.ts";
import { checkBoolean, checkOptions, checkWord, quote } from "../core/validate.ts";
import { copyFromHost, copyToHost, hostDtypeOf, readable } from "../memory/host_copy.ts";
import { assertUnlocked } from "../memory/locks.ts";
import type { Plan } from "../plan/plan.ts";
import { withFloat32Momentum } from "./convert.ts";
import { checkStateDict, KEYS } from "./dict.ts";
import type {
  CheckedDict,
  CheckedGroup,
  ParameterStateDict,
  ParamGroupStateDict,
  StateDict,
} from "./dict.ts";
import { baseLrsOf } from "./extras.ts";
import { formsOf, misfit } from "./fit.ts";
import type { Forms, LoadMode } from "./fit.ts";
import { readIncoming } from "./incoming.ts";
import type { Incoming } from "./incoming.ts";
import type { Label } from "./labels.ts";
import { match } from "./match.ts";
import type { Match } from "./match.ts";
import type { Problem } from "./misfits.ts";
import { linkGroups } from "./scheduler_links.ts";
import { copyStored } from "./stored_array.ts";
import type { CodeArray } from "./stored_array.ts";
import { STATE_KEYS } from "./tensor_names.ts";

/** The options of `loadStateDict`, all of which are switches. */
const FLAGS: readonly (keyof LoadStateDictOptions)[] = ["strict", "parameters", "convert"];

/** The parts of an optimizer that are its state. */
export interface Owner {
  /** The groups, in order. */
  readonly groups: readonly ParamGroup<Tensor>[];
  /** The names of their parameters, in order; undefined where there is none. */
  readonly names: readonly (string | undefined)[];
  /** What remembers momentum buffers and master weights, by the parameters' order. */
  readonly plan: Pick<Plan, "stateArrays" | "bindData" | "table" | "isRandom">;
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
  /**
   * Whether state of another form is converted to that of the optimizer: momentum of float32 to 8 bits,
   * rounded to the nearest, and back; master weights to corrections, and back. Otherwise it is a mismatch.
   * @default {false}
   */
  convert?: boolean;
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

/** How arrays come into a dict: shared, or as copies. */
interface Taker {
  readonly tensor: (tensor: Tensor) => HostArray;
  readonly codes: <A extends CodeArray>(codes: A) => A;
}

/** A state dict that shares the optimizer's arrays, and has copies of what is not an array as it is. */
export function shareState(owner: Owner, options: StateDictOptions = {}): StateDict {
  checkTaking(options);
  return takeState(owner, options, { tensor: readable, codes: (codes) => codes });
}

/** A state dict of its own: later steps do not change it. */
export function copyState(owner: Owner, options: StateDictOptions = {}): StateDict {
  checkTaking(options);
  return takeState(owner, options, { tensor: copyToHost, codes: copyStored });
}

function checkTaking(options: StateDictOptions): void {
  checkOptions(options, ["parameters", "momentum"]);
  checkFlags(options, ["parameters"]);
  if (options.momentum !== undefined) {
    checkWord("momentum", options.momentum, ["stored", "float32"]);
  }
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
      const entry = takeEntry(plan.stateArrays, parameter, row, take);
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

/** What is remembered of a parameter; null if nothing is. */
function takeEntry(
  own: Owner["plan"]["stateArrays"],
  parameter: Parameter<Tensor>,
  row: number,
  take: Taker,
): ParameterStateDict | null {
  const momentumBuffer = own.bufferAt(row);
  const masterWeight = own.masterAt(row);
  const momentum8 = own.momentum8At(row);
  const correction = own.correctionAt(row);
  if ((momentumBuffer ?? masterWeight ?? momentum8 ?? correction) === null) return null;
  const entry: ParameterStateDict = {};
  if (momentumBuffer !== null) {
    checkState(momentumBuffer, parameter, row, "momentum buffer");
    entry.momentum_buffer = take.tensor(momentumBuffer);
  }
  if (masterWeight !== null) {
    checkState(masterWeight, parameter, row, "master weight");
    entry.master_weight = take.tensor(masterWeight) as Float32Array;
  }
  if (momentum8 !== null) {
    checkCodes(momentum8.values, parameter, row, "momentum8");
    entry.momentum8 = take.codes(momentum8.values);
    entry.momentum_scales = take.codes(momentum8.scales);
  }
  if (correction !== null) {
    checkCodes(correction, parameter, row, "correction");
    entry.correction = take.codes(correction);
  }
  const shape = shapeOf(parameter);
  if (shape !== undefined) entry.shape = [...shape];
  return entry;
}

function checkFlags(options: object, names: readonly string[]): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && names.includes(name)) checkBoolean(name, value);
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
  checkOptions(options, FLAGS);
  checkFlags(options, FLAGS);
  const { strict = true, parameters = false, convert = false } = options;
  const checked = checkStateDict(dict);
  if (strict && parameters && checked.parameters.size === 0) {
    throw new TypeError("Cannot load the parameters as the state dict has none");
  }
  const { pairs, matches, problems, label } = match(owner.groups, owner.names, checked.groups);
  const fitting: Fitting[] = [];
  for (const found of matches) {
    const forms = readForms(owner, found);
    const reason = findMisfit(found, forms, checked, { parameters, convert });
    if (reason === null) fitting.push({ ...found, forms });
    else problems.push(problemOf("mismatched", found.name, reason));
  }
  const isValued = ({ id }: Match) => parameters && checked.parameters.has(id);
  for (const { name } of parameters ? fitting.filter((found) => !isValued(found)) : []) {
    problems.push(problemOf("missing", name, "has no values in the dict"));
  }
  problems.push(...strays(checked, label));
  if (strict) refuse(problems);
  const settings = pairs.map(({ here, there }) =>
    changeGroup(here, resolve(there.values), savedBases(there, checked))
  );
  const arrivals = readArrivals(owner, fitting, checked, isValued); // binds the data of all that fit
  const changes = [
    owner.plan.stateArrays.prepareCopies(arrivals),
    ...settings,
    () => Object.assign(owner.precision.random, checked.rounding),
  ];
  const writes = arrivals.flatMap(({ row, data }) =>
    data === null ? [] : [prepareWrite(owner, row, data)]
  );
  // Nothing from here on runs code of the user's.
  for (const { check } of writes) check();
  for (const { write } of writes) write();
  for (const change of changes) change();
  linkGroups((dict as StateDict).lr_scheduler, owner.groups, pairs, checked.groups);
  return report(problems);
}

/** A parameter whose state the dict has, and how it is kept. */
interface Fitting extends Match {
  readonly forms: Forms;
}

/** What the row of a parameter gets. */
interface Arrival extends Incoming {
  readonly row: number;
}

function readForms({ plan, precision }: Owner, { parameter, index }: Match): Forms {
  const what = nameArray(parameter, index, "data");
  checkTensor(parameter.data, what);
  return formsOf(hostDtypeOf(parameter.data, what), precision, plan.hasMomentum8(index));
}

function findMisfit(
  { parameter, index, id }: Match,
  forms: Forms,
  checked: CheckedDict,
  mode: LoadMode,
): string | null {
  const reason = misfit(parameter, forms, checked, id, mode);
  if (reason === null && mode.parameters && checked.parameters.has(id)) {
    assertUnlocked(parameter.data, () => nameArray(parameter, index, "data"));
  }
  return reason;
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
    ...(group.momentumBits === 8 ? { [KEYS.momentumBits]: 8 } : {}),
    params: group.params.map((_, i) => first + i),
    ...(isNamed ? { param_names: names.map((name) => name ?? null) } : {}),
  };
}

/** Tensors of the dict that belong to none of its own groups. */
function strays(
  { groups, state, parameters }: CheckedDict,
  label: Label,
): Problem[] {
  const members = new Set(groups.flatMap(({ params }) => params));
  const held = [...STATE_KEYS.map((key) => state[key]), parameters];
  const indices = new Set(held.flatMap((tensors) => [...tensors.keys()]));
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
    `Cannot load the state dict as it must fit the optimizer:${[...lines].join("")}`,
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

/** Binds the data of what fits, and reads what it gets from the dict. */
function readArrivals(
  { plan }: Owner,
  fitting: readonly Fitting[],
  checked: CheckedDict,
  isValued: (found: Match) => boolean,
): Arrival[] {
  for (const { index } of fitting) plan.bindData(index);
  return fitting.map((found) => {
    const { index: row, id, forms } = found;
    const data = plan.table.datas[row];
    return { row, ...readIncoming(checked, { forms, id, data, isValued: isValued(found) }) };
  });
}

/** Writes a parameter's values to the data that its row was bound to: a getter could give others. */
function prepareWrite({ plan: { table } }: Owner, row: number, values: HostArray) {
  const data = table.datas[row];
  const what = table.name(row, "data");
  return {
    check() {
      const isOfType = hostDtypeOf(data, what) === dtypeOf(values, "values");
      if (isOfType && countOf(data) === lengthOf(values)) return assertUnlocked(data, () => what);
      throw new RangeError(`Cannot load the state as ${what} changed meanwhile`);
    },
    write: () => copyFromHost(data, values),
  };
}
