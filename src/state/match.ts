/**
 * Finds which parameter of an optimizer is which of a state dict.
 *
 * A name that both sides have decides. What is left is matched in order, group by group; a name that
 * only one side has does not keep a parameter from that, as long as the other side has no such name
 * too, and as many are left: else it could get the state of a parameter that is called otherwise.
 */

import type { ParamGroup } from "../core/hyperparameters.ts";
import type { Parameter } from "../core/parameter.ts";
import type { Tensor } from "../core/dtype.ts";
import { emptyOf, pairEmpty, pairGroups, rowsOf } from "./group_pairs.ts";
import type { Member, Row } from "./group_pairs.ts";
import { labelsFor } from "./labels.ts";
import type { Label } from "./labels.ts";
import {
  compareSizes,
  emptyGroup,
  isWithoutName,
  regrouped,
  strayName,
  surplus,
} from "./misfits.ts";
import type { Problem } from "./misfits.ts";
import type { CheckedGroup } from "./dict.ts";

/** A group of the optimizer and the group of the dict that has the same parameters. */
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

/** What belongs together, and what does not. */
export interface Matching {
  readonly pairs: Pair[];
  readonly matches: Match[];
  readonly problems: Problem[];
  /** What reports call parameters of either side. */
  readonly label: Label;
}

interface Here extends Member {
  readonly parameter: Parameter<Tensor>;
  readonly index: number;
}

interface There extends Member {
  readonly id: number;
}

interface Sides {
  readonly here: readonly Here[];
  readonly there: readonly There[];
}

/**
 * Matches groups and parameters.
 *
 * @param groups The groups of the optimizer.
 * @param names The names of its parameters, in order.
 * @param saved The groups of the dict. A name that several of its parameters have identifies none.
 */
export function match(
  groups: readonly ParamGroup<Tensor>[],
  names: readonly (string | undefined)[],
  saved: readonly CheckedGroup[],
): Matching {
  const label = labelsFor([...names, ...saved.flatMap((group) => group.names ?? [])]);
  const doubled = doubledNames(saved);
  const sides = {
    here: membersHere(groups, names, label, doubled),
    there: membersThere(saved, label, doubled),
  };
  const byName = matchByName(sides);
  const { problems, ...left } = findLeft(sides, byName);
  const [sizesHere, sizesThere] = [groups, saved].map((all) =>
    all.map(({ params }) => params.length)
  );
  const partners = new Map([...pairGroups(byName, left), ...pairEmpty(sizesHere, sizesThere)]);
  const isPlain = byName.size + problems.length === 0;
  const sizes = isPlain ? compareSizes(sizesHere, sizesThere) : null;
  const found = new Map(byName);
  for (const row of rowsOf(left, partners)) problems.push(...matchRow(row, found, sizes));
  problems.push(...findEmpty(partners, sizesHere, sizesThere, sizes));
  problems.push(...findRegrouped(byName, partners));
  const equal = findEqual(found, partners, sizesHere, sizesThere);
  return {
    pairs: equal.map(([i, j]) => ({ here: groups[i], there: saved[j] })),
    matches: sides.here.filter((member) => found.has(member)).map((member) => {
      const { parameter, index, label: name } = member;
      return { parameter, index, id: found.get(member)!.id, name };
    }),
    problems,
    label,
  };
}

function membersHere(
  groups: readonly ParamGroup<Tensor>[],
  names: readonly (string | undefined)[],
  label: Label,
  doubled: ReadonlySet<string | null>,
): Here[] {
  let next = 0;
  return groups.flatMap(({ params }, group) =>
    params.map((parameter) => {
      const index = next++;
      const name = names[index] ?? null;
      return {
        group,
        name,
        label: label(name, index),
        isDoubled: doubled.has(name),
        parameter,
        index,
      };
    })
  );
}

