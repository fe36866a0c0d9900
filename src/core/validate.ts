/** The checks of values that a user gives, and the wording of their errors. */

/** The most that rounding leaves of a learning rate that should have come to 0. */
const RESIDUE = 1e-12;

/** Checks a string that goes into a file. */
export function checkText(value: unknown, what: string, orElse = ""): string {
  if (typeof value !== "string" || !value.isWellFormed()) {
    throw wrong(what, `a string without lone surrogates${orElse}`, value);
  }
  return value;
}

/**
 * A learning rate as it is meant: torch's schedules end at about -1e-18 where they come to 0, and torch
 * puts that into its state dicts. Other values stay as they are, to be checked.
 */
export function withoutResidue(lr: unknown): unknown {
  return typeof lr === "number" && lr < 0 && lr >= -RESIDUE ? 0 : lr;
}

/** Checks an object without a class, and copies it: each of its properties is read once. */
export function asObject(value: unknown, what: string): Record<string, unknown> {
  if (!isPlainObject(value)) throw wrong(what, "a plain object", value);
  return { ...value as Record<string, unknown> };
}

/** Whether it has no class: a Map has no keys of its own, and would pass for an empty object. */
export function isPlainObject(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The error of a value that is of another kind. */
export function wrong(what: string, kind: string, value: unknown): TypeError {
  return new TypeError(
    `Cannot use the state dict as ${what} must be ${kind}: current value is ${describe(value)}`,
  );
}

/** Runs a check whose error does not know where it was, and says where. */
export function inside(what: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (error instanceof Error) error.message += ` in ${what}`;
    throw error;
  }
}

/** A value as error messages show it: short, and with its type where that is the point. */
export function describe(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (value === null || typeof value !== "object") return String(value);
  const name = (value as object).constructor?.name;
  return name === undefined || name === "Object" ? "an object" : `of type ${name}`;
}

/**
 * Refuses keys of an options object that do not exist.
 *
 * @throws {TypeError} If there is a key that is not in `known`.
 */
export function checkKnown(options: object, known: readonly string[]): void {
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new TypeError(
        `Cannot read option "${key}" as it does not exist: the options are ${known.join(", ")}`,
      );
    }
  }
}

/** Text from a file as error messages show it: quoted, and short however long it is. */
export function quote(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 79)}…` : text;
  return JSON.stringify(short.toWellFormed());
}
