/** The checks of values that a caller gives, and the wording of their errors. */

/** The largest learning rate that counts as 0, where rounding has made it negative. */
const RESIDUE = 1e-12;

/** What a number must be. */
export interface Limit {
  /** The words that follow "it must be" in error messages. */
  readonly text: string;
  /** Whether a number is within the limit. */
  holds(value: number): boolean;
}

/** The limit of most hyperparameters. */
export const NOT_NEGATIVE: Limit = {
  text: "finite and >= 0",
  holds: (value) => value >= 0 && value < Infinity,
};

/** The limit of a threshold, which may be infinite. */
export const THRESHOLD: Limit = { text: ">= 0", holds: (value) => value >= 0 };

/** The limit of a divisor. */
export const POSITIVE: Limit = {
  text: "finite and > 0",
  holds: (value) => value > 0 && value < Infinity,
};

/** The limit of a factor that lets something grow. */
export const ABOVE_ONE: Limit = {
  text: "finite and > 1",
  holds: (value) => value > 1 && value < Infinity,
};

/** The limit of a factor that lets something shrink. */
export const BELOW_ONE: Limit = { text: "> 0 and < 1", holds: (value) => value > 0 && value < 1 };

/** The limit of a fraction that may be 0. */
export const SHARE: Limit = { text: ">= 0 and <= 1", holds: (value) => value >= 0 && value <= 1 };

/** The limit of a fraction that is used as a divisor. */
export const POSITIVE_SHARE: Limit = {
  text: "> 0 and <= 1",
  holds: (value) => value > 0 && value <= 1,
};

/** The limit of a step, or of a number of steps. */
export const WHOLE: Limit = {
  text: "a whole number >= 0",
  holds: (value) => Number.isSafeInteger(value) && value >= 0,
};

/** The same limit, for numbers that may well be as large as it allows. */
export const SAFE_WHOLE: Limit = {
  text: "a whole number from 0 to 2^53 - 1",
  holds: WHOLE.holds,
};

/** The limit of a number of steps that is used as a divisor. */
export const COUNT: Limit = {
  text: "a whole number >= 1",
  holds: (value) => Number.isSafeInteger(value) && value >= 1,
};

/**
 * The sentence of an error. Every error that says what could not be done begins here.
 *
 * @param doing The words after "Cannot", such as `step`.
 * @param reason Why not, such as `params must not be empty`.
 * @param more What there is instead, or what to do, where the reason does not say so.
 */
export function cannot(doing: string, reason: string, more?: string): string {
  return `Cannot ${doing} as ${reason}${more === undefined ? "" : `: ${more}`}`;
}

/** The sentence of an error whose reason is in the words of somebody else, such as the system. */
export function failure(doing: string, words: string): string {
  return `Cannot ${doing}: ${words}`;
}

/**
 * The sentence of an error for a value that does not fit.
 *
 * @param doing The words after "Cannot", such as `set lr`.
 * @param reason What is required, such as `it must be a number`.
 * @param shown The value that was given instead, as text.
 * @param kind What the value is; a plural if there are several. @default {"value"}
 */
export function refusal(doing: string, reason: string, shown: unknown, kind = "value"): string {
  return cannot(doing, mismatch(reason, shown, kind));
}

/** The second half of the sentence, for errors that begin with words of their own. */
export function mismatch(reason: string, shown: unknown, kind = "value"): string {
  return `${reason}: current ${kind} ${kind.endsWith("s") ? "are" : "is"} ${shown}`;
}

/** The error for a value of the wrong type. */
export function wrongType(doing: string, reason: string, value: unknown): TypeError {
  return new TypeError(refusal(doing, reason, describe(value)));
}

/** The error for a number that is not within its limit. */
export function outOfRange(doing: string, reason: string, value: number): RangeError {
  return new RangeError(refusal(doing, reason, value));
}

/** The error for a value of the wrong type in a state dict. */
export function wrong(what: string, kind: string, value: unknown): TypeError {
  return wrongType("use the state dict", `${what} must be ${kind}`, value);
}

/** Runs a check whose error cannot name the place of the value, and appends the place. */
export function inside(what: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (error instanceof Error) error.message += ` in ${what}`;
    throw error;
  }
}

/** A value as error messages show it: short, and with its type where the type is the point. */
export function describe(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (value === null || typeof value !== "object") return String(value);
  const name = (value as object).constructor?.name;
  return name === undefined || name === "Object" ? "an object" : `of type ${name}`;
}

