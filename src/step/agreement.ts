/** What has to be equal on all ranks of a world: as numbers, which are compared, and in words. */

import type { ExchangeMode, Fact } from "../core/exchange.ts";
import type { Precision } from "../core/rounding.ts";
import {
  BUFFER,
  codeIn,
  groupOf,
  KIND,
  MASTER,
  readGroup,
  readWord,
  ROW,
  SKIP,
  stateOf,
} from "../plan/layout.ts";
import type { Plan } from "../plan/plan.ts";
import type { StepRequest } from "./options.ts";

/** The numbers of what ranks exchange, among the words that have to be equal. */
const NUMBERS: Readonly<Record<ExchangeMode, number>> = { gradients: 0, shards: 1, signs: 2 };

/** Numbers of which the first one says what is exchanged. */
export function withMode(mode: ExchangeMode, words: Uint32Array): Uint32Array {
  return joined(Uint32Array.of(NUMBERS[mode]), words);
}

/** What is exchanged, in words. */
export function modeFact(mode: ExchangeMode): Fact {
  return { what: "exchange", text: `is "${mode}"` };
}

/** Numbers of what a step relies on: rows, gradients, hyperparameters, options and random bits. */
export function stepWords(plan: Plan, request: StepRequest, { random }: Precision): Uint32Array {
  const { halves, groupRows, table: { count } } = plan;
  const numbers = new Float64Array([
    ...[request.gradScale, request.maxNorm ?? -1, Number(request.perGroup), request.maxValue],
    ...[request.normType, Number(request.isSkipped), Number(request.checkFinite)],
    ...[Number(request.zeroGrad), random.seed, random.counter],
  ]);
  const words = new Uint32Array(count * 4 + 2 * groupRows.length + 2 * numbers.length);
  for (let row = 0; row < count; row++) {
    const at = row * ROW;
    words[4 * row] = halves[2 * (at + KIND)];
    words[4 * row + 1] = halves[2 * (at + KIND) + 1];
    words[4 * row + 2] = lengthWord(plan, row);
  }
  words.set(
    new Uint32Array(groupRows.buffer, groupRows.byteOffset, 2 * groupRows.length),
    count * 4,
  );
  words.set(new Uint32Array(numbers.buffer), count * 4 + 2 * groupRows.length);
  return words;
}

/** For each row whether something is added to its gradient; nothing if that holds for none. */
export function addedWords({ addends, table }: Plan): Uint32Array {
  if (addends.arrays.length === 0) return new Uint32Array(0);
  return Uint32Array.from({ length: table.count }, (_, row) => Number(addends.of(row) !== null));
}

/** Numbers, and others after them. */
export function joined(first: Uint32Array, second: Uint32Array): Uint32Array {
  if (second.length === 0) return first;
  const all = new Uint32Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

/** The lower half of a length. */
function lengthWord({ table }: Plan, row: number): number {
  return table.lengthAt(row) % 2 ** 32;
}

/** Numbers of the parameters: their types, groups, lengths and names. */
export function layoutWords(plan: Plan): Uint32Array {
  const { table, halves } = plan;
  const words: number[] = [];
  for (let row = 0; row < table.count; row++) {
    words.push(codeIn(halves, row), groupOf(halves, row), lengthWord(plan, row));
    for (const letter of [...table.name(row, "data"), "\0"]) words.push(letter.codePointAt(0)!);
  }
  return Uint32Array.from(words);
}

/** The parameters in words. */
export function layoutFacts({ table, halves }: Plan): Fact[] {
  const of = "parameters";
  const facts: Fact[] = [{ of, what: "the optimizer", text: `has ${table.count} parameters` }];
  for (let row = 0; row < table.count; row++) {
    const { dtype } = table.typesAt(row);
    const what = nameOf(table.name(row, "data"));
    facts.push(
      { of, what: `parameter ${row}`, text: `is called ${what}` },
      { of, what, text: `has ${table.lengthAt(row)} elements` },
      { of, what: `the type of ${what}`, text: `is ${dtype.name}` },
      { of, what: `the group of ${what}`, text: `is ${groupOf(halves, row)}` },
    );
  }
  return facts;
}

/** `parameter 3 ("w")`, of `data of parameter 3 ("w")`. */
function nameOf(data: string): string {
  return data.slice(data.indexOf(" of ") + 4);
}

/** Which gradients there are, and to which others are added. */
export function gradientFacts({ table, halves, addends }: Plan): Fact[] {
  const of = "gradients";
  const remedy = "use zeros where there is no gradient";
  return Array.from({ length: table.count }, (_, row) => {
    const grad = table.name(row, "grad");
    const textOf = (isThere: boolean) => isThere ? "is an array" : "is null";
    return [
      { of, what: grad, text: textOf(stateOf(halves, row) !== SKIP), remedy },
      { of, what: `what is added to ${grad}`, text: textOf(addends.of(row) !== null), remedy },
    ];
  }).flat();
}

/** Which parameters have momentum and master weights. */
export function stateFacts({ table, halves }: Plan): Fact[] {
  const hasAt = (row: number, word: number) => readWord(halves, row * ROW + word) !== 0;
  return Array.from({ length: table.count }, (_, row) => [
    {
      what: table.name(row, table.momentumName(row)),
      text: hasAt(row, BUFFER) ? "is there" : "is null",
    },
    { what: table.name(row, table.masterName), text: hasAt(row, MASTER) ? "is there" : "is null" },
  ]).flat();
}

/** Hyperparameters and the options of a step. */
export function optionFacts(plan: Plan, request: StepRequest, { random }: Precision): Fact[] {
  const groups = plan.groups.flatMap((_, group) =>
    Object.entries(readGroup(plan.groupRows, group)).map((entry) => ({
      of: "hyperparameters",
      what: `${entry[0]} of group ${group}`,
      text: `is ${entry[1]}`,
    }))
  );
  const { gradScale, maxNorm, normType, perGroup, maxValue, checkFinite, zeroGrad } = request;
  const options = {
    ...{ gradScale, maxNorm, normType, maxNormPer: perGroup ? "group" : "optimizer", maxValue },
    "what scaler.unscale has found": request.isSkipped ? "infinite or NaN" : "finite",
    ...{ checkFinite, zeroGrad, seed: random.seed, "the count of random steps": random.counter },
  };
  const rest = Object.entries(options).map(([what, value]) => {
    return { of: "options", what, text: `is ${value}` };
  });
  return [...groups, ...rest];
}
