/**
 * Scans the fields of a tensor in a header that is written as all writers write it.
 *
 * A header has up to 250,000 of them, so they are read letter by letter: a regular expression with its
 * groups takes several times as long. What is not written so is left to `JsonReader`.
 */

/** The most dimensions of a tensor. */
export const MAX_RANK = 64;

/** Where a tensor is, as a header says. */
export interface TensorInfo {
  /** The format's name of the dtype, such as `F32`. */
  readonly dtype: string;
  /** The shape. */
  readonly shape: readonly number[];
  /** First byte, counted from the end of the header. */
  readonly start: number;
  /** The byte after the last. */
  readonly end: number;
}

/** A tensor of a file. */
export interface Described {
  /** Its name. */
  readonly name: string;
  /** What the header says of it. */
  readonly info: TensorInfo;
}

/** Digits of a number that a double holds for certain. */
const MAX_DIGITS = 15;

const ZERO = 0x30;

const COMMA = 0x2c;

const SHAPE = '","shape":[';

const OFFSETS = '],"data_offsets":[';

const END = "]}";

/** The dtypes of arrays, the most usual first, with what stands in front of a shape. */
const HEADS = ["F32", "BF16", "F16", "F64", "I8", "U8", "I16"].map((dtype) => ({
  dtype,
  head: `{"dtype":"${dtype}${SHAPE}`,
}));

/** Reads the fields of one tensor after the other. */
export class FieldScanner {
  /** The fields that were read last. */
  info: TensorInfo | null = null;
  #text = "";
  #at = 0;

  /** Reads the fields that begin at a place, and returns the place behind them; -1 if it cannot. */
  scan(text: string, at: number): number {
    this.#text = text;
    for (let i = 0; i < HEADS.length; i++) {
      const { dtype, head } = HEADS[i];
      if (!text.startsWith(head, at)) continue;
      this.#at = at + head.length;
      return this.#scanRest(dtype);
    }
    return -1;
  }

  #scanRest(dtype: string): number {
    const shape = this.#list();
    if (shape === null || !this.#skip(OFFSETS)) return -1;
    const start = this.#count();
    if (start < 0 || !this.#skip(",")) return -1;
    const end = this.#count();
    if (end < 0 || !this.#skip(END)) return -1;
    this.info = { dtype, shape, start, end };
    return this.#at;
  }

  #skip(text: string): boolean {
    if (!this.#text.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  /** Whole numbers with commas between them; null if there are too many, or one is written otherwise. */
  #list(): number[] | null {
    const first = this.#count();
    if (first < 0) return [];
    const list = [first];
    while (this.#text.charCodeAt(this.#at) === COMMA) {
      this.#at++;
      const next = this.#count();
      if (next < 0 || list.push(next) > MAX_RANK) return null;
    }
    return list;
  }

  /** A whole number; -1 if there is none, or it is written otherwise. */
  #count(): number {
    const text = this.#text;
    const from = this.#at;
    const limit = from + MAX_DIGITS;
    let value = 0;
    let at = from;
    for (; at < limit; at++) {
      const digit = text.charCodeAt(at) - ZERO;
      if (!(digit >= 0 && digit <= 9)) break;
      value = 10 * value + digit;
    }
    if (at === from || at > from + 1 && text.charCodeAt(from) === ZERO) return -1;
    this.#at = at;
    return value;
  }
}
