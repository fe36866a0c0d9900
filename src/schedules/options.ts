/** Checks of what schedules are made with. */

import { checkKnown, describe } from "../core/validate.ts";

/** What an option must be, as error messages say it. */
export interface Limit {
  /** To go after "it must be". */
  readonly text: string;
  /** Whether a number is within it. */
  holds(value: number): boolean;
}

/** A number that a hyperparameter may be. */
export const NOT_NEGATIVE: Limit = {
  text: "finite and >= 0",
  holds: (value) => value >= 0 && value < Infinity,
};

/** A divisor. */
export const POSITIVE: Limit = {
  text: "finite and > 0",
  holds: (value) => value > 0 && value < Infinity,
};

/** A share that may be nothing. */
export const SHARE: Limit = { text: ">= 0 and <= 1", holds: (value) => value >= 0 && value <= 1 };

/** A share that is divided by. */
export const POSITIVE_SHARE: Limit = {
  text: "> 0 and <= 1",
  holds: (value) => value > 0 && value <= 1,
};

/** A step, or a number of them. */
export const WHOLE: Limit = {
  text: "a whole number >= 0",
  holds: (value) => Number.isSafeInteger(value) && value >= 0,
};

/** A number of steps that is divided by. */
export const COUNT: Limit = {
  text: "a whole number >= 1",
  holds: (value) => Number.isSafeInteger(value) && value >= 1,
};

/**
 * Checks that options are an object with no unknown keys.
 *
 * @throws {TypeError} If they are not.
 */
export function checkOptions(options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(
      `Cannot read the options as they must be an object: current value is ${describe(options)}`,
    );
  }
  checkKnown(options, known);
}

/**
 * Checks one number.
 *
 * @throws {TypeError} If it is no number.
 * @throws {RangeError} If it is not within the limit.
 */
export function checkOption(name: string, value: unknown, limit: Limit): void {
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot set ${name} as it must be a number: current value is ${describe(value)}`,
    );
  }
  if (!limit.holds(value)) {
    throw new RangeError(
      `Cannot set ${name} as it must be ${limit.text}: current value is ${value}`,
    );
  }
}

/**
 * Checks that a value is one of a few words.
 *
 * @throws {TypeError} If it is not.
 */
export function checkWord(name: string, value: unknown, words: readonly string[]): void {
  if (words.includes(value as string)) return;
  const list = words.map((word) => `"${word}"`).join(" or ");
  throw new TypeError(
    `Cannot set ${name} as it must be ${list}: current value is ${describe(value)}`,
  );
}

/**
 * Checks a switch.
 *
 * @throws {TypeError} If it is not true or false.
 */
export function checkSwitch(name: string, value: unknown): void {
  if (typeof value === "boolean") return;
  throw new TypeError(
    `Cannot set ${name} as it must be true or false: current value is ${describe(value)}`,
  );
}
