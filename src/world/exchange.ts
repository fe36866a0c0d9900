/** Steps of all ranks together, through the native library. */

import type { Exchange, ExchangeMode, ExchangeTables } from "../core/exchange.ts";
import { hashOfWords } from "./header.ts";
import type { Link } from "./link.ts";
import type { Meetings } from "./meetings.ts";
import type { SharedMemory } from "./shared.ts";

/** The number of float64 among the dtypes of `World.sum`. */
const FLOAT64 = 1;

/** What optimizers exchange over a link. */
export function createExchange(link: Link, meetings: Meetings, memory: SharedMemory): Exchange {
  const shards = (mode: ExchangeMode) => mode === "shards";
  return {
    rank: link.position.rank,
    size: link.position.size,
    get sharesMemory() {
      return memory.isUsed;
    },
    placeOf: (array) => memory.placeOf(array),
    meet(operation, { doing, words, facts }) {
      meetings.meet({ operation, doing, hash: hashOfWords(words), facts });
    },
    share: (rows, count, hasState) => link.share(rows, count, hasState),
    collect: (rows, count, firstOnly) => link.collect(rows, count, firstOnly),
    readState: (rows, count, part) => link.readState(rows, count, part),
    giveBack: (rows, count) => link.giveBack(rows, count),
    hold: (reason) => meetings.hold(reason),
    async gatherLater({ doing, words, facts }, text) {
      const bytes = new TextEncoder().encode(text);
      const intent = {
        doing,
        hash: hashOfWords(words),
        facts,
        bytes: bytes.length,
        isHolder: true,
      };
      const found = await meetings.meetLater(
        { ...intent, operation: "save" },
        (headers) => link.meetLater(headers),
      );
      if (found.every((size) => size === 0)) return Array.from(found, () => "");
      // A rank may have ended since.
      const sizes = meetings.meet({ ...intent, operation: "gather" });
      return meetings.gather(bytes, sizes).map((text) => new TextDecoder().decode(text));
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
    async later({ doing, words, facts }, work) {
      await meetings.meetLater(
        { operation: "step", doing, hash: hashOfWords(words), facts },
        (headers) => link.later(headers, work),
      );
    },
    maxPins: (wanted) => link.maxPins(wanted),
    countStep: () => void meetings.step++,
  };
}
