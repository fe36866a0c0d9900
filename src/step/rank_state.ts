/** What the ranks of a world give to each other besides steps: parameters, and state. */

import type { Exchange, ExchangeMode, Plans, Topic } from "../core/exchange.ts";
import { hashOfTexts } from "../core/hash.ts";
import { cannot } from "../core/validate.ts";
import { assertUnlocked } from "../memory/locks.ts";
import { findDetachedState } from "../plan/attached.ts";
import { BUFFER, ROW } from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";
import type { PreparedLoad } from "../state/apply.ts";
import type { RankOwner } from "../state/rank_owner.ts";
import type { JointSave, Saved } from "../state/source.ts";
import { counted, topicOf } from "./agreement.ts";
import type { Agreement } from "./agreement.ts";
import { beginJointSave } from "./joint_save.ts";
import { KnownLengths } from "./known_lengths.ts";
import { HAS_MASTER, HAS_MOMENTUM, nameText, rowTopic, stateBits } from "./row_topic.ts";
import type { Member } from "./row_topic.ts";
import { drawSave } from "./votes.ts";

/** What ranks take the state for. The numbers are in what they compare. */
const READ = 0;
const SAVES: Readonly<Record<Saved, { readonly number: number; readonly text: string }>> = {
  stored: { number: 1, text: "saves the state" },
  float32: { number: 2, text: "saves the state with momentum of float32" },
  weights: { number: 3, text: "leaves the state out" },
};

/** What an optimizer of one rank has of the state of all. */
export class RankState {
  readonly #exchange: Exchange;
  readonly #mode: ExchangeMode;
  readonly #agreement: Agreement;
  readonly #lengths = new KnownLengths();
  /** Whether this rank has momentum of other ranks' parts, which the next step does not need. */
  #hasOthers = false;

  constructor(exchange: Exchange, mode: ExchangeMode, agreement: Agreement) {
    this.#exchange = exchange;
    this.#mode = mode;
    this.#agreement = agreement;
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
   * Gives rank 0's values of parameters that have been added to all ranks. If it throws, they have to be
   * taken out again.
   *
   * @param first The row of the first one.
   * @param names Their names, as they have been read.
   * @throws {TypeError} If data of one are on a GPU, or detached.
   * @throws {WorldError} If something differs between the ranks.
   * @throws {Error} If a step that is running uses the data of one.
   */
  add(plan: Plan, first: number, names: readonly (string | undefined)[]): void {
    const doing = "add parameters";
    plan.stateArrays.discard();
    checkRows(plan, first, doing);
    const members = this.#agreement.withAdded(names);
    const added = plan.table.count - first;
    const more = [
      topicOf(first, { what: "", text: `adds ${counted(added, "parameter")}` }),
      namesTopic(members, first),
    ];
    this.#exchange.meet("construct", this.#agreement.plans(doing, plan, more, { members }));
    const { rows } = plan;
    if (this.isSharded && first > 0) this.#gather(rows.subarray(0, first * ROW), first);
    this.#exchange.share(rows.subarray(first * ROW), added, false);
    this.#agreement.settle(members);
  }

  /**
   * Loads a state dict on all ranks, and gives rank 0's values of parameters and their state to all. With
   * votes each rank keeps the momentum that it has loaded.
   *
   * @param prepare Checks the dict of this rank, and changes nothing.
   * @throws {WorldError} If a rank cannot load its dict, or something will differ between the ranks. Nothing
   * has been loaded then on any.
   */
  load<Report>(plan: Plan, prepare: () => PreparedLoad<Report>): Report {
    const doing = "load the state";
    let prepared: PreparedLoad<Report>;
    try {
      plan.refreshState();
      prepared = prepare();
      checkRows(plan, 0, doing);
    } catch (error) {
      this.#refuse(doing, error);
    }
    this.#exchange.meet("load", this.#plansOfLoad(doing, plan, prepared));
    const { rows, table } = plan;
    if (this.isSharded) this.#gather(rows, table.count);
    const report = prepared.load();
    this.#exchange.share(this.votes ? withoutMomentum(plan.rows) : plan.rows, table.count, true);
    this.#hasOthers = true;
    return report;
  }

  /** Comes to a meeting with what has kept this rank from what all are to do, so that nobody does it. */
  #refuse(doing: string, error: unknown): never {
    const obstacle = error instanceof Error ? error.message : String(error);
    try {
      this.#exchange.meet("load", { doing, topics: [], obstacle: obstacle.slice(0, MOST_LETTERS) });
    } catch {
      // The others throw this one. The program of this rank learns more from its own.
    }
    throw error;
  }

