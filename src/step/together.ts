/** Steps that all ranks of a world take together: what has to be equal on all, and the step itself. */

import type { Backend } from "../backends/backend.ts";
import { exchangeOf } from "../core/exchange.ts";
import type {
  Exchange,
  ExchangeMode,
  ExchangeTables,
  Fact,
  LaterWork,
  Plans,
} from "../core/exchange.ts";
import type { HostArray } from "../core/host_array.ts";
import { fillAll } from "../core/intrinsics.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot, checkWord, wrongType } from "../core/validate.ts";
import {
  BUFFER,
  codeIn,
  groupOf,
  KIND,
  MASTER,
  readGroup,
  readWord,
  ROW,
  SKIP,
  stateOf,
} from "../plan/layout.ts";
import { callRangesOf } from "../plan/parts.ts";
import type { Plan } from "../plan/plan.ts";
import type { RankOwner } from "../state/rank_owner.ts";
import { decide, NOTHING_MEASURED, sumsOf } from "./clipping.ts";
import type { StepReport } from "./clipping.ts";
import { findPlaces } from "./places.ts";
import type { Places } from "./places.ts";
import { isMeasured, NEUTRAL_REQUEST } from "./options.ts";
import type { StepRequest } from "./options.ts";
import { checkSigns, drawSave, measureRanks } from "./votes.ts";

/** What ranks can exchange; the numbers are among the words that have to be equal. */
const EXCHANGES: readonly ExchangeMode[] = ["gradients", "shards", "signs"];

/**
 * The steps of an optimizer in a world; null without one, and in one of a single rank.
 *
 * @throws {TypeError} If it is not a world, the exchange does not exist or comes without a world, or the
 * backend is not native.
 */
export function createTogether(
  world: unknown,
  exchange: unknown,
  backend: Backend,
  precision: Precision,
): Together | null {
  if (exchange !== undefined) {
    checkWord("exchange", exchange, EXCHANGES);
    if (world === undefined) throw wrongType("set exchange", "it needs a world", exchange);
  }
  const found = exchangeOf(world);
  if (found === null) return null;
  if (backend.name !== "cpu") {
    const found = `the backend is "${backend.name}"`;
    throw new TypeError(cannot("set world", 'it needs backend "cpu"', found));
  }
  return new Together(found, (exchange ?? "gradients") as ExchangeMode, precision, backend);
}

/** The steps of one optimizer in a world. */
export class Together {
  readonly #exchange: Exchange;
  readonly #mode: ExchangeMode;
  readonly #precision: Precision;
  readonly #backend: Backend;
  /** What the files of the last save have in common, if each rank has one. */
  #save = "";

  constructor(exchange: Exchange, mode: ExchangeMode, precision: Precision, backend: Backend) {
    this.#exchange = exchange;
    this.#mode = mode;
    this.#precision = precision;
    this.#backend = backend;
  }

  /** How many ranks there are. */
  get size(): number {
    return this.#exchange.size;
  }

