/** Puts a state dict into an optimizer. */

import { countOf, deviceOf, dtypeOf } from "../core/dtype.ts";
import type { DeviceTensor, Tensor } from "../core/dtype.ts";
import type { HostArray } from "../core/host_array.ts";
import { checkRecordable, HYPERPARAMETERS, resolve } from "../core/hyperparameters.ts";
import type { Hyperparameters, ParamGroup } from "../core/hyperparameters.ts";
import type { RandomState } from "../core/rounding.ts";
import { restoreInitialLr } from "../core/initial_lr.ts";
import { lengthOf } from "../core/intrinsics.ts";
import { nameArray } from "../core/parameter.ts";
import { cannot, checkBoolean, checkOptions, quote } from "../core/validate.ts";
import { copyFromHost, hostDtypeOf } from "../memory/host_copy.ts";
import { assertUnlocked } from "../memory/locks.ts";
import type { Group } from "../plan/group_table.ts";
import { prepareCopies } from "../plan/loading.ts";
import { checkStateDict } from "./dict.ts";
import type { CheckedDict, CheckedGroup, StateDict } from "./dict.ts";
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
import { checkTensor } from "./take.ts";
import type { Owner } from "./take.ts";
import { STATE_KEYS } from "./tensor_names.ts";

/** The options of `loadStateDict`, all of which are switches. */
const FLAGS: readonly (keyof LoadStateDictOptions)[] = ["strict", "parameters", "convert"];

/** What to do about a dict without values. */
const NO_VALUES = "parameters: true of saveState or stateDict puts them there";

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

/** A state dict that has been checked against an optimizer, which has not changed yet. */
export interface PreparedLoad<Report> {
  /** Which state rows will have, of those that get some. */
  readonly rows: readonly {
    readonly row: number;
    readonly hasMomentum: boolean;
    readonly hasMaster: boolean;
  }[];
  /** The hyperparameters that all groups will have. */
  readonly groups: readonly Group[];
  /** What random bits will depend on. */
  readonly random: RandomState;
  /** Changes the optimizer. */
  load(): Report;
}

/**
 * Checks a state dict, and copies what is in it. Nothing changes before `load` is called.
 *
 * @throws {TypeError} If the dict is not valid.
 * @throws {RangeError} If it does not fit, and `strict` is not false.
 */
export function prepareStateDict(
  owner: Owner,
  dict: unknown,
  options: LoadStateDictOptions = {},
): PreparedLoad<LoadStateDictReport> {
  checkOptions(options, FLAGS);
  for (const name of FLAGS) {
    if (options[name] !== undefined) checkBoolean(name, options[name]);
  }
  const { strict = true, parameters = false, convert = false } = options;
  const checked = checkStateDict(dict);
  if (strict && parameters && checked.parameters.size === 0) {
    throw new TypeError(cannot("load the parameters", "the state dict has none", NO_VALUES));
  }
  const mode = { parameters, convert };
  const { pairs, fitting, problems, isValued } = compareStates(owner, checked, mode);
  if (strict) refuse(problems);
  const settings = pairs.map(({ here, there }) => ({
    ...{ here, values: resolve(there.values), bases: savedBases(there, checked) },
  }));
  const arrivals = readArrivals(owner, fitting, checked, isValued); // binds the data of all that fit
  const changes = [
    prepareCopies(owner.plan, arrivals),
    ...settings.map(({ here, values, bases }) => changeGroup(here, values, bases)),
    () => Object.assign(owner.precision.random, checked.rounding),
  ];
  const writes = arrivals.flatMap(({ row, data }) =>
    data === null ? [] : [prepareWrite(owner, row, data)]
  );
  // Nothing from here on runs code of the user's.
  for (const { check } of writes) check();
  return {
    rows: arrivals.map(stateOfArrival),
    groups: groupsWith(owner, settings),
    random: { ...owner.precision.random, ...checked.rounding },
    load() {
      for (const { write } of writes) write();
      for (const change of changes) change();
      linkGroups((dict as StateDict).lr_scheduler, owner.groups, pairs, checked.groups);
      return report(problems);
    },
  };
}

function stateOfArrival({ row, momentumBuffer, momentum8, masterWeight, correction }: Arrival) {
  const hasMomentum = (momentumBuffer ?? momentum8) !== null;
  return { row, hasMomentum, hasMaster: (masterWeight ?? correction) !== null };
}

/** The groups, with the hyperparameters that some of them get. */
function groupsWith(
  { groups }: Owner,
  settings: readonly { readonly here: ParamGroup<Tensor>; readonly values: Hyperparameters }[],
): Group[] {
  const values = new Map(settings.map(({ here, values }) => [here, values]));
  return groups.map((group) => ({
    ...(values.get(group) ?? group),
    momentumBits: group.momentumBits,
  }));
}

/** Compares an optimizer and a dict: what fits, and what the problems are. */
function compareStates(owner: Owner, checked: CheckedDict, mode: LoadMode) {
  const { pairs, matches, problems, label } = match(owner.groups, owner.names, checked.groups);
  const fitting: Fitting[] = [];
  for (const found of matches) {
    const forms = readForms(owner, found);
    const reason = findMisfit(found, forms, checked, mode);
    if (reason === null) fitting.push({ ...found, forms });
    else problems.push(problemOf("mismatched", found.name, reason));
  }
  const isValued = ({ id }: Match) => mode.parameters && checked.parameters.has(id);
  for (const { name } of mode.parameters ? fitting.filter((found) => !isValued(found)) : []) {
    problems.push(problemOf("missing", name, "has no values in the dict"));
  }
  problems.push(...strays(checked, label));
  return { pairs, fitting, problems, isValued };
}

/** A parameter whose state the dict has, and how it is kept. */
interface Fitting extends Match {
  readonly forms: Forms;
}

/** What the row of a parameter gets. */
interface Arrival extends Incoming {
  readonly row: number;
}

function readForms({ groups, plan, precision }: Owner, { parameter, index }: Match): Forms {
  const what = nameArray(parameter, index, "data");
  const { data } = parameter;
  checkTensor(data, what);
  const { momentumBits } = groups[plan.table.groupAt(index)];
  return formsOf({
    dtype: hostDtypeOf(data, what),
    length: countOf(data),
    momentumBits,
    precision,
  });
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
  checkRecordable({ ...values, momentumBits: group.momentumBits });
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
      deviceOf(data)?.checkWritable?.(data as DeviceTensor);
      const isOfType = hostDtypeOf(data, what) === dtypeOf(values, "values");
      if (isOfType && countOf(data) === lengthOf(values)) return assertUnlocked(data, () => what);
      throw new RangeError(cannot("load the state", `${what} changed meanwhile`));
    },
    write: () => copyFromHost(data, values),
  };
}
