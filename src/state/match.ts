/** Finds which parameter of an optimizer is which of a state dict. */

import type { ParamGroup } from "../group.ts";
import type { Parameter, Tensor } from "../parameter.ts";
import type { CheckedGroup } from "./state_dict.ts";

/** A group of the optimizer and the group of the dict whose hyperparameters it gets. */
export interface Pair {
  readonly here: ParamGroup<Tensor>;
  readonly there: CheckedGroup;
}

/** A parameter of the optimizer and its index in the dict. */
export interface Match {
  readonly parameter: Parameter<Tensor>;
  /** Its own index in the optimizer. */
  readonly index: number;
  /** Its index in the dict. */
  readonly id: number;
  /** What reports call it. */
  readonly name: string;
}

/** Something that has no counterpart. */
export interface Problem {
  readonly kind: "missing" | "unexpected" | "mismatched";
  /** Its name, or its index where there are no names. */
  readonly name: string;
  /** What is wrong with it, to go after its name. */
  readonly reason: string;
}

/** What belongs together, and what does not. */
export interface Matching {
  readonly pairs: Pair[];
  readonly matches: Match[];
  readonly problems: Problem[];
}

/** A group of either side. */
interface Side<Group, Member> {
  readonly group: Group;
  readonly members: readonly Member[];
  /** The members' names, if all have one. */
  readonly names: readonly string[] | null;
  /** What reports call the members. */
  readonly labels: readonly string[];
}

type Here = Side<
  ParamGroup<Tensor>,
  { readonly parameter: Parameter<Tensor>; readonly index: number }
>;
type There = Side<CheckedGroup, number>;

/**
 * Matches groups and parameters: by name where both sides have names, else in order. If all groups
 * of both sides have names, groups are matched by the names in them, and else in order too.
 */
export function match(
  groups: readonly ParamGroup<Tensor>[],
  saved: readonly CheckedGroup[],
): Matching {
  const here = describeHere(groups);
  const there = describeThere(saved);
  const named = [...here, ...there].every(({ names }) => names !== null);
  const doubled = new Set([...repeatedNames(here), ...repeatedNames(there)]);
  const partners = named ? pairByName(here, there, doubled) : here.map((_, i) => there[i]);
  const found: Matching = { pairs: [], matches: [], problems: [] };
  const alone = (kind: typeof missing) => (name: string) =>
    named && doubled.has(name) ? ambiguous(name) : kind(name);
  for (const [i, side] of here.entries()) {
    const partner = partners[i];
    if (partner !== undefined) matchMembers(side, partner, doubled, found);
    else found.problems.push(...side.labels.map(alone(missing)));
  }
  for (const side of there.filter((side) => !partners.includes(side))) {
    found.problems.push(
      ...(side.labels.length > 0 ? side.labels : ["(no name)"]).map(alone(unexpected)),
    );
  }
  return { ...found, problems: withoutRepeats(found.problems) };
}

/** A doubled name is found once for each parameter that has it, and listed once. */
function withoutRepeats(problems: readonly Problem[]): Problem[] {
  const listed = new Set<string>();
  return problems.filter(({ kind, name }) =>
    kind !== "mismatched" || !listed.has(name) && listed.add(name)
  );
}

function describeHere(groups: readonly ParamGroup<Tensor>[]): Here[] {
  let index = 0;
  return groups.map((group) => {
    const members = group.params.map((parameter) => ({ parameter, index: index++ }));
    const names = group.params.flatMap(({ name }) => name === undefined ? [] : [name]);
    const labels = members.map(({ parameter, index }) => parameter.name ?? String(index));
    return { group, members, labels, names: names.length === members.length ? names : null };
  });
}

function describeThere(groups: readonly CheckedGroup[]): There[] {
  return groups.map((group) => {
    const { params, names } = group;
    return { group, members: params, names, labels: names ?? params.map(String) };
  });
}

/** For each group here its counterpart, if there is one; each group there is used once. */
function pairByName(
  here: readonly Here[],
  there: readonly There[],
  doubled: ReadonlySet<string>,
): (There | undefined)[] {
  const holders = new Map<string, There>();
  for (const side of there) {
    for (const name of side.names!) {
      if (!doubled.has(name)) holders.set(name, side);
    }
  }
  const free = new Set(there);
  return here.map(({ names }) => {
    const partner = names!.map((name) => holders.get(name)).find((side) => free.has(side!));
    if (partner !== undefined) free.delete(partner);
    return partner;
  });
}

function matchMembers(
  here: Here,
  there: There,
  doubled: ReadonlySet<string>,
  { pairs, matches, problems }: Matching,
): void {
  pairs.push({ here: here.group, there: there.group });
  const byName = here.names !== null && there.names !== null;
  const keysHere = byName ? here.names : positions(here);
  const keysThere = byName ? there.names : positions(there);
  const ids = new Map(keysThere.map((key, i) => [key, there.members[i]]));
  for (const [i, key] of keysHere.entries()) {
    const name = here.labels[i];
    const id = ids.get(key);
    if (byName && doubled.has(key)) problems.push(ambiguous(name));
    else if (id === undefined) problems.push(missing(name));
    else matches.push({ ...here.members[i], id, name });
  }
  const known = new Set(keysHere);
  for (const [i, key] of keysThere.entries()) {
    const kind = byName && doubled.has(key) ? ambiguous : unexpected;
    if (!known.has(key)) problems.push(kind(there.labels[i]));
  }
}

function positions({ members }: { readonly members: readonly unknown[] }): string[] {
  return members.map((_, i) => String(i));
}

function repeatedNames(sides: readonly { readonly names: readonly string[] | null }[]): string[] {
  const seen = new Set<string>();
  return sides.flatMap(({ names }) => names ?? [])
    .filter((name) => seen.has(name) || !seen.add(name));
}

function missing(name: string): Problem {
  return { kind: "missing", name, reason: "is missing in the dict" };
}

function unexpected(name: string): Problem {
  return { kind: "unexpected", name, reason: "is only in the dict" };
}

function ambiguous(name: string): Problem {
  return { kind: "mismatched", name, reason: "is the name of several parameters" };
}
