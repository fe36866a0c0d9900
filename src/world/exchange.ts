/** Steps of all ranks together, through the native library. */

import type {
  Exchange,
  ExchangeMode,
  ExchangeTables,
  Fact,
  Plans,
  Topic,
} from "../core/exchange.ts";
import { hashOfWords } from "../core/hash.ts";
import type { Hash } from "../core/hash.ts";
import type { Link } from "./link.ts";
import type { Intent, Meetings } from "./meetings.ts";
import type { Operation } from "./header.ts";
import type { SharedMemory } from "./shared.ts";
import { bytesOfText, textOf } from "./texts.ts";

/** The number of float64 among the dtypes of `World.sum`. */
const FLOAT64 = 1;

/** What optimizers exchange over a link. */
export function createExchange(link: Link, meetings: Meetings, memory: SharedMemory): Exchange {
  const shards = (mode: ExchangeMode) => mode === "shards";
  let optimizers = 0;
  return {
    rank: link.position.rank,
    size: link.position.size,
    get sharesMemory() {
      return memory.isUsed;
    },
    placeOf: (array) => memory.placeOf(array),
    get isOver() {
      return meetings.isOver;
    },
    get optimizers() {
      return optimizers;
    },
    countOptimizer: () => void optimizers++,
    meet: (operation, plans) => void meetings.meet(intentOf(operation, plans)),
    hold: (doing, reason) => meetings.hold(doing, reason),
    release: (turn) => meetings.release(turn),
    share: (rows, count, hasState) => link.share(rows, count, hasState),
    collect: (rows, count, firstOnly) => link.collect(rows, count, firstOnly),
    readState: (rows, count, part) => link.readState(rows, count, part),
    giveBack: (rows, count) => link.giveBack(rows, count),
    async gatherLater(plans, text) {
      const bytes = bytesOfText(text);
      const intent = { ...intentOf("save", plans), bytes: bytes.length };
      const found = await meetings.meetLater(intent, (headers) => link.meetLater(headers));
      if (found.every((size) => size === 0)) return Array.from(found, () => "");
      // A rank may have ended since.
      const sizes = meetings.meet({ ...intent, operation: "gather", isPatient: true });
      return meetings.gather(bytes, sizes).map(textOf);
    },
    step: (tables, mode) => link.step(tables, shards(mode)),
    measure: (tables: ExchangeTables, measure, sums) => link.measure(tables, measure, sums),
    apply: (tables, mode) => link.apply(tables, shards(mode)),
    vote: (tables) => link.vote(tables),
    sum: (values) => link.sum(values, FLOAT64),
    gather(values) {
      const all = new Float64Array(values.length * link.position.size);
      link.allGather(new Uint8Array(values.buffer), new Uint8Array(all.buffer), false);
      return all;
    },
    add: (rows, count, added, sums) => link.add(rows, count, added, sums),
    async later(plans, work) {
      const operation = work.what === "apply" ? "complete" : "step";
      await meetings.meetLater(intentOf(operation, plans), (headers) => link.later(headers, work));
    },
    maxPins: (wanted) => link.maxPins(wanted),
    countStep: () => void meetings.step++,
  };
}

function intentOf(operation: Operation, plans: Plans): Intent & { readonly hash: Hash } {
  const { topics, ...rest } = plans;
  return { operation, ...rest, hash: hashOf(plans), facts: () => topics.flatMap(factsOf) };
}

/** The hash of everything that has to be equal. */
function hashOf({ topics, obstacle }: Plans): Hash {
  let hash = hashOfWords([topics.length, Number(obstacle !== undefined)]);
  for (const { numbers } of topics) {
    const words = wordsOf(numbers);
    hash = hashOfWords(words, [hash[0] ^ words.length, hash[1]]);
  }
  return hash;
}

function wordsOf(numbers: Topic["numbers"]): Uint32Array {
  if (numbers instanceof Uint32Array) return numbers;
  return new Uint32Array(numbers.buffer, numbers.byteOffset, 2 * numbers.length);
}

/** What a topic says. The numbers themselves come last, for two that have the same words. */
function factsOf({ numbers, stride, facts }: Topic): Fact[] {
  return Array.from({ length: numbers.length / stride }, (_, at) => {
    const told = facts(at);
    const { what = "", of } = told.at(0) ?? {};
    const own = wordsOf(numbers.subarray(at * stride, (at + 1) * stride)).join(" ");
    return [...told, { of, what, text: `is described by ${own}` }];
  }).flat();
}
