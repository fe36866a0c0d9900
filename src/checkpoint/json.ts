/** JSON as checkpoints need it: a reader that is told what to expect, and a writer of scalars. */

import { quote, wrongType } from "../core/validate.ts";
import { unreadable } from "./errors.ts";

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

/** The most keys and items of a text: 16 for each of 250,000 tensors. */
export const MAX_VALUES = 1 << 22;

/** The most levels of a value that is dropped. */
const MAX_DEPTH = 32;

/** Keys up to which a list is searched faster than a set is made. */
const FEW_KEYS = 8;

const QUOTE = 0x22;

const BACKSLASH = 0x5c;

const SPACE = 0x20;

const TILDE = 0x7e;

const WORD = /true|false|null/y;

const INFINITY = /-?Infinity/y;

/** A JSON value without parts. */
export type Scalar = string | number | boolean | null;

/**
 * A reader that is told what comes next and accepts nothing else. Nothing is nested deeper, and
 * nothing is kept, than the caller asks for, so no input can exhaust stack or memory. Unlike
 * `JSON.parse` it refuses duplicate keys, lone surrogates and numbers that overflow.
 */
export class JsonReader {
  readonly #text: string;
  readonly #what: string;
  #at = 0;
  #values = 0;

  /**
   * @param text The JSON.
   * @param what What error messages call it.
   */
  constructor(text: string, what: string) {
    this.#text = text;
    this.#what = what;
  }

