/** Steps that all ranks of a world take together. */

import type { Backend } from "../backends/backend.ts";
import type {
  Exchange,
  ExchangeMode,
  ExchangeTables,
  ExchangeWork,
  Plans,
  Turn,
} from "../core/exchange.ts";
import type { HostArray } from "../core/host_array.ts";
import { fillAll } from "../core/intrinsics.ts";
import type { Precision } from "../core/rounding.ts";
import type { Plan } from "../plan/plan.ts";
import { AddedSums } from "./added_sums.ts";
import { Agreement, topicOf } from "./agreement.ts";
import { decide, NOTHING_MEASURED, SKIPPED_UNMEASURED, sumsOf } from "./clipping.ts";
import type { StepReport } from "./clipping.ts";
import { findPlaces } from "./places.ts";
import type { Places } from "./places.ts";
import { isMeasured } from "./options.ts";
import type { StepRequest } from "./options.ts";
import { meetFor, pinsOf } from "./meet_for.ts";
import { RankState } from "./rank_state.ts";
import { requestTopic } from "./request_topic.ts";
import { checkSigns, measureRanks } from "./votes.ts";

/** The steps of one optimizer in a world. */
export class Together {
  /** What ranks give to each other besides steps. */
  readonly state: RankState;
  readonly #exchange: Exchange;
  readonly #mode: ExchangeMode;
  readonly #agreement: Agreement;
  readonly #backend: Backend;
  readonly #added: AddedSums;

  constructor(exchange: Exchange, mode: ExchangeMode, precision: Precision, backend: Backend) {
    this.#exchange = exchange;
    this.#mode = mode;
    this.#agreement = new Agreement(exchange, mode, precision);
    this.#backend = backend;
    this.#added = new AddedSums(exchange, backend, precision);
    this.state = new RankState(exchange, mode, this.#agreement);
  }

  /**
   * Whether a gradient of any rank has been found to be infinite or NaN.
   *
   * @param plan That of the optimizer.
   * @param found Whether one of this rank has.
   * @param scale What the loss has been multiplied by.
   * @throws {WorldError} If other ranks do something else, or have another scale.
   */
  isFoundAnywhere(plan: Plan, found: boolean, scale: number): boolean {
    const topic = topicOf(scale, { what: "the scale", text: `is ${scale}` });
    this.#exchange.meet(
      "unscale",
      this.#agreement.plans("unscale the gradients", plan, [topic]),
    );
    return this.#exchange.gather(Float64Array.of(Number(found))).some((flag) => flag !== 0);
  }

  /**
   * Takes a step of a plan that has been refreshed and checked.
   *
   * @throws {WorldError} If other ranks are about to do something else. Nothing has been written then.
   */
  step(plan: Plan, request: StepRequest): StepReport {
    const places = this.#check(plan);
    return this.#stepHere(plan, request, {
      places,
      plans: this.#plansOf(plan, request, places, false),
    });
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
    if (
      this.state.votes || places.inPlace || request.isSkipped || plan.writesBefore ||
      this.#gathersMasters(plan, request)
    ) {
      return this.#stepHere(plan, request, { places, plans });
    }
    this.#added.put(plan);
    const turn = exchange.hold("step");
    try {
      return await this.#exchangeLater(plan, request, { places, plans: { ...plans, turn }, check });
    } finally {
      exchange.release(turn);
    }
  }

  async #exchangeLater(
    plan: Plan,
    request: StepRequest,
    { places, plans, check }: { places: Places; plans: Plans; check: () => void },
  ): Promise<StepReport> {
    const exchange = this.#exchange;
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
      else await run("apply", this.#completion(plan, plans.turn));
      if (request.zeroGrad) zero(plan);
    }
    exchange.countStep();
    return report;
  }

  /** What ranks are about to do with gradients that have been measured. */
  #completion(plan: Plan, turn?: Turn): Plans {
    const situation = { groups: "table", source: "step" } as const;
    return { ...this.#agreement.plans("complete the step", plan, [], situation), turn };
  }

  /** Refuses what a step cannot do, and finds where its arrays are. */
  #check(plan: Plan): Places {
    if (this.state.votes) checkSigns("step", plan.groups);
    this.state.prepareStep(plan);
    const places = findPlaces(plan, this.#exchange, this.#mode);
    // What is added is seen by this rank only, and so is the sum.
    return plan.addends.arrays.length > 0 ? { ...places, inPlace: false } : places;
  }

  /** What averages gradients; those of ranks that vote are not averaged. */
  #inverseScale({ gradScale }: StepRequest): number {
    return 1 / (gradScale * (this.state.votes ? 1 : this.#exchange.size));
  }

  /** Whether an average needs the master weights of all ranks, of which each steps a part. */
  #gathersMasters(plan: Plan, { average }: StepRequest): boolean {
    return this.state.isSharded && average !== null && plan.table.masterWeights !== false;
  }

  /** Meets the others, and takes the step on this thread. What one rank alone can fail at comes first. */
  #stepHere(
    plan: Plan,
    request: StepRequest,
    { places, plans }: { places: Places; plans: Plans },
  ): StepReport {
    const exchange = this.#exchange;
    if (!request.isSkipped) this.#added.put(plan);
    exchange.meet("step", plans);
    let report = request.isSkipped ? SKIPPED_UNMEASURED : NOTHING_MEASURED;
    if (isMeasured(request)) report = decide(this.#measure(plan, request, places), request);
    if (!report.skipped) {
      this.#begin(plan, request, report);
      const tables = this.#tablesOf(plan, places);
      if (this.state.votes) exchange.vote(tables);
      else if (report === NOTHING_MEASURED) exchange.step(tables, this.#mode);
      else exchange.apply(tables, this.#mode);
      if (this.#gathersMasters(plan, request)) {
        this.state.gatherMasters(plan);
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
    if (this.state.votes) {
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
    const agreement = this.#agreement;
    const { inPlace } = places;
    const text = inPlace ? "adds up shared arrays" : "sends its gradients";
    const more = [
      requestTopic(request, { isAsync, gathers: this.#gathersMasters(plan, request) }),
      places.topic(agreement.members),
      topicOf(Number(inPlace), { what: "", text }),
    ];
    return agreement.plans("step", plan, more, { groups: "table", source: "step" });
  }
}

/** Zeroes the gradients of a step that has been taken; those that it added are zeroed elsewhere. */
function zero({ table }: Plan): void {
  for (const grad of table.grads) if (grad !== null) fillAll(grad as HostArray, 0);
}
