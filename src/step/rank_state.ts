/** What the ranks of a world give to each other besides steps: parameters, and state. */

import type { Exchange, ExchangeMode } from "../core/exchange.ts";
import type { Precision } from "../core/rounding.ts";
import { cannot } from "../core/validate.ts";
import { BUFFER, ROW } from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";
import type { RankOwner } from "../state/rank_owner.ts";
import {
  layoutFacts,
  layoutWords,
  modeFact,
  optionFacts,
  stateFacts,
  stepWords,
  withMode,
} from "./agreement.ts";
import { KnownLengths } from "./known_lengths.ts";
import { NEUTRAL_REQUEST } from "./options.ts";
import { drawSave } from "./votes.ts";

/** What the state is put together for: to be read or saved, 0 or 1, or for other parameters. */
const CHANGES = 2;

/** What an optimizer of one rank has of the state of all. */
export class RankState {
  readonly #exchange: Exchange;
  readonly #mode: ExchangeMode;
  readonly #precision: Precision;
  readonly #lengths = new KnownLengths();
  /** What the files of the last save have in common, if each rank has one. */
  #save = "";

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
  }

  /** Which rank's momentum this optimizer has, and its last save; null if it is that of all ranks. */
  get owner(): RankOwner | null {
    const { rank, size } = this.#exchange;
    return this.votes ? { rank, size, save: this.#save } : null;
  }

  /**
   * Puts the state together, of which each rank has a part.
   *
   * @param firstOnly Whether rank 0 alone gets it.
   * @returns Whether this rank has it.
   * @throws {WorldError} If a rank does something else.
   */
  collect(plan: Plan, firstOnly: boolean): boolean {
    if (!this.isSharded && !(this.votes && firstOnly)) return true;
    const words = withMode(this.#mode, Uint32Array.of(plan.table.count, Number(firstOnly)));
    const text = firstOnly ? "is saved" : "is read";
    const facts = () => [...layoutFacts(plan), { what: "the state", text }];
    this.#exchange.meet("save", { doing: "save", words, facts });
    if (this.votes) { // each rank has its own
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
    const words = withMode(this.#mode, Uint32Array.of(plan.table.count, CHANGES, ...order));
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

  /** Puts the master weights together on all ranks, of which each has stepped a part. */
  gatherMasters(plan: Plan): void {
    this.#exchange.collect(withoutMomentum(plan.rows), plan.table.count, false);
  }

  /**
   * Refuses parameters of other lengths than at the last step, where ranks have parts of the state.
   *
   * @throws {RangeError} If there is one.
   */
  checkLengths(plan: Plan): void {
    if (this.isSharded) this.#lengths.check(plan);
  }
}

/** Rows that name no momentum, as that is each rank's own. */
function withoutMomentum(rows: Plan["rows"]): BigUint64Array<ArrayBuffer> {
  const copy = rows.slice();
  for (let at = BUFFER; at < copy.length; at += ROW) copy[at] = 0n;
  return copy;
}
