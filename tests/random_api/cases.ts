/**
 * Random cases: a few operations on a small world, done on every backend in lockstep. After each of
 * them the backends must have done the same, what was refused must be refused in words and have
 * changed nothing, and no byte outside the arrays may be written.
 */

import type { BackendName } from "@descent/sgd";
import { difference, firstOf, look } from "./compare.ts";
import type { Snapshot } from "./compare.ts";
import { arrayOperations } from "./operations/arrays.ts";
import { averageOperations } from "./operations/averages.ts";
import { functionalOperations } from "./operations/functional.ts";
import { groupOperations } from "./operations/groups.ts";
import { isRefusal, textOf } from "./operations/operation.ts";
import type { Operation } from "./operations/operation.ts";
import { stateOperations } from "./operations/state.ts";
import { stepOperations } from "./operations/steps.ts";
import { present } from "./hostile.ts";
import { Random, seedOf } from "./random.ts";
import { makeWorld } from "./world.ts";
import type { World } from "./world.ts";

/** All operations. */
export const OPERATIONS: readonly Operation[] = [
  ...stepOperations,
  ...arrayOperations,
  ...averageOperations,
  ...functionalOperations,
  ...groupOperations,
  ...stateOperations,
];

/** What a run has counted, on each backend alike. */
export interface Counts {
  cases: number;
  operations: number;
  refusals: number;
}

/** A case that failed. */
export class CaseError extends Error {
  /** The number of the case. */
  readonly number: number;

  constructor(number: number, seed: number, operations: readonly string[], cause: unknown) {
    super(
      `Case ${number} of seed ${seed} fails after ${operations.join(", ")}: ${textOf(cause)}\n` +
        `Repeat it: deno task fuzz:api 1 --seed ${seed} --from ${number} --trace`,
      { cause },
    );
    this.number = number;
  }
}

/** How a run is made. */
export interface RunOptions {
  readonly seed: number;
  /** The number of the first case. @default {0} */
  readonly from?: number;
  /** The number of cases. */
  readonly count: number;
  readonly backends: readonly BackendName[];
  /** Called before each operation. */
  readonly onOperation?: (caseNumber: number, name: string) => void;
}

/** What an operation did on one backend. */
interface Outcome {
  readonly notes: readonly unknown[];
  readonly refusal?: string;
  readonly result?: unknown;
  readonly seen: Snapshot;
}

/**
 * Runs cases.
 *
 * @param counts What is counted is added to it.
 * @returns The number of cases.
 * @throws {CaseError} At the first one that fails; the message says how to repeat it.
 */
export async function runCases(options: RunOptions, counts: Counts): Promise<number> {
  const { from = 0, count, seed } = options;
  for (let number = from; number < from + count; number++) {
    const done: string[] = [];
    try {
      await runCase(number, options, counts, done);
    } catch (cause) {
      throw new CaseError(number, seed, done, cause);
    }
    counts.cases++;
  }
  return count;
}

async function runCase(
  number: number,
  { seed, backends, onOperation }: RunOptions,
  counts: Counts,
  done: string[],
): Promise<void> {
  const own = seedOf(seed, number);
  const random = new Random(own);
  const worlds = backends.map((backend) => makeWorld(new Random(seedOf(own, 0)), backend));
  const operations = present(OPERATIONS);
  let seen = worlds.map(look);
  for (let i = random.int(4, 14); i > 0; i--) {
    const operation = random.weighted(operations);
    done.push(operation.name);
    onOperation?.(number, operation.name);
    const outcomes: Outcome[] = [];
    for (const [w, world] of worlds.entries()) {
      outcomes.push(await perform(world, operation, new Random(seedOf(own, done.length)), seen[w]));
    }
    if (worlds[0].memory.hostile.length > 0) {
      done[done.length - 1] += ` (${worlds[0].memory.hostile.splice(0).join(", ")})`;
    }
    compare(worlds, outcomes);
    seen = outcomes.map(({ seen }) => seen);
    counts.operations++;
    counts.refusals += Number(outcomes[0].refusal !== undefined);
  }
}

async function perform(
  world: World,
  { run, atomic = false }: Operation,
  random: Random,
  before: Snapshot,
): Promise<Outcome> {
  world.notes.length = 0;
  world.disturbed = false;
  let outcome: Pick<Outcome, "result" | "refusal">;
  try {
    outcome = { result: await run(world, random) };
  } catch (error) {
    if (!isRefusal(error)) {
      throw new Error(`on ${world.backend}: ${textOf(error)}`, { cause: error });
    }
    outcome = { refusal: textOf(error) };
  }
  const seen = look(world);
  world.memory.checkCanaries();
  if (outcome.refusal !== undefined && atomic && !world.disturbed) {
    const changed = difference(before, firstOf(seen, before.arrays), () => 0);
    if (changed !== null) {
      throw new Error(
        `on ${world.backend} it is refused (${outcome.refusal}) but has changed ${changed}`,
      );
    }
  }
  return { notes: [...world.notes], ...outcome, seen };
}

function compare(worlds: readonly World[], outcomes: readonly Outcome[]): void {
  const tolerance = worlds[0].memory.exact ? () => 0 : toleranceOf;
  for (let i = 1; i < worlds.length; i++) {
    const found = difference(outcomes[0], outcomes[i], tolerance);
    if (found === null) continue;
    throw new Error(`${worlds[0].backend} and ${worlds[i].backend} differ in ${found}`);
  }
}

/** Where products are rounded, results differ in last bits, which later steps may multiply. */
function toleranceOf(name: string): number {
  if (name.includes("bfloat16")) return 2 ** -4;
  if (name.includes("float16")) return 2 ** -7;
  return name.includes("float64") ? 2 ** -40 : 2 ** -16;
}
