/**
 * Which group of an optimizer is which in the state of a scheduler, which counts groups only: as the
 * optimizer has matched them, if it has loaded its own state from the same dict.
 */

/** For states of schedulers that came with an optimizer's: the places in it of the groups. */
const places = new WeakMap<object, WeakMap<object, number>>();

/** For states that schedulers have loaded: what each does when an optimizer loads its own. */
const waiting = new WeakMap<object, Map<object, () => boolean>>();

/** A group of the optimizer and the one of the state that has the same parameters. */
interface Pair {
  readonly here: object;
  readonly there: object;
}

/**
 * Notes the places of an optimizer's groups.
 *
 * @param scheduler The state that came with the optimizer's; what is not an object is left.
 * @param groups The groups of the optimizer.
 * @param pairs Those that have a counterpart, with it.
 * @param saved All groups in the order of the state.
 */
export function linkGroups(
  scheduler: unknown,
  groups: readonly object[],
  pairs: readonly Pair[],
  saved: readonly object[],
): void {
  if (typeof scheduler !== "object" || scheduler === null) return;
  const known = places.get(scheduler) ?? new WeakMap<object, number>();
  for (const group of groups) known.set(group, -1);
  for (const { here, there } of pairs) known.set(here, saved.indexOf(there));
  places.set(scheduler, known);
  const calls = waiting.get(scheduler);
  for (const [who, call] of calls ?? []) if (call()) calls!.delete(who);
}

/**
 * The place of each group in the lists of a scheduler's state: as they were matched if the optimizer
 * has loaded its own from the same dict, and else in order; -1 for a group that is not in it.
 */
export function placesOf(scheduler: object, groups: readonly object[]): number[] {
  const known = places.get(scheduler);
  if (!isLinked(scheduler, groups)) return groups.map((_, i) => i);
  return groups.map((group) => known!.get(group) ?? -1);
}

/** Whether the optimizer of some groups has loaded its state from the same dict. */
export function isLinked(scheduler: object, groups: readonly object[]): boolean {
  const known = places.get(scheduler);
  return known !== undefined && groups.some((group) => known.has(group));
}

/**
 * Calls back when an optimizer has loaded its state from the same dict.
 *
 * @param who Who waits, with one call at a time.
 * @param call Returns whether that was what it waited for.
 */
export function onLinked(scheduler: object, who: object, call: () => boolean): void {
  const calls = waiting.get(scheduler) ?? new Map<object, () => boolean>();
  waiting.set(scheduler, calls.set(who, call));
}
