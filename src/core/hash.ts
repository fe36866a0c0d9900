/** Hashes, by which ranks see whether they have the same. */

/** Two hashes, so that others are as likely to be equal as 64 random bits. */
export type Hash = readonly [number, number];

/** The hash of nothing. */
const START: Hash = [0x811c9dc5, 0x01234567];

/**
 * The hash of words: two products, whose upper bits go into the lower ones.
 *
 * @param start The hash of what comes before them.
 */
export function hashOfWords(words: ArrayLike<number>, start: Hash = START): Hash {
  let [low, high] = start;
  for (let i = 0; i < words.length; i++) {
    low = Math.imul(low ^ words[i] ^ low >>> 15, 0x01000193);
    high = Math.imul(high ^ words[i] ^ high >>> 15, 0x85ebca6b);
  }
  return [low >>> 0, high >>> 0];
}

/** The hash of texts: that of their code points, with a mark after each text. */
export function hashOfTexts(texts: readonly string[]): Hash {
  return hashOfWords(texts.flatMap((text) => [...text, "\0"].map((c) => c.codePointAt(0)!)));
}