/** Text from a file as error messages show it: quoted, and short however long it is. */
export function quote(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 79)}…` : text;
  return JSON.stringify(short.toWellFormed());
}

/**
 * Checks a number.
 *
 * @throws {TypeError} If it is not a number.
 * @throws {RangeError} If it is not within the limit.
 */
export function checkNumber(
  name: string,
  value: unknown,
  limit: Limit,
): asserts value is number {
  if (typeof value !== "number") throw wrongType(`set ${name}`, "it must be a number", value);
  if (!limit.holds(value)) throw outOfRange(`set ${name}`, `it must be ${limit.text}`, value);
}

/**
 * Checks a switch.
 *
 * @param others What else the option may be, as error messages say it.
 * @throws {TypeError} If it is neither true nor false.
 */
export function checkBoolean(
  name: string,
  value: unknown,
  others: readonly string[] = [],
): asserts value is boolean {
  if (typeof value === "boolean") return;
  throw wrongType(`set ${name}`, `it must be ${listOf(["true", "false", ...others])}`, value);
}

/** Words as a sentence has them: `a, b or c`. */
function listOf(words: readonly string[]): string {
  return `${words.slice(0, -1).join(", ")} or ${words.at(-1)}`;
}

/**
 * Checks that a value is one of a few words.
 *
 * @throws {TypeError} If it is not.
 */
export function checkWord(name: string, value: unknown, words: readonly string[]): void {
  if (words.includes(value as string)) return;
  const list = listOf(words.map((word) => `"${word}"`));
  throw wrongType(`set ${name}`, `it must be ${list}`, value);
}

/**
 * Checks a string.
 *
 * @param doing The words after "Cannot" in the error.
 * @param what What must be a string.
 * @throws {TypeError} If it is not.
 */
export function checkString(doing: string, value: unknown, what = "it"): asserts value is string {
  if (typeof value !== "string") throw wrongType(doing, `${what} must be a string`, value);
}

/** Checks a string that is written to a file. */
export function checkText(value: unknown, what: string, orElse = ""): string {
  if (typeof value !== "string" || !value.isWellFormed()) {
    throw wrong(what, `a string without lone surrogates${orElse}`, value);
  }
  return value;
}

/**
 * Checks an array.
 *
 * @param doing The words after "Cannot" in the error.
 * @param what What must be an array.
 * @throws {TypeError} If it is not.
 */
export function checkArray(
  doing: string,
  value: unknown,
  what: string,
): asserts value is unknown[] {
  if (!Array.isArray(value)) throw wrongType(doing, `${what} must be an array`, value);
}

/**
 * Checks an object, such as one with options.
 *
 * @param doing The words after "Cannot" in the error.
 * @param what What must be an object.
 * @throws {TypeError} If it is not an object, or is an array.
 */
export function checkObject(
  doing: string,
  value: unknown,
  what = "options",
): asserts value is object {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return;
  throw wrongType(doing, `${what} must be an object`, value);
}

/**
 * Checks that options are an object without unknown keys.
 *
 * @throws {TypeError} If they are not.
 */
export function checkOptions(
  options: unknown,
  known: readonly string[],
): asserts options is object {
  checkObject("read the options", options, "they");
  checkKnown(options, known);
}

/**
 * Refuses keys of an options object that do not exist, and instances of classes that have no keys of
 * their own, such as an optimizer, or inherit options: these would be left out without a word.
 *
 * @throws {TypeError} If there is a key that is not in `known`, or it is such an instance.
 */
export function checkKnown(options: object, known: readonly string[]): void {
  const keys = Object.keys(options);
  const inherits = (key: string) => key in options && !Object.hasOwn(options, key);
  if (!isPlainObject(options) && (keys.length === 0 || known.some(inherits))) {
    throw wrongType("read the options", "they must be a plain object", options);
  }
  for (const key of keys) {
    if (!known.includes(key)) {
      throw new TypeError(
        cannot(`read option "${key}"`, "it does not exist", `the options are ${known.join(", ")}`),
      );
    }
  }
}

/** Checks an object without a class, and copies it: each of its properties is read once. */
export function asObject(value: unknown, what: string): Record<string, unknown> {
  if (!isPlainObject(value)) throw wrong(what, "a plain object", value);
  return { ...value as Record<string, unknown> };
}

/**
 * Whether a value has no class: a Map has no keys of its own, and would pass for an empty object.
 */
export function isPlainObject(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/**
 * A learning rate without rounding errors: torch's schedules end at about -1e-18 where they should
 * reach 0, and torch writes that to its state dicts. Other values are returned as they are.
 */
export function withoutResidue(lr: unknown): unknown {
  return typeof lr === "number" && lr < 0 && lr >= -RESIDUE ? 0 : lr;
}
