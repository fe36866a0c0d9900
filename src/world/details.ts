/** What ranks say of themselves once they differ, and the one message that follows from it. */

import type { Fact } from "../core/exchange.ts";
import { hashOfTexts } from "../core/hash.ts";
import { cannot } from "../core/validate.ts";

/** What a rank says of itself first. */
export interface Details {
  /** What it does, as words that follow "Cannot": `step`. Null if it has ended. */
  readonly doing: string | null;
  /** Steps that it has taken. */
  readonly step: number;
  /** The message of the error with which it has ended, if it has failed. */
  readonly failure?: string;
  /** Why it cannot do what it is about to do. */
  readonly obstacle?: string;
  /** How many facts it can tell. */
  readonly facts: number;
}

/** What differs if no fact does. */
const OTHER_VERSION = "the ranks run different versions of the library";

/**
 * The message of the error that all ranks throw. It depends on what all of them said and on nothing else,
 * and is therefore the same on all. Facts are asked for where what they do is not the reason.
 *
 * @param all What each rank said, in the order of the ranks.
 * @param facts Those of this rank.
 * @returns The message; in between it yields what this rank tells, and takes what all have told.
 */
export function* explain(
  all: readonly Details[],
  facts: readonly Fact[],
): Generator<string, string, readonly string[]> {
  const doing = all.find(({ doing }) => doing !== null)?.doing ?? "go on";
  const known = findEnded(all) ?? findOther(all) ?? findObstacle(all);
  if (known !== null) return cannot(doing, known);
  const count = Math.max(...all.map(({ facts }) => facts));
  const difference = yield* findDifference(facts, count);
  return cannot(doing, difference ?? OTHER_VERSION);
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
  const [here, there] = [all[0].step, all[late].step];
  return `rank 0 has taken ${here} ${
    here === 1 ? "step" : "steps"
  } and rank ${late} has taken ${there}`;
}

function findObstacle(all: readonly Details[]): string | null {
  const rank = all.findIndex(({ obstacle }) => obstacle !== undefined);
  return rank < 0 ? null : `rank ${rank} reports an error: ${all[rank].obstacle}`;
}

/** `wait at a barrier` as what a rank does: `waits at a barrier`. */
function does(doing: string | null): string {
  const [, verb, rest] = /^(\w+)(.*)$/s.exec(`${doing}`) ?? ["", `${doing}`, ""];
  if (/(?<!a|e|o)y$/.test(verb)) return `${verb.slice(0, -1)}ies${rest}`;
  return /(s|x|z|ch|sh|o)$/.test(verb) ? `${verb}es${rest}` : `${verb}s${rest}`;
}

/** Into how many parts facts are divided to find the one that differs. */
const PARTS = 64;

/**
 * Finds the first fact that is not the same on all ranks. Ranks compare hashes of parts, then of parts of
 * the first part that differs, and tell one fact in the end: some KiB, however many facts there are.
 *
 * @param count The facts of the rank that has the most.
 */
function* findDifference(
  facts: readonly Fact[],
  count: number,
): Generator<string, string | null, readonly string[]> {
  let [from, to] = [0, count];
  while (to - from > 1) {
    const size = Math.ceil((to - from) / PARTS);
    const starts = Array.from({ length: Math.ceil((to - from) / size) }, (_, i) => from + i * size);
    const hashes = starts.map((start) =>
      hashOfFacts(facts.slice(start, Math.min(start + size, to)))
    );
    const all = (yield JSON.stringify(hashes)).map((text) => JSON.parse(text) as string[]);
    const part = starts.findIndex((_, i) => all.some((other) => other[i] !== all[0][i]));
    if (part < 0) return null;
    [from, to] = [starts[part], Math.min(starts[part] + size, to)];
  }
  const own = facts.at(from);
  const told = yield JSON.stringify(own === undefined ? null : shortened(own));
  return compare(told.map((text) => JSON.parse(text) as Fact | null));
}

function hashOfFacts(facts: readonly Fact[]): string {
  return hashOfTexts(facts.flatMap(({ what, text }) => [what, text])).join(".");
}

/** The longest text of a fact that other ranks get. */
const MOST_LETTERS = 500;

function shortened(fact: Fact): Fact {
  const [what, text] = [fact.what, fact.text].map((whole) => {
    const letters = whole.toWellFormed();
    return letters.length <= MOST_LETTERS
      ? letters
      : `${letters.slice(0, MOST_LETTERS).toWellFormed()}...`;
  });
  return { ...fact, what, text };
}

/** How one fact of all ranks differs; null if it does not. */
function compare(all: readonly (Fact | null)[]): string | null {
  const isOther = (fact: Fact | null) => fact?.what !== all[0]?.what || fact?.text !== all[0]?.text;
  const rank = all.findIndex(isOther);
  if (rank < 0) return null;
  const [here, there] = [all[0], all[rank]];
  const { of, remedy } = (here ?? there)!;
  const known = of === undefined ? "" : `the ${of} differ between the ranks: `;
  return known + differenceOf([here, 0], [there, rank]) +
    (remedy === undefined ? "" : `: ${remedy}`);
}

function differenceOf([here, low]: [Fact | null, number], [there, high]: [Fact | null, number]) {
  const what = (here ?? there)!.what;
  const isSame = here !== null && there !== null && here.what === there.what;
  if (what === "") return `rank ${low} ${stated(here)} and rank ${high} ${stated(there)}`;
  if (here !== null && there !== null && !isSame) {
    return `${what} ${here.text} on rank ${low} while ${there.what} ${there.text} on rank ${high}`;
  }
  const [first, second] = isSame ? shorten(here.text, there.text) : [stated(here), stated(there)];
  return `${what} ${first} on rank ${low} and ${second} on rank ${high}`;
}

function stated(fact: Fact | null): string {
  return fact?.text ?? "does not exist";
}

/** Two texts, the second without the words at its ends that the first one has too. */
function shorten(first: string, second: string): [string, string] {
  const [own, words] = [first.split(" "), second.split(" ")];
  if (own[0] !== words[0]) return [first, second];
  const most = Math.min(own.length, words.length) - 1;
  let start = 0;
  while (start < most && own[start] === words[start]) start++;
  let end = 0;
  while (end < most - start && own.at(-1 - end) === words.at(-1 - end)) end++;
  return [first, words.slice(start, words.length - end).join(" ")];
}
