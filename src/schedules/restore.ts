/** Loads the learning rates and bases of groups from the state of a scheduler. */

import { holdBase, isLoaded, settledInitialLr, settleInitialLr } from "../core/initial_lr.ts";
import type { LRSchedulerStateDict } from "../state/extras.ts";
import { isLinked, onLinked, placesOf } from "../state/scheduler_links.ts";
import type { Groups, ScheduledGroup } from "./groups.ts";

/** The part of a state that is about groups, checked. */
interface Lists {
  readonly lrs: readonly number[];
  /** Absent of a plateau. */
  readonly bases?: readonly number[];
}

/** The part of a scheduler in loading. */
interface Scheduler {
  readonly groups: Groups;
  /** The momentum of a group, if it is set too. */
  momentumOf?(group: ScheduledGroup): number | undefined;
}

/** A group before a state was loaded, and the learning rate that it got. */
interface Before {
  readonly group: ScheduledGroup;
  readonly set: number;
  readonly lr: number;
  readonly base: number;
  readonly initialLr: number | undefined;
}

/**
 * Sets the groups that a state has; the others keep what they have. If the optimizer loads its own
 * state from the same dict after that, and before anything else is set, groups that were
 * matched wrongly get their own values.
 *
 * @param dict The state, by which the optimizer's groups are found in the lists.
 * @throws {RangeError} If a value is not valid.
 */
export function restoreGroups(scheduler: Scheduler, dict: LRSchedulerStateDict, lists: Lists) {
  const { groups } = scheduler;
  const list = [...groups.list];
  const isEarly = !isLinked(dict, list);
  const places = placesOf(dict, list);
  const before = remember(groups, places.map((place) => lists.lrs[place]));
  groups.set(before.map(({ group, set, base }, i) => ({
    ...{ group, lr: set },
    momentum: scheduler.momentumOf?.(group),
    base: lists.bases && (lists.bases[places[i]] ?? base),
  })));
  settle(list, places, lists);
  if (!isEarly) return;
  const { revision } = groups;
  onLinked(dict, groups, () => {
    if (groups.revision !== revision) return true;
    if (!isLinked(dict, groups.list)) return false;
    correct(groups, placesOf(dict, groups.list), lists, before);
    return true;
  });
}

/** @param lrs What groups get; undefined for those that keep what they have. */
function remember(groups: Groups, lrs: readonly (number | undefined)[]): Before[] {
  return groups.list.map((group, i) => ({
    group,
    set: lrs[i] ?? group.lr,
    lr: group.lr,
    base: groups.baseOf(group),
    initialLr: settledInitialLr(group),
  }));
}

/** A state of the optimizer says what its groups started with; a scheduler's does where there is none. */
function settle(
  list: readonly ScheduledGroup[],
  places: readonly number[],
  { bases }: Lists,
): void {
  for (const [i, group] of list.entries()) {
    const base = bases?.[places[i]];
    if (base === undefined) continue;
    if (!isLoaded(group)) settleInitialLr(group, base);
    else if (settledInitialLr(group) === undefined) holdBase(group, base);
  }
}

/** The optimizer has loaded its state, so the groups that it has matched have their learning rates. */
function correct(
  groups: Groups,
  places: readonly number[],
  { bases }: Lists,
  before: readonly Before[],
): void {
  const known = new Map(before.map((each) => [each.group, each]));
  const list = [...groups.list];
  groups.set(list.map((group, i) => {
    const { lr } = group;
    const own = known.get(group);
    const base = bases && (bases[places[i]] ?? own?.base ?? groups.baseOf(group));
    const isOurs = places[i] === -1 && lr === own?.set;
    return { group, lr: isOurs ? own.lr : lr, base };
  }));
  for (const [i, group] of list.entries()) {
    const own = known.get(group);
    if (own === undefined || !bases || places[i] !== -1 || isLoaded(group)) continue;
    settleInitialLr(group, own.initialLr);
  }
}
