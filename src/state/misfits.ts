/** Says what of an optimizer and of a state dict has no counterpart. */

import { quote } from "../core/validate.ts";
import type { Member, Row } from "./group_pairs.ts";

/** Something that does not match. */
export interface Problem {
  readonly kind: "missing" | "unexpected" | "mismatched" | "regrouped";
  /** Its name, or what stands for its index where there is no name. */
  readonly name: string;
  /** The sentence about it; several may share one. */
  readonly line: string;
}

/** Whether nothing identifies a parameter. */
export function isWithoutName({ name }: Member): boolean {
  return name === null;
}

/** A name that only one side has. */
export function strayName(kind: "missing" | "unexpected", { label, isDoubled }: Member): Problem {
  const missing = isDoubled ? "is in the dict more than once" : "is missing in the dict";
  const where = kind === "missing" ? missing : "is only in the dict";
  return { kind, name: label, line: `${quote(label)} ${where}` };
}

/** A group of one side without parameters, which no group of the other side is like. */
export function emptyGroup(
  kind: "missing" | "unexpected",
  number: number,
  sizes: string | null,
): Problem {
  const [own, other] = kind === "missing" ? ["here", "there"] : ["there", "here"];
  const line = `group ${number} ${own} has no parameters, and no counterpart ${other}`;
  return { kind, name: `group ${number}`, line: sizes ?? line };
}

/** A parameter whose group in the dict is not the counterpart of its group in the optimizer. */
export function regrouped(
  { label, group }: Member,
  there: number,
  counterpart: number | undefined,
): Problem {
  const which = describeCounterpart(there, counterpart, group);
  const line = `${quote(label)} is in group ${there} there${which} and in group ${group} here`;
  return { kind: "regrouped", name: label, line };
}

/** What keeps the sentence from naming the same number twice, as if nothing were wrong. */
function describeCounterpart(there: number, counterpart: number | undefined, here: number): string {
  if (counterpart === undefined) return there === here ? ", which has no counterpart here," : "";
  return counterpart === there ? "" : `, the counterpart of group ${counterpart} here,`;
}

/** All sizes in one sentence, for a dict and an optimizer where nothing but the order counts. */
export function compareSizes(here: readonly number[], there: readonly number[]): string {
  return `without names, groups must have the same sizes: ` +
    `they are [${there.join(", ")}] there and [${here.join(", ")}] here`;
}

/**
 * What the order has not matched in a group, as there are more parameters on one side. If all have
 * names these say which, else the numbers are compared.
 *
 * @param row What was to be matched.
 * @param rest What was not.
 * @param sizes The sentence about sizes, if there is one for all groups.
 */
export function surplus(
  row: Row<Member, Member>,
  rest: Pick<Row<Member, Member>, "here" | "there">,
  sizes: string | null,
): Problem[] {
  const sides = [["missing", rest.here], ["unexpected", rest.there]] as const;
  const isNamed = ![...rest.here, ...rest.there].some(isWithoutName);
  const line = isNamed ? "" : sizes ?? compareRow(row);
  return sides.flatMap(([kind, members]) =>
    members.map((member) => isNamed ? strayName(kind, member) : { kind, name: member.label, line })
  );
}

/** The numbers of parameters in two groups, or in one that has no counterpart. */
function compareRow({ groupHere, groupThere, here, there }: Row<Member, Member>): string {
  const count = ({ length }: readonly unknown[]) =>
    `${length} ${length === 1 ? "parameter" : "parameters"} that no name matches`;
  if (groupHere === undefined) {
    return `group ${groupThere} there has ${count(there)}, and no counterpart here`;
  }
  if (groupThere === undefined) {
    return `group ${groupHere} here has ${count(here)}, and no counterpart there`;
  }
  return `group ${groupThere} there has ${
    count(there)
  }, and group ${groupHere} here has ${here.length}`;
}
