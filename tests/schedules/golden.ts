/** Reads torch's learning rates, and makes the schedules that they are of. */

import { SGD } from "@descent/sgd";
import * as schedules from "@descent/sgd/schedules";
import type { Parameter } from "@descent/sgd";
import type { ReduceLROnPlateauOptions, Schedule } from "@descent/sgd/schedules";

/** A schedule as `make_schedules.py` writes it: the function that makes it, and its arguments. */
export type Spec = [name: string, ...args: unknown[]];

/** What a scheduler of torch made of an optimizer with a group per learning rate. */
export interface Course {
  readonly schedule: Spec;
  /** Whether it holds neither cosines nor powers. */
  readonly exact: boolean;
  readonly lrs: readonly number[];
  /** The steps of the rows that follow. */
  readonly at: readonly number[];
  readonly lr: readonly (readonly number[])[];
  readonly momentum?: readonly (readonly number[])[];
}

/** What torch's ReduceLROnPlateau made of metrics. */
export interface Plateau {
  readonly plateau: ReduceLROnPlateauOptions;
  readonly lrs: readonly number[];
  readonly metrics: readonly (number | string)[];
  readonly rows: readonly (readonly [
    lrs: number[],
    best: number | string,
    bad: number,
    cooldown: number,
  ])[];
}

/** What is done to schedulers of one optimizer, and what torch makes of it. */
export interface Acts {
  readonly acts: readonly Act[];
  readonly exact: boolean;
  readonly lrs: readonly number[];
  /** After each act the learning rates, and what torch has as `initial_lr`. */
  readonly rows: readonly (readonly [lrs: number[], initialLrs: (number | null)[]])[];
}

/** An act, as `make_schedules.py` describes it. */
export type Act =
  | ["make", Spec]
  | ["step", scheduler: number, metric?: number]
  | ["add", lr: number]
  | ["assign", group: number, lr: number]
  | ["load"]
  | ["save"]
  | ["restore"]
  | ["resume"];

const lines = Deno.readTextFileSync(new URL("../golden/schedules.jsonl", import.meta.url))
  .trim().split("\n").map((line) => JSON.parse(line));

export const courses: readonly Course[] = lines.filter((line) => "schedule" in line);
export const plateaus: readonly Plateau[] = lines.filter((line) => "plateau" in line);

export const several: readonly Acts[] = lines.filter((line) => "acts" in line);

/** The schedules of a course, one for each group. */
export function schedulesOf({ schedule: [name, options], schedule, lrs }: Course): Schedule[] {
  return lrs.map((_, i) => make(name === "oneCycleLR" ? [name, memberOf(options!, i)] : schedule));
}

/** What holds for one group of options that may be lists. */
function memberOf(options: object, i: number): object {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => [key, Array.isArray(value) ? value[i] : value]),
  );
}

/** The functions that options name, as `make_schedules.py` has them too. */
const FUNCTIONS: Record<string, (x: number) => number> = {
  inverse: (x) => 1 / (1 + x),
  alternate: (x) => x % 3 === 0 ? 0.5 : 1.1,
  shrink: () => 0.95,
};

function withFunctions(options: unknown): unknown {
  if (typeof options !== "object" || options === null || Array.isArray(options)) return options;
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) =>
      typeof value?.fn === "string" ? [key, FUNCTIONS[value.fn]] : [key, value]
    ),
  );
}

/** Makes a schedule. */
export function make([name, first, ...rest]: Spec): Schedule {
  const create = schedules[name as keyof typeof schedules] as (...args: unknown[]) => Schedule;
  const isComposed = name === "sequentialLR" || name === "chainedScheduler";
  return create(isComposed ? (first as Spec[]).map(make) : withFunctions(first), ...rest);
}

/** An optimizer with a group, of one parameter, per learning rate. */
export function optimizerOf(
  lrs: readonly number[],
): { optimizer: SGD; params: Parameter[] } {
  const params = lrs.map((_, i) => ({
    data: Float32Array.of(i, 1),
    grad: Float32Array.of(0.5, 0.1 * i),
    name: `w${i}`,
  }));
  const groups = params.map((w, i) => ({ params: [w], lr: lrs[i] }));
  const optimizer = new SGD(groups, { lr: 1, momentum: 0.9, backend: "js" });
  return { optimizer, params };
}