/** The names that several parameters have. */
function doubledNames(groups: readonly CheckedGroup[]): ReadonlySet<string | null> {
  const seen = new Set<string | null>();
  const all = groups.flatMap(({ names }) => names ?? []).filter((name) => name !== null);
  return new Set(all.filter((name) => seen.has(name) || !seen.add(name)));
}

function membersThere(
  groups: readonly CheckedGroup[],
  label: Label,
  doubled: ReadonlySet<string | null>,
): There[] {
  return groups.flatMap(({ params, names }, group) =>
    params.map((id, i) => {
      const own = names?.[i] ?? null;
      const name = doubled.has(own) ? null : own;
      return { group, name, label: label(name, id), isDoubled: doubled.has(own), id };
    })
  );
}

function matchByName({ here, there }: Sides): Map<Here, There> {
  const holders = new Map(there.map((member) => [member.name, member]));
  const shared = here.filter(({ name }) => name !== null && holders.has(name));
  return new Map(shared.map((member) => [member, holders.get(member.name)!]));
}

/** What may be matched in order. If each side has names that the other lacks, these are problems. */
function findLeft(sides: Sides, byName: ReadonlyMap<Here, There>) {
  const taken = new Set(byName.values());
  const here = sides.here.filter((member) => !byName.has(member));
  const there = sides.there.filter((member) => !taken.has(member));
  const problems: Problem[] = [];
  if (here.every(isWithoutName) || there.every(isWithoutName)) return { here, there, problems };
  const isNamed = (member: Member) => !isWithoutName(member);
  problems.push(...here.filter(isNamed).map((member) => strayName("missing", member)));
  problems.push(...there.filter(isNamed).map((member) => strayName("unexpected", member)));
  return { here: here.filter(isWithoutName), there: there.filter(isWithoutName), problems };
}

/** Matches what is left of two groups, if it is as much on both sides; else what has no name. */
function matchRow(
  row: Row<Here, There>,
  found: Map<Here, There>,
  sizes: string | null,
): Problem[] {
  let { here, there } = row;
  if (here.length !== there.length) {
    [here, there] = [here.filter(isWithoutName), there.filter(isWithoutName)];
  }
  const count = Math.min(here.length, there.length);
  for (let i = 0; i < count; i++) found.set(here[i], there[i]);
  const matched = new Set<There>(there.slice(0, count));
  const rest = {
    here: row.here.filter((member) => !found.has(member)),
    there: row.there.filter((member) => !matched.has(member)),
  };
  return surplus(row, rest, sizes);
}

/** The pairs of groups that have the same parameters. */
function findEqual(
  found: ReadonlyMap<Here, There>,
  partners: ReadonlyMap<number, number>,
  sizesHere: readonly number[],
  sizesThere: readonly number[],
): [number, number][] {
  const shared = new Map<number, number>();
  for (const [{ group }, there] of found) {
    if (partners.get(group) === there.group) shared.set(group, (shared.get(group) ?? 0) + 1);
  }
  return [...partners].filter(([i, j]) =>
    (shared.get(i) ?? 0) === sizesHere[i] && sizesHere[i] === sizesThere[j]
  );
}

/** The groups without parameters that have no counterpart. */
function findEmpty(
  partners: ReadonlyMap<number, number>,
  sizesHere: readonly number[],
  sizesThere: readonly number[],
  sizes: string | null,
): Problem[] {
  const taken = new Set(partners.values());
  const here = emptyOf(sizesHere).filter((i) => !partners.has(i));
  const there = emptyOf(sizesThere).filter((j) => !taken.has(j));
  return [
    ...here.map((i) => emptyGroup("missing", i, sizes)),
    ...there.map((j) => emptyGroup("unexpected", j, sizes)),
  ];
}

function findRegrouped(
  byName: ReadonlyMap<Here, There>,
  partners: ReadonlyMap<number, number>,
): Problem[] {
  const counterparts = new Map([...partners].map(([i, j]) => [j, i]));
  return [...byName]
    .filter(([here, there]) => partners.get(here.group) !== there.group)
    .map(([here, { group }]) => regrouped(here, group, counterparts.get(group)));
}
