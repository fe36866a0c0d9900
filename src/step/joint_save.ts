/** A save in which all ranks of a world take part. */

import type { Exchange } from "../core/exchange.ts";
import type { JointSave, RankFailure } from "../state/source.ts";
import type { RankOwner } from "../state/rank_owner.ts";
import { topicOf } from "./agreement.ts";

/**
 * Begins a save for which all ranks have met. Until it ends, the world refuses everything else.
 *
 * @param owner Whose momentum this rank saves; null if rank 0 alone saves.
 * @param done Called at the end.
 */
export function beginJointSave(
  exchange: Exchange,
  owner: RankOwner | null,
  done: () => void,
): JointSave {
  const turn = exchange.hold("save", "the state is being saved: await saveState first");
  let count = 0;
  return {
    rank: exchange.rank,
    owner,
    async meet(failure) {
      const part = topicOf(++count, { what: "", text: `has come to part ${count} of the save` });
      const plans = { doing: "save", topics: [part], turn };
      return firstFailure(await exchange.gatherLater(plans, failure ?? ""));
    },
    end() {
      exchange.release(turn);
      done();
    },
  };
}

function firstFailure(texts: readonly string[]): RankFailure | null {
  const rank = texts.findIndex((text) => text !== "");
  return rank < 0 ? null : { rank, text: texts[rank] };
}
