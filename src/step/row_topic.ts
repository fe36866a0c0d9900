/** The rows of an optimizer, as the ranks of a world compare them. */

import type { Fact, Topic } from "../core/exchange.ts";
import { label, nameArray } from "../core/parameter.ts";
import type { ArrayName } from "../core/parameter.ts";
import {
  BUFFER,
  FIRST,
  FORMAT_GRAD_F32,
  FORMAT_MOMENTUM8,
  groupOf,
  KIND,
  LENGTH,
  MASTER,
  ROW,
  SKIP,
  STATE_BITS,
} from "../plan/layout.ts";
import { BUFFER_IS_NEW, CORRECTION_IS_STALE, MASTER_IS_NEW } from "../plan/marks.ts";
import type { Plan } from "../plan/plan.ts";

/** A parameter, as it was when it was added: its name is not read again. */
export interface Member {
  readonly name: string | undefined;
  /** Its number among all parameters that have been added, from 1 on. */
  readonly number: number;
}

/** Bits of what a row has. */
export const HAS_MOMENTUM = 1;
export const HAS_MASTER = 2;
/** The correction belongs to other data. */
const IS_STALE = 4;
/** Something is added to its gradient. */
const IS_ADDED_TO = 8;

/**
 * What rows have: for a step gradients, and the state with which it is taken; otherwise the state that is
 * remembered, or the one that a function gives, in bits.
 */
export type RowSource = "step" | "state" | ((row: number) => number);

/** What to do where one rank has no gradient. */
const ZEROS = "use zeros where there is no gradient";

/** Numbers of a row. */
const STRIDE = 4;

/** What does not depend on the gradient, in the lower half of a row's kind. */
const KEPT = (1 << STATE_BITS) - 1 & ~FORMAT_GRAD_F32;

/** The rows of a plan: which parameters they are, their types, lengths, groups, gradients and state. */
export function rowTopic(plan: Plan, members: readonly Member[], source: RowSource): Topic {
  const { halves, table } = plan;
  const numbers = new Uint32Array(STRIDE * table.count);
  const isStep = source === "step";
  const kept = isStep ? -1 : KEPT;
  for (let row = 0, at = 0, word = 0; row < table.count; row++, at += STRIDE, word += 2 * ROW) {
    numbers[at] = halves[word + 2 * KIND] & kept;
    numbers[at + 1] = halves[word + 2 * KIND + 1] + halves[word + 2 * LENGTH + 1] * 2 ** 20;
    numbers[at + 2] = halves[word + 2 * LENGTH];
    const bits = typeof source === "function" ? source(row) : stateBits(plan, row, isStep);
    numbers[at + 3] = members[row].number * 16 + bits;
  }
  return {
    numbers,
    stride: STRIDE,
    facts: (row) => {
      const of = numbers.subarray(row * STRIDE, (row + 1) * STRIDE);
      const member = members[row];
      return [...layoutFacts(plan, row, member), ...stateFacts(plan, row, member, of, isStep)];
    },
  };
}

/** Which state a row has, in bits. Before a step that includes what is new. */
export function stateBits({ halves, table, addends }: Plan, row: number, isStep = false): number {
  const [buffer, master] = [2 * (row * ROW + BUFFER), 2 * (row * ROW + MASTER)];
  const marks = table.marks[row];
  let bits = 0;
  if ((halves[buffer] | halves[buffer + 1]) !== 0) bits |= HAS_MOMENTUM;
  if ((halves[master] | halves[master + 1]) !== 0) bits |= HAS_MASTER;
  if ((marks & CORRECTION_IS_STALE) !== 0) bits |= IS_STALE;
  if (isStep) {
    return addends.arrays.length > 0 && addends.of(row) !== null ? bits | IS_ADDED_TO : bits;
  }
  if ((marks & BUFFER_IS_NEW) !== 0) bits &= ~HAS_MOMENTUM;
  return (marks & MASTER_IS_NEW) !== 0 ? bits & ~HAS_MASTER : bits;
}

function layoutFacts({ table, halves }: Plan, row: number, member: Member): Fact[] {
  const of = "parameters";
  const what = label(member, row);
  const length = table.lengthAt(row);
  return [
    { of, what: `parameter ${row}`, text: nameText(member) },
    { of, what, text: `has ${length} ${length === 1 ? "element" : "elements"}` },
    { of, what: `the type of ${what}`, text: `is ${table.typesAt(row).dtype.name}` },
    { of, what: `the group of ${what}`, text: `is ${groupOf(halves, row)}` },
    { of, what, text: `is the one that was added as number ${member.number}` },
  ];
}

/** What a parameter is called. */
export function nameText({ name }: Member): string {
  return name === undefined ? "has no name" : `is called ${JSON.stringify(name)}`;
}

function stateFacts(
  { table }: Plan,
  row: number,
  member: Member,
  [kind, , , bits]: Uint32Array,
  isStep: boolean,
): Fact[] {
  const called = (array: ArrayName) => nameArray(member, row, array);
  const momentum = (bits & HAS_MOMENTUM) !== 0;
  const state = kind >>> STATE_BITS;
  const isWide = (kind & FORMAT_GRAD_F32) !== 0;
  const old = (bits & IS_STALE) !== 0 ? "belongs to other data" : "is there";
  const master = (bits & HAS_MASTER) !== 0 ? old : "is null";
  const gradient: Fact[] = !isStep ? [] : [
    {
      ...{ of: "gradients", what: called("grad"), remedy: ZEROS },
      text: state === SKIP ? "is null" : "is an array",
    },
    {
      ...{ of: "gradients", what: `the type of ${called("grad")}` },
      text: `is ${isWide ? "float32" : table.typesAt(row).dtype.name}`,
    },
    {
      ...{ of: "gradients", what: `what is added to ${called("grad")}`, remedy: ZEROS },
      text: (bits & IS_ADDED_TO) !== 0 ? "is an array" : "is null",
    },
  ];
  const beginning = momentum && isStep && state === FIRST ? "begins with this step" : "is there";
  return [
    ...gradient,
    {
      ...{ of: "states", what: `the momentum of ${label(member, row)}` },
      text: `has ${(kind & FORMAT_MOMENTUM8) !== 0 ? 8 : 32} bits`,
    },
    {
      ...{ of: "states", what: called(table.momentumName(row)) },
      text: momentum ? beginning : "is null",
    },
    { of: "states", what: called(table.masterName), text: master },
  ];
}
