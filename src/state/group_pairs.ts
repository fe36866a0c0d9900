/** Finds which group of an optimizer is which of a state dict. */

/** A parameter of either side. */
export interface Member {
  /** The number of its group. */
  readonly group: number;
  /** What identifies it; null if nothing does. */
  readonly name: string | null;
  /** What reports call it: its name, or else what stands for its index. */
  readonly label: string;
  /** Whether several parameters of the dict have its name, which identifies none of them then. */
  readonly isDoubled: boolean;
}

/** What is to be matched in order: of two groups, or of one that has no counterpart. */
export interface Row<Here, There> {
  readonly groupHere?: number;
  readonly groupThere?: number;
  readonly here: readonly Here[];
  readonly there: readonly There[];
}

/**
 * Pairs groups by the parameters that both have, those with the most first; of equally good pairs
 * those at the same place. Groups that then have no partner, but parameters that were not matched by
 * name, are paired in order.
 *
 * @param found The parameters that were matched by name.
 * @param left The parameters of each side that may be matched in order.
 * @returns For groups of the optimizer, by number, the numbers of their counterparts.
 */
export function pairGroups(
  found: Iterable<readonly [here: Member, there: Member]>,
  left: { readonly here: readonly Member[]; readonly there: readonly Member[] },
): Map<number, number> {
  const partners = new Map<number, number>();
  const taken = new Set<number>();
  for (const { here, there } of countShared(found)) {
    if (partners.has(here) || taken.has(there)) continue;
    partners.set(here, there);
    taken.add(there);
  }
  const here = groupsOf(left.here).filter((group) => !partners.has(group));
  const there = groupsOf(left.there).filter((group) => !taken.has(group));
  for (let i = 0; i < Math.min(here.length, there.length); i++) partners.set(here[i], there[i]);
  return partners;
}

/** Pairs groups without parameters, in order: those of the optimizer with those of the dict. */
export function pairEmpty(
  sizesHere: readonly number[],
  sizesThere: readonly number[],
): [number, number][] {
  const there = emptyOf(sizesThere);
  return emptyOf(sizesHere).slice(0, there.length).map((i, k) => [i, there[k]]);
}

/** The numbers of the groups without parameters. */
export function emptyOf(sizes: readonly number[]): number[] {
  return sizes.flatMap((size, i) => size === 0 ? [i] : []);
}

/** What is left of each pair of groups, and of each group without a counterpart. */
export function rowsOf<Here extends Member, There extends Member>(
  left: { readonly here: readonly Here[]; readonly there: readonly There[] },
  partners: ReadonlyMap<number, number>,
): Row<Here, There>[] {
  const [here, there] = [byGroup(left.here), byGroup(left.there)];
  const rows: Row<Here, There>[] = [];
  for (const [groupHere, groupThere] of partners) {
    const row = { here: here.get(groupHere) ?? [], there: there.get(groupThere) ?? [] };
    rows.push({ groupHere, groupThere, ...row });
    here.delete(groupHere);
    there.delete(groupThere);
  }
  for (const [groupHere, members] of here) rows.push({ groupHere, here: members, there: [] });
  for (const [groupThere, members] of there) rows.push({ groupThere, here: [], there: members });
  return rows;
}

/** How many parameters groups share; the best pairs first. */
function countShared(found: Iterable<readonly [here: Member, there: Member]>) {
  const counts = new Map<string, { here: number; there: number; count: number }>();
  for (const [{ group: here }, { group: there }] of found) {
    const key = `${here} ${there}`;
    const shared = counts.get(key);
    if (shared === undefined) counts.set(key, { here, there, count: 1 });
    else shared.count++;
  }
  return [...counts.values()].sort((a, b) =>
    b.count - a.count || Number(b.here === b.there) - Number(a.here === a.there) ||
    a.here - b.here || a.there - b.there
  );
}

function byGroup<M extends Member>(members: readonly M[]): Map<number, M[]> {
  const groups = new Map<number, M[]>();
  for (const member of members) {
    const others = groups.get(member.group);
    if (others === undefined) groups.set(member.group, [member]);
    else others.push(member);
  }
  return groups;
}

function groupsOf(members: readonly Member[]): number[] {
  return [...new Set(members.map(({ group }) => group))].sort((a, b) => a - b);
}