  /**
   * Gives rank 0's values of parameters to all ranks.
   *
   * @param first The row of the first one.
   * @throws {WorldError} If the parameters of the ranks differ in number, length, type or name.
   */
  share(plan: Plan, first: number): void {
    const facts = () => [this.#modeFact(), ...layoutFacts(plan)];
    const words = this.#withMode(layoutWords(plan));
    this.#exchange.meet("construct", { doing: "add parameters", words, facts });
    const { rows, table } = plan;
    this.#exchange.share(rows.subarray(first * ROW), table.count - first, false);
  }

  /**
   * Gives rank 0's values of parameters and their state to all ranks, after all of them have loaded a
   * state dict. With votes each rank keeps the momentum that it has loaded.
   *
   * @throws {WorldError} If hyperparameters, or which state parameters have, differ between the ranks.
   */
  shareState(plan: Plan): void {
    plan.refresh();
    const { rows, table } = plan;
    const words = this.#withMode(stepWords(plan, NEUTRAL_REQUEST, this.#precision));
    const facts = () => [
      this.#modeFact(),
      ...layoutFacts(plan),
      ...stateFacts(plan),
      ...optionFacts(plan, NEUTRAL_REQUEST, this.#precision),
    ];
    this.#exchange.meet("load", { doing: "load the state", words, facts });
    this.#exchange.share(this.#votes ? withoutMomentum(rows) : rows, table.count, true);
  }

  /** Whether each rank has a part of the state only. */
  get isSharded(): boolean {
    return this.#mode === "shards";
  }

  /** Whether each rank has other state than the others. */
  get hasOwnState(): boolean {
    return this.#mode !== "gradients";
  }

  /** Whether ranks vote: each has a momentum of its own. */
  get #votes(): boolean {
    return this.#mode === "signs";
  }

  /** Which rank's momentum this optimizer has, and its last save; null if it is that of all ranks. */
  get owner(): RankOwner | null {
    const { rank, size } = this.#exchange;
    return this.#votes ? { rank, size, save: this.#save } : null;
  }

  /**
   * Puts the state together, of which each rank has a part.
   *
   * @param firstOnly Whether rank 0 alone gets it.
   * @returns Whether this rank has it.
   * @throws {WorldError} If a rank does something else.
   */
  collect(plan: Plan, firstOnly: boolean): boolean {
    if (!this.isSharded && !(this.#votes && firstOnly)) return true;
    const words = this.#withMode(Uint32Array.of(plan.table.count, Number(firstOnly)));
    const text = firstOnly ? "is saved" : "is read";
    const facts = () => [...layoutFacts(plan), { what: "the state", text }];
    this.#exchange.meet("save", { doing: "save", words, facts });
    if (this.#votes) { // each rank has its own
      this.#save = drawSave(this.#exchange);
      return true;
    }
    this.#exchange.collect(plan.rows, plan.table.count, firstOnly);
    return !firstOnly || this.#exchange.rank === 0;
  }

  /**
   * Refuses to show a part of the state as if it were the whole.
   *
   * @throws {TypeError} If that is all that this rank has.
   */
  checkWhole(): void {
    if (!this.isSharded) return;
    const reason = 'with exchange "shards" each rank has a part of it';
    throw new TypeError(cannot("read the state", reason, "use stateDict on all ranks"));
  }

  /**
   * Takes a step of a plan that has been refreshed and checked.
   *
   * @throws {WorldError} If other ranks are about to do something else. Nothing has been written then.
   */
  step(plan: Plan, request: StepRequest): StepReport {
    const places = this.#check(plan, request);
    this.#exchange.meet("step", this.#plansOf(plan, request, places, false));
    return this.#stepNow(plan, request, places);
  }

  /**
   * The same on another thread, where the runtime has one, with a header of the ranks before each of
   * its two parts: a rank that fails in between ends the step of all. Votes, and steps of arrays that
   * all ranks see, are taken on this thread.
   *
   * @param check Throws if an array has changed. It is called until something is written.
   * @throws {WorldError} As `step`.
   */
  async stepAsync(plan: Plan, request: StepRequest, check: () => void): Promise<StepReport> {
    const exchange = this.#exchange;
    const places = this.#check(plan, request);
    const plans = this.#plansOf(plan, request, places, true);
    check();
    if (this.#votes || places.inPlace) {
      exchange.meet("step", plans);
      return this.#stepNow(plan, request, places);
    }
    const inverseScale = this.#inverseScale(request);
    const sums = sumsOf(plan);
    const work = {
      ...{ tables: tablesOf(plan, places), scale: inverseScale, sums, shards: this.isSharded },
      pins: pinsOf(plan, exchange),
    };
    let report = NOTHING_MEASURED;
    if (isMeasured(request)) {
      await exchange.later(plans, { ...work, what: "measure" });
      report = decide(sums, request);
      if (!report.skipped) check();
    }
    if (!report.skipped) {
      plan.writeCall({ ...request, inverseScale }, report.clipCoefficients);
      plan.begin();
      if (report === NOTHING_MEASURED) await exchange.later(plans, { ...work, what: "step" });
      else await exchange.later({ ...plans, ...COMPLETION }, { ...work, what: "apply" });
      if (request.zeroGrad) zero(plan);
    }
    exchange.countStep();
    return report;
  }

  /** Refuses what a step cannot do, and finds where its arrays are. */
  #check(plan: Plan, request: StepRequest): Places {
    if (this.isSharded && request.average !== null && plan.table.masterWeights !== false) {
      const reason = 'average needs exchange "gradients" where there are master weights';
      throw new TypeError(cannot("step in a world", reason));
    }
    if (this.#votes) checkSigns("step", plan.groups);
    return findPlaces(plan, this.#exchange, this.#mode);
  }

  /** What averages gradients; those of ranks that vote are not averaged. */
  #inverseScale({ gradScale }: StepRequest): number {
    return 1 / (gradScale * (this.#votes ? 1 : this.#exchange.size));
  }

  /** Takes a step for which all ranks have met. */
  #stepNow(plan: Plan, request: StepRequest, places: Places): StepReport {
    const exchange = this.#exchange;
    const tables = tablesOf(plan, places);
    const inverseScale = this.#inverseScale(request);
    let report = NOTHING_MEASURED;
    if (isMeasured(request)) {
      report = decide(this.#measure(plan, tables, inverseScale), request);
    }
    if (!report.skipped) {
      plan.writeCall({ ...request, inverseScale }, report.clipCoefficients);
      plan.begin();
      if (this.#votes) exchange.vote(tables);
      else if (report === NOTHING_MEASURED) exchange.step(tables, this.#mode);
      else exchange.apply(tables, this.#mode);
      if (request.zeroGrad) zero(plan);
    }
    exchange.countStep();
    return report;
  }

  #measure(plan: Plan, tables: ExchangeTables, inverseScale: number): Float64Array<ArrayBuffer> {
    if (this.#votes) return measureRanks(this.#exchange, this.#backend, plan, inverseScale);
    const sums = sumsOf(plan);
    this.#exchange.measure(tables, inverseScale, sums);
    return sums;
  }

  #plansOf(plan: Plan, request: StepRequest, places: Places, isAsync: boolean): Plans {
    const how = { of: "calls", what: "the step", text: isAsync ? "is a stepAsync" : "is a step" };
    const numbers = joined(stepWords(plan, request, this.#precision), places.words);
    const words = this.#withMode(joined(Uint32Array.of(Number(isAsync)), numbers));
    const facts = () => [
      this.#modeFact(),
      how,
      ...layoutFacts(plan),
      ...gradientFacts(plan),
      ...places.facts(),
      ...optionFacts(plan, request, this.#precision),
    ];
    return { doing: "step", words, facts };
  }

  /** Numbers of which the first one says what is exchanged. */
  #withMode(words: Uint32Array): Uint32Array {
    return joined(Uint32Array.of(EXCHANGES.indexOf(this.#mode)), words);
  }

  #modeFact(): Fact {
    return { what: "exchange", text: `is "${this.#mode}"` };
  }
}

/** What ranks are about to do with gradients that have been measured. */
const COMPLETION = { doing: "complete the step", words: Uint32Array.of(1), facts: () => [] };

function tablesOf(plan: Plan, { inPlace }: Places): ExchangeTables {
  return {
    ...{ inPlace, rows: plan.rows, count: plan.table.count, call: plan.callRow },
    ...{ groupRows: plan.groupRows, groupCount: plan.groups.length },
  };
}

/**
 * Arrays on all buffers of a plan.
 *
 * @throws {RangeError} If there are more than one call can keep alive.
 */
function pinsOf(plan: Plan, exchange: Exchange): LaterWork["pins"] {
  const ranges = callRangesOf(plan, 0, plan.table.count, exchange.maxPins);
  if (ranges.length === 1) return ranges[0].pins;
  const reason = "there are more buffers than a call can keep alive";
  throw new RangeError(cannot("step with stepAsync in a world", reason, "use step"));
}

/** Rows that name no momentum, as that is each rank's own. */
function withoutMomentum(rows: Plan["rows"]): BigUint64Array<ArrayBuffer> {
  const copy = rows.slice();
  for (let at = BUFFER; at < copy.length; at += ROW) copy[at] = 0n;
  return copy;
}

function zero({ table }: Plan): void {
  for (const grad of table.grads) if (grad !== null) fillAll(grad as HostArray, 0);
}

/** Numbers of what a step relies on: rows, gradients, hyperparameters, options and random bits. */
function stepWords(plan: Plan, request: StepRequest, { random }: Precision): Uint32Array {
  const { halves, groupRows, table: { count } } = plan;
  const numbers = new Float64Array([
    ...[request.gradScale, request.maxNorm ?? -1, Number(request.perGroup), request.maxValue],
    ...[Number(request.checkFinite), Number(request.zeroGrad), random.seed, random.counter],
  ]);
  const words = new Uint32Array(count * 4 + 2 * groupRows.length + 2 * numbers.length);
  for (let row = 0; row < count; row++) {
    const at = row * ROW;
    words[4 * row] = halves[2 * (at + KIND)];
    words[4 * row + 1] = halves[2 * (at + KIND) + 1];
    words[4 * row + 2] = lengthWord(plan, row);
  }
  words.set(
    new Uint32Array(groupRows.buffer, groupRows.byteOffset, 2 * groupRows.length),
    count * 4,
  );
  words.set(new Uint32Array(numbers.buffer), count * 4 + 2 * groupRows.length);
  return words;
}

function joined(first: Uint32Array, second: Uint32Array): Uint32Array {
  if (second.length === 0) return first;
  const all = new Uint32Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

/** The lower half of a length. */
function lengthWord({ table }: Plan, row: number): number {
  return table.lengthAt(row) % 2 ** 32;
}

function layoutWords(plan: Plan): Uint32Array {
  const { table, halves } = plan;
  const words: number[] = [];
  for (let row = 0; row < table.count; row++) {
    words.push(codeIn(halves, row), groupOf(halves, row), lengthWord(plan, row));
    for (const letter of [...table.name(row, "data"), "\0"]) words.push(letter.codePointAt(0)!);
  }
  return Uint32Array.from(words);
}

function layoutFacts({ table, halves }: Plan): Fact[] {
  const of = "parameters";
  const facts: Fact[] = [{ of, what: "the optimizer", text: `has ${table.count} parameters` }];
  for (let row = 0; row < table.count; row++) {
    const { dtype } = table.typesAt(row);
    const what = nameOf(table.name(row, "data"));
    facts.push(
      { of, what: `parameter ${row}`, text: `is called ${what}` },
      { of, what, text: `has ${table.lengthAt(row)} elements` },
      { of, what: `the type of ${what}`, text: `is ${dtype.name}` },
      { of, what: `the group of ${what}`, text: `is ${groupOf(halves, row)}` },
    );
  }
  return facts;
}

/** `parameter 3 ("w")`, of `data of parameter 3 ("w")`. */
function nameOf(data: string): string {
  return data.slice(data.indexOf(" of ") + 4);
}

function gradientFacts({ table, halves }: Plan): Fact[] {
  return Array.from({ length: table.count }, (_, row) => {
    const text = stateOf(halves, row) === SKIP ? "is null" : "is an array";
    const remedy = "use zeros where there is no gradient";
    return { of: "gradients", what: table.name(row, "grad"), text, remedy };
  });
}

function stateFacts({ table, halves }: Plan): Fact[] {
  const hasAt = (row: number, word: number) => readWord(halves, row * ROW + word) !== 0;
  return Array.from({ length: table.count }, (_, row) => [
    {
      what: table.name(row, table.momentumName(row)),
      text: hasAt(row, BUFFER) ? "is there" : "is null",
    },
    { what: table.name(row, table.masterName), text: hasAt(row, MASTER) ? "is there" : "is null" },
  ]).flat();
}

function optionFacts(plan: Plan, request: StepRequest, { random }: Precision): Fact[] {
  const groups = plan.groups.flatMap((_, group) =>
    Object.entries(readGroup(plan.groupRows, group)).map((entry) => ({
      of: "hyperparameters",
      what: `${entry[0]} of group ${group}`,
      text: `is ${entry[1]}`,
    }))
  );
  const { gradScale, maxNorm, perGroup, maxValue, checkFinite, zeroGrad } = request;
  const options = {
    ...{ gradScale, maxNorm, maxNormPer: perGroup ? "group" : "optimizer", maxValue },
    ...{ checkFinite, zeroGrad, seed: random.seed, "the count of random steps": random.counter },
  };
  const rest = Object.entries(options).map(([what, value]) => {
    return { of: "options", what, text: `is ${value}` };
  });
  return [...groups, ...rest];
}
