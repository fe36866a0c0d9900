/** Steps that all ranks of a world take together. */

import type { Backend } from "../backends/backend.ts";
import { exchangeOf } from "../core/exchange.ts";
import type {
  Exchange,
  ExchangeMode,
  ExchangeTables,
  ExchangeWork,
  Fact,
  LaterWork,
  Plans,
} from "../core/exchange.ts";
import type { HostArray } from "../core/host_array.ts";
import { fillAll } from "../core/intrinsics.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot, checkWord, wrongType } from "../core/validate.ts";
import { BUFFER, ROW } from "../plan/layout.ts";
import { callRangesOf } from "../plan/parts.ts";
import type { Plan } from "../plan/plan.ts";
import type { RankOwner } from "../state/rank_owner.ts";
import { AddedSums } from "./added_sums.ts";
import {
  addedWords,
  gradientFacts,
  joined,
  layoutFacts,
  layoutWords,
  optionFacts,
  stateFacts,
  stepWords,
} from "./agreement.ts";
import { decide, NOTHING_MEASURED, SKIPPED_UNMEASURED, sumsOf } from "./clipping.ts";
import type { StepReport } from "./clipping.ts";
import { findPlaces } from "./places.ts";
import type { Places } from "./places.ts";
import { KnownLengths } from "./known_lengths.ts";
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
  readonly #added: AddedSums;
  readonly #lengths = new KnownLengths();
  /** What the files of the last save have in common, if each rank has one. */
  #save = "";

  constructor(exchange: Exchange, mode: ExchangeMode, precision: Precision, backend: Backend) {
    this.#exchange = exchange;
    this.#mode = mode;
    this.#precision = precision;
    this.#backend = backend;
    this.#added = new AddedSums(exchange, backend, precision);
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
   * Puts the state together on all ranks before parameters come, go or change places, as each rank has
   * other parts of them afterwards, and before a part of it is loaded.
   *
   * @param doing The words after "Cannot".
   * @param order The rows that stay, in their order; without it all do.
   * @throws {WorldError} If a rank does something else.
   */
  prepareChange(plan: Plan, doing: string, order: readonly number[] = []): void {
    if (!this.isSharded || plan.table.count === 0) return;
    const words = this.#withMode(Uint32Array.of(plan.table.count, CHANGES, ...order));
    const text = `is [${order.join(", ")}]`;
    const facts = () => [...layoutFacts(plan), { what: "the new order of parameters", text }];
    this.#exchange.meet("save", { doing, words, facts });
    this.#exchange.collect(plan.rows, plan.table.count, false);
    this.#lengths.forget();
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
   * Whether a gradient of any rank has been found to be infinite or NaN.
   *
   * @param found Whether one of this rank has.
   * @param scale What the loss has been multiplied by.
   * @throws {WorldError} If other ranks do something else, or have another scale.
   */
  isFoundAnywhere(found: boolean, scale: number): boolean {
    const words = this.#withMode(new Uint32Array(Float64Array.of(scale).buffer));
    const facts = () => [this.#modeFact(), { what: "the scale", text: `is ${scale}` }];
    this.#exchange.meet("unscale", { doing: "unscale the gradients", words, facts });
    return this.#exchange.gather(Float64Array.of(Number(found))).some((flag) => flag !== 0);
  }

  /**
   * Takes a step of a plan that has been refreshed and checked.
   *
   * @throws {WorldError} If other ranks are about to do something else. Nothing has been written then.
   */
  step(plan: Plan, request: StepRequest): StepReport {
    const places = this.#check(plan);
    this.#exchange.meet("step", this.#plansOf(plan, request, places, false));
    return this.#stepNow(plan, request, places);
  }

  /**
   * The same on another thread, where the runtime has one, with a header of the ranks before each of
   * its two parts: a rank that fails in between ends the step of all. Steps that are more than an exchange
   * of arrays are taken on this thread, and those of more buffers than a call can keep alive exchange there.
   *
   * @param check Throws if an array has changed. It is called until something is written.
   * @throws {WorldError} As `step`.
   */
  async stepAsync(plan: Plan, request: StepRequest, check: () => void): Promise<StepReport> {
    const exchange = this.#exchange;
    const places = this.#check(plan);
    const plans = this.#plansOf(plan, request, places, true);
    check();
    if (this.#votes || places.inPlace || request.isSkipped || this.#gathersMasters(plan, request)) {
      exchange.meet("step", plans);
      return this.#stepNow(plan, request, places);
    }
    this.#added.put(plan);
    const pins = pinsOf(plan, exchange, this.#added.memory);
    const sums = sumsOf(plan);
    const run = (what: ExchangeWork["what"], plans: Plans) =>
      meetFor(exchange, plans, { what, ...this.#workOf(plan, request, places, sums) }, pins);
    let report = NOTHING_MEASURED;
    if (isMeasured(request)) {
      await run("measure", plans);
      report = decide(sums, request);
      if (!report.skipped) check();
    }
    if (!report.skipped) {
      this.#begin(plan, request, report);
      if (report === NOTHING_MEASURED) await run("step", plans);
      else await run("apply", { ...plans, ...COMPLETION });
      if (request.zeroGrad) zero(plan);
    }
    exchange.countStep();
    return report;
  }

  /** Refuses what a step cannot do, and finds where its arrays are. */
  #check(plan: Plan): Places {
    if (this.#votes) checkSigns("step", plan.groups);
    if (this.isSharded) this.#lengths.check(plan);
    const places = findPlaces(plan, this.#exchange, this.#mode);
    // What is added is seen by this rank only, and so is the sum.
    return plan.addends.arrays.length > 0 ? { ...places, inPlace: false } : places;
  }

  /** What averages gradients; those of ranks that vote are not averaged. */
  #inverseScale({ gradScale }: StepRequest): number {
    return 1 / (gradScale * (this.#votes ? 1 : this.#exchange.size));
  }

  /** Whether an average needs the master weights of all ranks, of which each steps a part. */
  #gathersMasters(plan: Plan, { average }: StepRequest): boolean {
    return this.isSharded && average !== null && plan.table.masterWeights !== false;
  }

  /** Takes a step for which all ranks have met. */
  #stepNow(plan: Plan, request: StepRequest, places: Places): StepReport {
    const exchange = this.#exchange;
    let report = request.isSkipped ? SKIPPED_UNMEASURED : NOTHING_MEASURED;
    if (!request.isSkipped) this.#added.put(plan);
    if (isMeasured(request)) report = decide(this.#measure(plan, request, places), request);
    if (!report.skipped) {
      this.#begin(plan, request, report);
      const tables = this.#tablesOf(plan, places);
      if (this.#votes) exchange.vote(tables);
      else if (report === NOTHING_MEASURED) exchange.step(tables, this.#mode);
      else exchange.apply(tables, this.#mode);
      if (this.#gathersMasters(plan, request)) {
        exchange.collect(withoutMomentum(plan.rows), plan.table.count, false);
      }
      if (request.zeroGrad) zero(plan);
    }
    exchange.countStep();
    return report;
  }

  /** Writes what a step changes before its pass. */
  #begin(plan: Plan, request: StepRequest, { clipCoefficients }: StepReport): void {
    plan.writeCall({ ...request, inverseScale: this.#inverseScale(request) }, clipCoefficients);
    plan.begin();
  }

  #measure(plan: Plan, request: StepRequest, places: Places): Float64Array<ArrayBuffer> {
    const { normType } = request;
    const inverseScale = this.#inverseScale(request);
    if (this.#votes) {
      return measureRanks(this.#exchange, this.#backend, plan, { inverseScale, normType });
    }
    const sums = sumsOf(plan);
    const { tables, measure } = this.#workOf(plan, request, places, sums);
    this.#exchange.measure(tables, measure, sums);
    return sums;
  }

  #workOf(
    plan: Plan,
    request: StepRequest,
    places: Places,
    sums: Float64Array<ArrayBuffer>,
  ): Omit<ExchangeWork, "what"> {
    const measure = { scale: this.#inverseScale(request), normType: request.normType };
    return { tables: this.#tablesOf(plan, places), measure, sums, mode: this.#mode };
  }

  #tablesOf(plan: Plan, { inPlace }: Places): ExchangeTables {
    return {
      ...{ inPlace, rows: this.#added.rowsOf(plan), count: plan.table.count, call: plan.callRow },
      ...{ groupRows: plan.groupRows, groupCount: plan.groups.length },
    };
  }

  #plansOf(plan: Plan, request: StepRequest, places: Places, isAsync: boolean): Plans {
    const how = { of: "calls", what: "the step", text: isAsync ? "is a stepAsync" : "is a step" };
    const gathers = this.#gathersMasters(plan, request);
    const numbers = joined(stepWords(plan, request, this.#precision), places.words);
    const flags = Uint32Array.of(Number(isAsync), Number(gathers));
    const words = this.#withMode(joined(flags, joined(numbers, addedWords(plan))));
    const facts = () => [
      this.#modeFact(),
      how,
      ...layoutFacts(plan),
      ...gradientFacts(plan),
      ...places.facts(),
      ...optionFacts(plan, request, this.#precision),
      { of: "options", what: "average", text: gathers ? "is given" : "is not given" },
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

/** What the state is put together for: to be read or saved, 0 or 1, or for other parameters. */
const CHANGES = 2;

/** What ranks are about to do with gradients that have been measured. */
const COMPLETION = { doing: "complete the step", words: Uint32Array.of(1), facts: () => [] };

/**
 * Meets the other ranks, and does what all have met for: on another thread if there are pins for it. Ranks
 * need not do it alike.
 */
async function meetFor(
  exchange: Exchange,
  plans: Plans,
  work: ExchangeWork,
  pins: LaterWork["pins"] | null,
): Promise<void> {
  if (pins !== null) return await exchange.later(plans, { ...work, pins });
  exchange.meet("step", plans);
  const { what, tables, measure, sums, mode } = work;
  if (what === "measure") exchange.measure(tables, measure, sums);
  else exchange[what](tables, mode);
}

/**
 * Arrays on all buffers of a plan, and on the memory of sums; null if there are more than one call can keep
 * alive.
 */
function pinsOf(
  plan: Plan,
  exchange: Exchange,
  sums: ArrayBufferView | null,
): LaterWork["pins"] | null {
  const own = sums === null ? [] : [sums];
  const most = (wanted: number) => exchange.maxPins(wanted + own.length) - own.length;
  const ranges = callRangesOf(plan, 0, plan.table.count, most);
  return ranges.length === 1 ? [...ranges[0].pins, ...own] : null;
}

/** Rows that name no momentum, as that is each rank's own. */
function withoutMomentum(rows: Plan["rows"]): BigUint64Array<ArrayBuffer> {
  const copy = rows.slice();
  for (let at = BUFFER; at < copy.length; at += ROW) copy[at] = 0n;
  return copy;
}

/** Zeroes the gradients of a step that has been taken; those that it added are zeroed elsewhere. */
function zero({ table }: Plan): void {
  for (const grad of table.grads) if (grad !== null) fillAll(grad as HostArray, 0);
}