  /**
   * Reads an object.
   *
   * @param onKey Must read the value that belongs to the key.
   * @param isDoubled Whether a key was there before, if the caller knows; else they are kept here.
   */
  object(onKey: (key: string) => void, isDoubled = createMemory()): void {
    this.#expect("{");
    if (this.#skip("}")) return;
    do {
      const key = this.string();
      if (isDoubled(key)) throw this.error(`the key ${quote(key)} is duplicated`);
      this.#count(1);
      this.#expect(":");
      onKey(key);
    } while (this.#skip(","));
    this.#expect("}");
  }

  /** Reads an array; `onItem` must read the item. */
  array(onItem: (index: number) => void): void {
    this.#expect("[");
    if (this.#skip("]")) return;
    let index = 0;
    do {
      this.#count(1);
      onItem(index++);
    } while (this.#skip(","));
    this.#expect("]");
  }

  /**
   * Reads what is written as usual, if it is: a faster way, which accepts nothing but valid JSON.
   *
   * @param scan Returns the place behind it; -1 if it is written otherwise.
   */
  usual(scan: (text: string, at: number) => number): boolean {
    this.#space();
    const end = scan(this.#text, this.#at);
    if (end < 0) return false;
    this.#at = end;
    return true;
  }

  /** Counts keys and items that `usual` has read. */
  counted(values: number): void {
    this.#count(values);
  }

  /** Reads a string. */
  string(): string {
    this.#space();
    const from = this.#at;
    const end = this.#findPlain();
    if (end >= 0) {
      this.#at = end;
      return this.#text.slice(from + 1, end - 1);
    }
    const last = this.#findString();
    const value = this.#unescape(last);
    if (!value.isWellFormed()) throw this.error("a string has a lone surrogate");
    this.#at = last;
    return value;
  }

  /** Reads a whole number from 0 to 2^53 - 1. */
  count(): number {
    const value = this.scalar();
    if (Number.isSafeInteger(value) && !Object.is(value, -0) && value as number >= 0) {
      return value as number;
    }
    throw this.error(`there must be a whole number from 0 to 2^53 - 1 before this place`);
  }

  /** Reads a string, a finite number, true, false or null. */
  scalar(): Scalar {
    this.#space();
    if (this.#text[this.#at] === '"') return this.string();
    const word = this.#match(WORD);
    if (word !== undefined) return word === "null" ? null : word === "true";
    const digits = this.#match(NUMBER);
    if (digits === undefined) throw this.error("there must be a string, number, boolean or null");
    const value = Number(digits);
    if (!Number.isFinite(value)) throw this.error("the number before this place is too large");
    return value;
  }

  /** Reads a scalar, or `Infinity` or `-Infinity`, which JSON does not have but Python's `json` writes. */
  extended(): Scalar {
    this.#space();
    const word = this.#match(INFINITY);
    return word === undefined ? this.scalar() : Number(word);
  }

  /** Reads a value of any kind, and drops it: what a caller does not know is still checked. */
  skip(depth = 0): void {
    this.#space();
    const first = this.#text[this.#at];
    if (first !== "{" && first !== "[") return void this.scalar();
    if (depth === MAX_DEPTH) throw this.error(`there must be at most ${MAX_DEPTH} levels`);
    if (first === "{") this.object(() => this.skip(depth + 1));
    else this.array(() => this.skip(depth + 1));
  }

  /** Reads a value without parts; one with parts is dropped, and gives undefined. */
  scalarOrSkip(): Scalar | undefined {
    this.#space();
    if (/[[{]/.test(this.#text[this.#at] ?? "")) return void this.skip();
    return this.scalar();
  }

  /** Makes sure that nothing follows. */
  end(): void {
    this.#space();
    if (this.#at < this.#text.length) throw this.error("nothing must follow");
  }

  /** An error that names the place. */
  error(reason: string, cause?: unknown): Error {
    return unreadable(`${this.#what} is not valid at character ${this.#at}: ${reason}`, cause);
  }

  #count(more: number): void {
    this.#values += more;
    if (this.#values > MAX_VALUES) throw this.error(`there must be at most ${MAX_VALUES} values`);
  }

  #expect(char: string): void {
    if (!this.#skip(char)) throw this.error(`there must be ${quote(char)}`);
  }

  #skip(char: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at++;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text)?.[0];
    if (match !== undefined) this.#at += match.length;
    return match;
  }

  /** Where the string that begins here ends, if it is of ASCII without escapes; -1 if it is not. */
  #findPlain(): number {
    const text = this.#text;
    if (text.charCodeAt(this.#at) !== QUOTE) return -1;
    for (let end = this.#at + 1; end < text.length; end++) {
      const code = text.charCodeAt(end);
      if (code === QUOTE) return end + 1;
      if (code === BACKSLASH || code < SPACE || code > TILDE) break;
    }
    return -1;
  }

  /** Where the string that begins here ends. */
  #findString(): number {
    if (this.#text.charCodeAt(this.#at) !== QUOTE) throw this.error("there must be a string");
    for (let end = this.#at + 1; end < this.#text.length; end++) {
      const code = this.#text.charCodeAt(end);
      if (code === QUOTE) return end + 1;
      if (code === BACKSLASH) end++;
    }
    throw this.error("a string does not end");
  }

  #unescape(end: number): string {
    try {
      return JSON.parse(this.#text.slice(this.#at, end));
    } catch (cause) {
      throw this.error("a string is not valid JSON", cause);
    }
  }
}

/** Says of each key whether it was asked for before. */
function createMemory(): (key: string) => boolean {
  const first: string[] = [];
  let seen: Set<string> | undefined;
  return (key) => {
    if (seen?.has(key) ?? first.includes(key)) return true;
    if (seen !== undefined) seen.add(key);
    else if (first.push(key) > FEW_KEYS) seen = new Set(first);
    return false;
  };
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}

/**
 * Writes a value without parts. JSON has every finite number, but `JSON.stringify` drops the sign of
 * zero.
 *
 * @throws {TypeError} If JSON does not have it.
 */
export function writeScalar(key: string, value: unknown): string {
  if (Object.is(value, -0)) return "-0.0";
  const isScalar = value === null || typeof value === "boolean" || Number.isFinite(value) ||
    typeof value === "string" && value.isWellFormed();
  if (!isScalar) {
    const reason = `${key} must be a string, a finite number, true, false or null`;
    throw wrongType("encode the state", reason, value);
  }
  return JSON.stringify(value);
}
