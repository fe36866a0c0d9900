/** Where the main thread and its workers wait for each other: a few words that all of them see. */

/** The words: the number of the round, how many workers are in it, and the images that are its work. */
const WORD = { round: 0, left: 1, from: 2, to: 3, count: 4 } as const;

/** What stands for the number of a round when there is no other one. */
const ENDED = -1;

/** The words of a new barrier. */
export function createBarrier(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * WORD.count));
}

/** A part of a list: from one entry on, up to another one. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Begins a round of so many workers. What was written before it, they see. */
export function beginRound(words: Int32Array, workers: number, { from, to }: Range): void {
  words[WORD.from] = from;
  words[WORD.to] = to;
  Atomics.store(words, WORD.left, workers);
  Atomics.add(words, WORD.round, 1);
  Atomics.notify(words, WORD.round);
}

/** Waits until all workers have left the round; other events are handled meanwhile. */
export async function roundEnded(words: Int32Array): Promise<void> {
  for (let left; (left = Atomics.load(words, WORD.left)) > 0;) {
    const { async, value } = Atomics.waitAsync(words, WORD.left, left);
    if (async) await value;
  }
}

/** Lets all workers out: there is no other round. */
export function endRounds(words: Int32Array): void {
  Atomics.store(words, WORD.round, ENDED);
  Atomics.notify(words, WORD.round);
}

/**
 * Blocks the thread of a worker until the round after a given one begins.
 *
 * @returns Its work; null if there is no other round.
 */
export function enterRound(words: Int32Array, last: number): Range | null {
  while (Atomics.load(words, WORD.round) === last) Atomics.wait(words, WORD.round, last);
  if (Atomics.load(words, WORD.round) === ENDED) return null;
  return { from: words[WORD.from], to: words[WORD.to] };
}

/** A worker has done its part. */
export function leaveRound(words: Int32Array): void {
  if (Atomics.sub(words, WORD.left, 1) === 1) Atomics.notify(words, WORD.left);
}
