/** A save in which all ranks of a world take part. */

import type { Exchange, StatePart } from "../core/exchange.ts";
import type { Plan } from "../plan/plan.ts";
import type { JointSave, RankFailure } from "../state/source.ts";
import type { RankOwner } from "../state/rank_owner.ts";
import { topicOf } from "./agreement.ts";

/** How ranks save together. */
interface Manner {
  /** Whose momentum this rank saves; null if rank 0 alone saves. */
  readonly owner: RankOwner | null;
  /** Whether rank 0 reads the parts of the others. */
  readonly isRead: boolean;
  /** Called at the end. */
  readonly done: () => void;
}

/** What a text of rank 0 begins with that asks for parts of the state; no message does. */
const ASKS = "\0";

/** Begins a save for which all ranks have met. Until it ends, the world refuses everything else. */
export function beginJointSave(exchange: Exchange, plan: Plan, manner: Manner): JointSave {
  const { owner, isRead, done } = manner;
  const turn = exchange.hold("save", "the state is being saved: await saveState first");
  // The state is that of now, and its memory stays, whatever this rank does with the optimizer meanwhile.
  const rows = plan.rows.slice();
  const kept = [...plan.table.buffers, ...plan.table.masters];
  let count = 0;
  const tell = (text: string) => {
    const part = topicOf(++count, { what: "", text: `has come to part ${count} of the save` });
    return exchange.gatherLater({ doing: "save", topics: [part], turn }, text);
  };
  const give = (parts: readonly StatePart[]) => {
    for (const part of parts) exchange.readState(rows, plan.table.count, part);
  };
  return {
    ...{ rank: exchange.rank, owner, isRead },
    async read(parts) {
      await tell(ASKS + JSON.stringify(parts.map((part) => ({ ...part, into: null }))));
      give(parts);
    },
    async meet(failure) {
      for (;;) {
        const texts = await tell(failure ?? "");
        if (!texts[0].startsWith(ASKS)) return firstFailure(texts);
        give(JSON.parse(texts[0].slice(ASKS.length)));
      }
    },
    end() {
      kept.length = 0;
      exchange.release(turn);
      done();
    },
  };
}

function firstFailure(texts: readonly string[]): RankFailure | null {
  const rank = texts.findIndex((text) => text !== "");
  return rank < 0 ? null : { rank, text: texts[rank] };
}
