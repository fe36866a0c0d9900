/** Where the arrays of a step lie in memory that the ranks share: if all do, nothing has to be sent. */

import type { Exchange, ExchangeMode, Fact, Place, Topic } from "../core/exchange.ts";
import { nameArray } from "../core/parameter.ts";
import { SKIP, stateOf } from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";
import type { Member } from "./row_topic.ts";

/** The places of all arrays. */
export interface Places {
  /** Whether all ranks see all arrays that a step reads of others or writes for them. */
  readonly inPlace: boolean;
  /** The places, which have to be equal on all ranks. */
  topic(members: readonly Member[]): Topic;
}

const NOWHERE: Places = {
  inPlace: false,
  topic: () => ({ numbers: new Uint32Array(0), stride: 4, facts: () => [] }),
};

/** Whether others' parameters are written, by what is exchanged; what is not listed is always sent. */
const WRITES_DATA: Readonly<Partial<Record<string, boolean>>> = { gradients: false, shards: true };

/** Finds the places of the arrays of a plan that has been refreshed. */
export function findPlaces(plan: Plan, exchange: Exchange, mode: ExchangeMode): Places {
  const writesData = WRITES_DATA[mode];
  if (!exchange.sharesMemory || writesData === undefined) return NOWHERE;
  const { table, halves } = plan;
  const words = new Uint32Array(4 * table.count);
  const placeOf = (array: unknown) => exchange.placeOf(array as ArrayBufferView);
  let inPlace = true;
  for (let row = 0; row < table.count; row++) {
    if (stateOf(halves, row) === SKIP || table.lengthAt(row) === 0) continue;
    const [grad, data] = [placeOf(table.grads[row]), placeOf(table.datas[row])];
    words.set([...wordsOf(grad), ...wordsOf(data)], 4 * row);
    inPlace &&= grad !== null && (data !== null || !writesData);
  }
  const topic = (members: readonly Member[]): Topic => ({
    numbers: words,
    stride: 4,
    facts: (row) => placeFacts(plan, row, members[row], placeOf),
  });
  return { inPlace, topic };
}

function wordsOf(place: Place | null): [number, number] {
  return place === null ? [0, 0] : [place.number, place.offset % 2 ** 32];
}

function placeFacts(
  { table, halves }: Plan,
  row: number,
  member: Member,
  placeOf: (array: unknown) => Place | null,
): Fact[] {
  if (stateOf(halves, row) === SKIP) return [];
  return (["grad", "data"] as const).map((kind) => {
    const place = placeOf(kind === "grad" ? table.grads[row] : table.datas[row]);
    const text = place === null
      ? "is not shared"
      : `begins at byte ${place.offset} of shared array ${place.number}`;
    return { what: nameArray(member, row, kind), text };
  });
}
