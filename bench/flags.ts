/** Command lines of the tools. */

import { parseArgs } from "@std/cli/parse-args";

/** The options that a tool has. */
export interface Options {
  /** Options that are there or not. */
  readonly switches?: readonly string[];
  /** Options with a text. */
  readonly texts?: readonly string[];
  /** Options with a number above 0. */
  readonly numbers?: readonly string[];
  /** The text of --help. */
  readonly help: string;
}

/** What a command line said. */
// deno-lint-ignore no-explicit-any -- each tool knows the types of its own options
export type Flags = Readonly<Record<string, any>>;

/** Reads a command line; prints the help, and below it what is wrong, and ends the program then. */
export function readFlags(
  args: readonly string[],
  { switches = [], texts = [], numbers = [], help }: Options,
): Flags {
  const unknown: string[] = [];
  const flags: Record<string, unknown> = parseArgs([...args], {
    boolean: [...switches, "help"],
    string: [...texts, ...numbers],
    unknown: (arg: string) => {
      unknown.push(arg);
      return false;
    },
  });
  if (flags.help) {
    console.log(help);
    Deno.exit(0);
  }
  if (unknown.length > 0) fail(`Cannot read ${unknown[0]} as it is not an option`, help);
  for (const name of [...texts, ...numbers]) {
    if (flags[name] === "") fail(`Cannot read --${name} as its value is missing`, help);
  }
  for (const name of numbers) {
    if (flags[name] === undefined) continue;
    const value = Number(flags[name]);
    if (!(value > 0 && value < Infinity)) {
      fail(
        `Cannot set --${name} as it must be a number > 0: current value is ${flags[name]}`,
        help,
      );
    }
    flags[name] = value;
  }
  return flags;
}

/** Says why a program cannot do what its command line asks for, and ends it. */
export function refuse(message: string): never {
  console.error(message);
  Deno.exit(2);
}

/** Ends a program whose --only fits nothing, and names what there is. */
export function refuseOnly(only: string, names: readonly string[]): never {
  const list = names.map((name) => `\n  ${name}`).join("");
  refuse(`The rows are:${list}\n\nCannot measure as no row has "${only}" in its name`);
}

function fail(message: string, help: string): never {
  refuse(`${help}\n\n${message}`);
}
