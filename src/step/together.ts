/** Steps that all ranks of a world take together: what has to be equal on all, and the step itself. */

import type { Backend } from "../backends/backend.ts";
import { exchangeOf } from "../core/exchange.ts";
import type { Exchange, ExchangeMode, ExchangeTables, Fact } from "../core/exchange.ts";
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
import type { Plan } from "../plan/plan.ts";
import type { RankOwner } from "../state/rank_owner.ts";
import { decide, NOTHING_MEASURED } from "./clipping.ts";
import type { StepReport } from "./clipping.ts";
import { findPlaces } from "./places.ts";
import type { Places } from "./places.ts";
import { isMeasured, NEUTRAL_REQUEST } from "./options.ts";
import type { StepRequest } from "./options.ts";
import { checkSigns, drawSave, measureRanks } from "./votes.ts";

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
    this.#exchange.meet("save", { doing: "save the state", words, facts });
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
    const exchange = this.#exchange;
    if (this.isSharded && request.average !== null && plan.table.masterWeights !== false) {
      const reason = 'average needs exchange "gradients" where there are master weights';
      throw new TypeError(cannot("step in a world", reason));
    }
    if (this.#votes) checkSigns("step", plan.groups);
    const places = findPlaces(plan, exchange, this.#mode);
    this.#meet(plan, request, places);
    const tables: ExchangeTables = {
      inPlace: places.inPlace,
      ...{ rows: plan.rows, count: plan.table.count, call: plan.callRow },
      ...{ groupRows: plan.groupRows, groupCount: plan.groups.length },
    };
    const inverseScale = 1 / (request.gradScale * (this.#votes ? 1 : exchange.size));
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
    const sums = new Float64Array(2 * plan.groups.length);
    this.#exchange.measure(tables, inverseScale, sums);
    return sums;
  }

  #meet(plan: Plan, request: StepRequest, places: Places): void {
    const own = joined(stepWords(plan, request, this.#precision), places.words);
    const words = this.#withMode(own);
    const facts = () => [
      this.#modeFact(),
      ...layoutFacts(plan),
      ...gradientFacts(plan),
      ...places.facts(),
      ...optionFacts(plan, request, this.#precision),
    ];
    this.#exchange.meet("step", { doing: "step", words, facts });
  }

  /** Numbers of which the first one says what is exchanged. */
  #withMode(words: Uint32Array): Uint32Array {
    return Uint32Array.of(EXCHANGES.indexOf(this.#mode), ...words);
  }

  #modeFact(): Fact {
    return { what: "exchange", text: `is "${this.#mode}"` };
  }
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
  const words = new Uint32Array(3 * table.count);
  for (let row = 0; row < table.count; row++) {
    words[3 * row] = codeIn(halves, row);
    words[3 * row + 1] = groupOf(halves, row);
    words[3 * row + 2] = lengthWord(plan, row);
  }
  return words;
}

function layoutFacts({ table, halves }: Plan): Fact[] {
  const facts: Fact[] = [{ what: "the optimizer", text: `has ${table.count} parameters` }];
  for (let row = 0; row < table.count; row++) {
    const { dtype } = table.typesAt(row);
    const text = `has ${table.lengthAt(row)} elements of ${dtype.name} in group ` +
      groupOf(halves, row);
    facts.push({ what: table.name(row, "data"), text });
  }
  return facts;
}

function gradientFacts({ table, halves }: Plan): Fact[] {
  return Array.from({ length: table.count }, (_, row) => {
    const state = stateOf(halves, row);
    const text = state === SKIP ? "is null" : "is an array";
    return { what: table.name(row, "grad"), text };
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
    Object.entries(readGroup(plan.groupRows, group)).map(([name, value]) => ({
      what: `${name} of group ${group}`,
      text: `is ${value}`,
    }))
  );
  const { gradScale, maxNorm, perGroup, maxValue, checkFinite, zeroGrad } = request;
  const options = { gradScale, maxNorm, maxNormPer: perGroup ? "group" : "optimizer", maxValue };
  const rest = {
    checkFinite,
    zeroGrad,
    seed: random.seed,
    "the count of random steps": random.counter,
  };
  return [
    ...groups,
    ...Object.entries({ ...options, ...rest }).map(([what, value]) => ({
      what,
      text: `is ${value}`,
    })),
  ];
}
