/** What the ranks of a world give to each other besides steps: parameters, and state. */

import type { Exchange, ExchangeMode } from "../core/exchange.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot } from "../core/validate.ts";
import { BUFFER, ROW } from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";
import type { RankOwner } from "../state/rank_owner.ts";
import type { JointSave, Saved } from "../state/source.ts";
import {
  layoutFacts,
  layoutWords,
  modeFact,
  optionFacts,
  stateFacts,
  stepWords,
  withMode,
} from "./agreement.ts";
import { beginJointSave } from "./joint_save.ts";
import { KnownLengths } from "./known_lengths.ts";
import { NEUTRAL_REQUEST } from "./options.ts";
import { drawSave } from "./votes.ts";

/** What ranks put the state together for. The numbers are in what they compare. */
const READ = 0;
const CHANGE = 1;
const SAVES: Readonly<Record<Saved, { readonly number: number; readonly text: string }>> = {
  stored: { number: 2, text: "is saved" },
  float32: { number: 3, text: "is saved with momentum of float32" },
  weights: { number: 4, text: "is left out" },
};

/** What an optimizer of one rank has of the state of all. */
export class RankState {
  readonly #exchange: Exchange;
  readonly #mode: ExchangeMode;
  readonly #precision: Precision;
  readonly #lengths = new KnownLengths();
  /** Whether this rank has momentum of other ranks' parts, which the next step does not need. */
  #hasOthers = false;

  constructor(exchange: Exchange, mode: ExchangeMode, precision: Precision) {
    this.#exchange = exchange;
    this.#mode = mode;
    this.#precision = precision;
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
  get votes(): boolean {
    return this.#mode === "signs";
  }

  /**
   * Gives rank 0's values of parameters to all ranks.
   *
   * @param first The row of the first one.
   * @throws {WorldError} If the parameters of the ranks differ in number, length, type or name.
   */
  share(plan: Plan, first: number): void {
    const facts = () => [modeFact(this.#mode), ...layoutFacts(plan)];
    const words = withMode(this.#mode, layoutWords(plan));
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
    const words = withMode(this.#mode, stepWords(plan, NEUTRAL_REQUEST, this.#precision));
    const facts = () => [
      modeFact(this.#mode),
      ...layoutFacts(plan),
      ...stateFacts(plan),
      ...optionFacts(plan, NEUTRAL_REQUEST, this.#precision),
    ];
    this.#exchange.meet("load", { doing: "load the state", words, facts });
    this.#exchange.share(this.votes ? withoutMomentum(rows) : rows, table.count, true);
    this.#hasOthers = true;
  }

  /** Which rank's momentum this optimizer has; null if it is that of all ranks. */
  get owner(): Omit<RankOwner, "save"> | null {
    const { rank, size } = this.#exchange;
    return this.votes ? { rank, size } : null;
  }

  /**
   * Puts the state together on all ranks, of which each has a part.
   *
   * @throws {WorldError} If a rank does something else.
   */
  collect(plan: Plan): void {
    if (!this.isSharded) return;
    this.#meetToSave(plan, READ, "is read");
    this.#exchange.collect(plan.rows, plan.table.count, false);
    this.#hasOthers = true;
  }

  /**
   * Begins a save in which all ranks take part; null if each rank can save by itself.
   *
   * @throws {WorldError} If a rank does something else.
   */
  beginSave(plan: Plan, what: Saved): JointSave | null {
    if (!this.hasOwnState) return null;
    const exchange = this.#exchange;
    this.#meetToSave(plan, SAVES[what].number, SAVES[what].text);
    const isRead = this.isSharded && what === "stored";
    let owner: RankOwner | null = null;
    if (this.votes && what !== "weights") owner = { ...this.owner!, save: drawSave(exchange) };
    if (this.isSharded && what === "float32") { // what is decoded is a copy, and that of all
      exchange.collect(plan.rows, plan.table.count, true);
      this.#hasOthers = true;
    }
    return beginJointSave(exchange, plan, { owner, isRead, done: () => this.#giveBack(plan) });
  }

  #meetToSave(plan: Plan, purpose: number, text: string): void {
    const words = withMode(this.#mode, Uint32Array.of(plan.table.count, purpose));
    const facts = () => [...layoutFacts(plan), { what: "the state", text }];
    this.#exchange.meet("save", { doing: "save", words, facts });
  }

  /** Gives back the memory of what the other ranks have. */
  #giveBack(plan: Plan): void {
    if (this.isSharded && this.#hasOthers) this.#exchange.giveBack(plan.rows, plan.table.count);
    this.#hasOthers = false;
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
    const words = withMode(this.#mode, Uint32Array.of(plan.table.count, CHANGE, ...order));
    const text = `is [${order.join(", ")}]`;
    const facts = () => [...layoutFacts(plan), { what: "the new order of parameters", text }];
    this.#exchange.meet("save", { doing, words, facts });
    this.#exchange.collect(plan.rows, plan.table.count, false);
    this.#hasOthers = true;
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

  /** Puts the master weights together on all ranks, of which each has stepped a part. */
  gatherMasters(plan: Plan): void {
    this.#exchange.collect(withoutMomentum(plan.rows), plan.table.count, false);
  }

  /**
   * Refuses parameters of other lengths than at the last step, where ranks have parts of the state. A rank
   * that has had all of it keeps its part.
   *
   * @throws {RangeError} If there is one.
   */
  checkLengths(plan: Plan): void {
    if (!this.isSharded) return;
    this.#lengths.check(plan);
    this.#giveBack(plan);
  }
}

/** Rows that name no momentum, as that is each rank's own. */
function withoutMomentum(rows: Plan["rows"]): BigUint64Array<ArrayBuffer> {
  const copy = rows.slice();
  for (let at = BUFFER; at < copy.length; at += ROW) copy[at] = 0n;
  return copy;
}
