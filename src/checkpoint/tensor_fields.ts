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

/** Fields that were found, and the place behind them. */
interface Found {
  readonly value: TensorInfo;
  readonly end: number;
}

/** Reads the fields that begin at a place; null if they are not written as usual. */
export function scanFields(text: string, at: number): Found | null {
  const kind = HEADS.find(({ head }) => text.startsWith(head, at));
  if (kind === undefined) return null;
  const scanner = new Scanner(text, at + kind.head.length);
  const shape = scanner.list(MAX_RANK);
  if (shape === null || !scanner.skip(OFFSETS)) return null;
  const offsets = scanner.list(2);
  if (offsets === null || offsets.length !== 2 || !scanner.skip(END)) return null;
  return {
    value: { dtype: kind.dtype, shape, start: offsets[0], end: offsets[1] },
    end: scanner.at,
  };
}

/** Reads numbers from text. */
class Scanner {
  constructor(readonly text: string, public at: number) {}

  /** Skips a text, if it is there. */
  skip(text: string): boolean {
    if (!this.text.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  /** Whole numbers with commas between them; null if there are too many, or one is written otherwise. */
  list(limit: number): number[] | null {
    const list: number[] = [];
    for (let count = this.#count(); count >= 0; count = this.#count()) {
      if (list.push(count) > limit) return null;
      if (this.text.charCodeAt(this.at) !== COMMA) return list;
      this.at++;
    }
    return list.length === 0 ? list : null; // a comma must have a number behind it
  }

  /** A whole number; -1 if there is none, or it is written otherwise. */
  #count(): number {
    const { text, at: from } = this;
    let at = from;
    let value = 0;
    for (; at - from < MAX_DIGITS; at++) {
      const digit = text.charCodeAt(at) - ZERO;
      if (!(digit >= 0 && digit <= 9)) break;
      value = 10 * value + digit;
    }
    if (at === from || at > from + 1 && text.charCodeAt(from) === ZERO) return -1;
    this.at = at;
    return value;
  }
}
