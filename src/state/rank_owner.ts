/** Whose momentum a state dict has, where each rank of a world has its own. */

import { cannot } from "../core/validate.ts";
import type { StateDict } from "./dict.ts";

/** A rank, and what it has saved together with the others. */
export interface RankOwner {
  /** The number of the rank. */
  readonly rank: number;
  /** How many ranks there are. */
  readonly size: number;
  /** What all files of one save have in common, and no others. */
  readonly save: string;
}

/** The key of the metadata: `1 of 4, save 5f3a...`, say. */
const KEY = "signs.rank";

/** Metadata that says whose momentum it is. */
export function writeOwner({ rank, size, save }: RankOwner): Record<string, string> {
  return { [KEY]: `${rank} of ${size}, save ${save}` };
}

/** Whose momentum a dict has; null if it is that of all ranks. */
export function readOwner({ metadata }: StateDict): RankOwner | null {
  const parts = /^(\d{1,9}) of (\d{1,9}), save (\w+)$/.exec(metadata?.[KEY] ?? "");
  if (parts === null) return null;
  return { rank: Number(parts[1]), size: Number(parts[2]), save: parts[3] };
}

/** The same dict without the metadata of whose momentum it is. */
export function withoutOwner(dict: StateDict): StateDict {
  const { [KEY]: _, ...rest } = dict.metadata ?? {};
  const { metadata: _metadata, ...others } = dict;
  return Object.keys(rest).length > 0 ? { ...others, metadata: rest } : others;
}

/**
 * Refuses a state whose momentum is another rank's.
 *
 * @throws {TypeError} If it is.
 */
export function checkOwner(
  dict: StateDict,
  { rank, size }: { readonly rank: number; readonly size: number },
): void {
  const owner = readOwner(dict);
  if (owner === null || owner.rank === rank && owner.size === size) return;
  const reason = `its momentum must be that of rank ${rank} of ${size}`;
  const found = `it is that of rank ${owner.rank} of ${owner.size}: give the world to loadState`;
  throw new TypeError(cannot("load the state", reason, found));
}
