/** What ranks say of themselves once they differ, and the one message that follows from it. */

import type { Fact } from "../core/exchange.ts";
import { cannot } from "../core/validate.ts";

/** What a rank says of itself. */
export interface Details {
  /** What it does, as words that follow "Cannot": `step`. Null if it has ended. */
  readonly doing: string | null;
  /** Steps that it has taken. */
  readonly step: number;
  /** The message of the error with which it has ended, if it has failed. */
  readonly failure?: string;
  readonly facts: readonly Fact[];
}

/**
 * The message of the error that all ranks throw. It depends on what all of them said and on nothing else,
 * and is therefore the same on all.
 *
 * @param all What each rank said, in the order of the ranks.
 */
export function explain(all: readonly Details[]): string {
  const doing = all.find(({ doing }) => doing !== null)?.doing ?? "go on";
  return cannot(doing, findEnded(all) ?? findOther(all) ?? findFact(all) ?? "the ranks differ");
}

/** Whether a rank has ended, so that nothing can be done together any more. */
export function hasEnded(all: readonly Details[]): boolean {
  return all.some(({ doing }) => doing === null);
}

function findEnded(all: readonly Details[]): string | null {
  const at = (step: number) => step === 0 ? "before its first step" : `at step ${step}`;
  const failed = all.findIndex(({ failure }) => failure !== undefined);
  if (failed >= 0) {
    const { step, failure } = all[failed];
    return `rank ${failed} has failed ${at(step)}: ${failure}`;
  }
  const ended = all.findIndex(({ doing }) => doing === null);
  return ended < 0 ? null : `rank ${ended} has ended ${at(all[ended].step)}`;
}

function findOther(all: readonly Details[]): string | null {
  const first = all[0].doing;
  const other = all.findIndex(({ doing }) => doing !== first);
  if (other >= 0) return `rank 0 ${does(first)} while rank ${other} ${does(all[other].doing)}`;
  const late = all.findIndex(({ step }) => step !== all[0].step);
  if (late < 0) return null;
  return `rank 0 has taken ${all[0].step} steps and rank ${late} ${all[late].step}`;
}

/** `wait at a barrier` as what a rank does: `waits at a barrier`. */
function does(doing: string | null): string {
  return `${doing}`.replace(/^\w+/, "$&s");
}

/** The first fact, in the order of the ranks and of each rank's list, that is another one somewhere. */
function findFact(all: readonly Details[]): string | null {
  const lists = all.map(({ facts }) => new Map(facts.map((fact) => [fact.what, fact])));
  for (const [rank, list] of lists.entries()) {
    for (const [what, { text, of, remedy }] of list) {
      const other = lists.findIndex((other) => other.get(what)?.text !== text);
      if (other < 0) continue;
      const [low, high] = rank < other ? [rank, other] : [other, rank];
      const [here, there] = shorten(lists[low].get(what)?.text, lists[high].get(what)?.text);
      const difference = `${what} ${here} on rank ${low} and ${there} on rank ${high}`;
      const known = of === undefined ? "" : `the ${of} differ between the ranks: `;
      return known + difference + (remedy === undefined ? "" : `: ${remedy}`);
    }
  }
  return null;
}

/** Two texts, the second without the words at its ends that the first one has too. */
function shorten(first = "does not exist", second = "does not exist"): [string, string] {
  const [own, words] = [first.split(" "), second.split(" ")];
  if (own[0] !== words[0]) return [first, second];
  const most = Math.min(own.length, words.length) - 1;
  let start = 0;
  while (start < most && own[start] === words[start]) start++;
  let end = 0;
  while (end < most - start && own.at(-1 - end) === words.at(-1 - end)) end++;
  return [first, words.slice(start, words.length - end).join(" ")];
}

/** As bytes that other ranks receive. */
export function encodeDetails(details: Details): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(details));
}

/** What another rank said. It comes from the same version of this file. */
export function decodeDetails(bytes: Uint8Array): Details {
  return JSON.parse(new TextDecoder().decode(bytes));
}
