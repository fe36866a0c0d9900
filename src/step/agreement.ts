/**
 * What has to be equal on all ranks of a world, whatever they are about to do with an optimizer: which
 * optimizer it is, how it is set, and what its rows have. Each operation adds what it needs besides.
 *
 * Every number that is compared has words, which name what differs.
 */

import type { Exchange, ExchangeMode, Fact, Plans, Topic } from "../core/exchange.ts";
import type { Precision, RandomState } from "../core/rounding.ts";
import type { Group } from "../plan/group_table.ts";
import type { Plan } from "../plan/plan.ts";
import { groupTopic, settingsOf } from "./group_topic.ts";
import { rowTopic } from "./row_topic.ts";
import type { Member, RowSource } from "./row_topic.ts";

const MODES: readonly ExchangeMode[] = ["gradients", "shards", "signs"];
const ROUNDINGS: readonly Precision["rounding"][] = ["nearest", "stochastic", "torch"];
const MASTERS: readonly Precision["masterWeights"][] = [false, true, "split", "split24"];

/** What is not as the plan has it. */
export interface Situation {
  /** The parameters. */
  readonly members: readonly Member[];
  /** The hyperparameters of the groups: those of a step are the ones in its table. */
  readonly groups: readonly Group[] | "table";
  readonly random: RandomState;
  /** What rows have. */
  readonly source: RowSource;
}

/** What the ranks agree on about one optimizer. */
export class Agreement {
  readonly #exchange: Exchange;
  readonly #mode: ExchangeMode;
  readonly #precision: Precision;
  /** The number of the optimizer among those of its world; 0 until all ranks have made it. */
  #number = 0;
  #members: readonly Member[] = [];
  /** How many parameters have been added so far. */
  #added = 0;

  constructor(exchange: Exchange, mode: ExchangeMode, precision: Precision) {
    this.#exchange = exchange;
    this.#mode = mode;
    this.#precision = precision;
  }

  /** The parameters with some more, whose names have been read. */
  withAdded(names: readonly (string | undefined)[]): readonly Member[] {
    const added = names.map((name, i) => ({ name, number: this.#added + i + 1 }));
    return [...this.#members, ...added];
  }

  /** All ranks have these parameters. */
  settle(members: readonly Member[]): void {
    this.#added += members.length - this.#members.length;
    this.#members = members;
    if (this.#number > 0) return;
    this.#exchange.countOptimizer();
    this.#number = this.#exchange.optimizers;
  }

  /** Follows the parameters into another order. */
  arrange(rows: readonly number[]): void {
    const members = this.#members;
    this.#members = rows.map((row) => members[row]);
  }

  /** The parameters, in the order of the rows. */
  get members(): readonly Member[] {
    return this.#members;
  }

  /**
   * Everything that the ranks have to agree on.
   *
   * @param more What an operation needs besides.
   * @param situation Where things are not as the plan has them.
   */
  plans(
    doing: string,
    plan: Plan,
    more: readonly Topic[] = [],
    situation: Partial<Situation> = {},
  ): Plans {
    const { members = this.#members, groups = plan.groups, source = "state" } = situation;
    const settings = settingsOf(groups === "table" ? plan.groupRows : groups, plan.groups);
    const topics = [
      this.#identity(members.length, plan.groups.length),
      this.#options(situation.random ?? this.#precision.random),
      groupTopic(settings),
      rowTopic(plan, members, source),
      ...more,
    ];
    return { doing, topics };
  }

  #identity(parameters: number, groups: number): Topic {
    const number = this.#number || this.#exchange.optimizers + 1;
    return {
      numbers: Float64Array.of(number, MODES.indexOf(this.#mode), parameters, groups),
      stride: 4,
      facts: () => [
        {
          ...{ of: "optimizers", what: "", text: `uses optimizer ${number}` },
          remedy: "ranks count optimizers in the order in which they make them",
        },
        { what: "exchange", text: `is "${this.#mode}"` },
        {
          ...{ of: "parameters", what: "the optimizer" },
          text: `has ${counted(parameters, "parameter")}`,
        },
        { of: "groups", what: "the optimizer", text: `has ${counted(groups, "group")}` },
      ],
    };
  }

  #options({ seed, counter }: RandomState): Topic {
    const { rounding, masterWeights } = this.#precision;
    const numbers = [ROUNDINGS.indexOf(rounding), MASTERS.indexOf(masterWeights), seed, counter];
    return {
      numbers: Float64Array.from(numbers),
      stride: numbers.length,
      facts: () => [
        option("rounding", JSON.stringify(rounding)),
        option("masterWeights", JSON.stringify(masterWeights)),
        option("seed", seed),
        option("the count of random steps", counter),
      ],
    };
  }
}

function option(what: string, value: unknown): Fact {
  return { of: "options", what, text: `is ${value}` };
}

/** `1 parameter`, `2 parameters`. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** A single number, and what it says. */
export function topicOf(number: number, fact: Fact): Topic {
  return { numbers: Float64Array.of(number), stride: 1, facts: () => [fact] };
}