  /** What ranks rely on when they load: what will be loaded, and what is there of which each has a part. */
  #plansOfLoad(doing: string, plan: Plan, prepared: PreparedLoad<unknown>): Plans {
    const loaded = new Map(prepared.rows.map((entry) => [entry.row, entry]));
    const source = (row: number) => {
      const entry = loaded.get(row);
      if (entry === undefined) return stateBits(plan, row);
      return (entry.hasMomentum ? HAS_MOMENTUM : 0) + (entry.hasMaster ? HAS_MASTER : 0);
    };
    const { groups, random } = prepared;
    const now: Topic[] = this.isSharded ? [rowTopic(plan, this.#agreement.members, "state")] : [];
    return this.#agreement.plans(doing, plan, now, { source, groups, random });
  }

  /** Puts the state of rows together on all ranks, of which each has a part. */
  #gather(rows: Plan["rows"], count: number): void {
    this.#exchange.collect(rows, count, false);
    this.#hasOthers = true;
    this.#lengths.forget();
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
    this.#meetFor(plan, "take the state", READ, "takes the state");
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
    this.#meetFor(plan, "save", SAVES[what].number, SAVES[what].text);
    const isRead = this.isSharded && what === "stored";
    let owner: RankOwner | null = null;
    if (this.votes && what !== "weights") owner = { ...this.owner!, save: drawSave(exchange) };
    if (this.isSharded && what === "float32") { // what is decoded is a copy, and that of all
      exchange.collect(plan.rows, plan.table.count, true);
      this.#hasOthers = true;
    }
    return beginJointSave(exchange, plan, { owner, isRead, done: () => this.#giveBack(plan) });
  }

  #meetFor(plan: Plan, doing: string, purpose: number, text: string): void {
    plan.stateArrays.discard();
    const topic = topicOf(purpose, { what: "", text });
    const operation = purpose === READ ? "take" : "save";
    this.#exchange.meet(operation, this.#agreement.plans(doing, plan, [topic]));
  }

  /** Gives back the memory of what the other ranks have. */
  #giveBack(plan: Plan): void {
    if (!this.isSharded || !this.#hasOthers) return;
    this.#hasOthers = false;
    if (this.#exchange.isOver) return;
    this.#lengths.remember(plan);
    this.#exchange.giveBack(plan.rows, plan.table.count);
  }

  /**
   * Follows parameters that go or change places. The state is put together on all ranks before, as each rank
   * has other parts of it afterwards.
   *
   * @param rows The rows that stay, in their new order.
   * @throws {WorldError} If a rank does something else.
   */
  arrange(plan: Plan, rows: readonly number[]): void {
    if (this.isSharded) {
      plan.stateArrays.discard();
      const order: Topic = {
        numbers: Uint32Array.from(rows),
        stride: Math.max(1, rows.length),
        facts: () => [{ what: "the new order of parameters", text: `is [${rows.join(", ")}]` }],
      };
      const plans = this.#agreement.plans("rearrange the parameters", plan, [order]);
      this.#exchange.meet("arrange", plans);
      this.#gather(plan.rows, plan.table.count);
    }
    this.#agreement.arrange(rows);
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
   * Prepares a step where ranks have parts of the state: refuses parameters of other lengths than at the
   * last step, and gives back the memory of what the other ranks have.
   *
   * @throws {RangeError} If there is one.
   */
  prepareStep(plan: Plan): void {
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

/** The longest message that other ranks get. */
const MOST_LETTERS = 1000;

/** The names of parameters that are added. */
function namesTopic(members: readonly Member[], first: number): Topic {
  const added = members.slice(first);
  return {
    numbers: Uint32Array.from(
      added.flatMap(({ name }) => name === undefined ? [0, 0] : hashOfTexts([name])),
    ),
    stride: 2,
    facts: (
      at,
    ) => [{ of: "parameters", what: `parameter ${first + at}`, text: nameText(added[at]) }],
  };
}

/**
 * Refuses rows whose data no other rank can be given.
 *
 * @param first The first row that gets data.
 */
function checkRows({ table }: Plan, first: number, doing: string): void {
  for (let row = first; row < table.count; row++) {
    const data = table.datas[row];
    if (table.typesAt(row).dtype.device !== undefined) {
      const reason = `${table.name(row, "data")} must be an array`;
      throw new TypeError(cannot(`${doing} in a world`, reason, "it is on a GPU"));
    }
    assertUnlocked(data, () => table.name(row, "data"));
  }
  const detached = findDetachedState(table, first);
  if (detached === null) return;
  throw new TypeError(cannot(doing, `the buffer of ${detached} was detached or resized`));
}
