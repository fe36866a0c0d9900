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
  momentumAt?(i: number): number | undefined;
  /** Records the current learning rates of the groups. */
  done(lrs: number[]): void;
}

/** A group before a state was loaded. */
interface Before {
  readonly group: ScheduledGroup;
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
  const before = remember(groups);
  const list = [...groups.list];
  const isEarly = !isLinked(dict, list);
  const places = placesOf(dict, list);
  const lrs = places.map((place, i) => lists.lrs[place] ?? before[i].lr);
  groups.set(list.map((_, i) => ({
    lr: lrs[i],
    momentum: scheduler.momentumAt?.(i),
    base: lists.bases && (lists.bases[places[i]] ?? before[i].base),
  })));
  settle(list, places, lists);
  scheduler.done(lrs);
  if (!isEarly) return;
  const { revision } = groups;
  onLinked(dict, groups, () => {
    if (groups.revision !== revision) return true;
    if (!isLinked(dict, groups.list)) return false;
    correct(scheduler, placesOf(dict, groups.list), lists, before, lrs);
    return true;
  });
}

function remember(groups: Groups): Before[] {
  const bases = groups.bases();
  return groups.list.map((group, i) => ({
    group,
    lr: group.lr,
    base: bases[i],
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
  { groups, done }: Scheduler,
  places: readonly number[],
  { bases }: Lists,
  before: readonly Before[],
  set: readonly number[],
): void {
  const current = groups.bases();
  groups.set(groups.list.map(({ lr }, i) => {
    const own = before.at(i);
    const base = bases && (bases[places[i]] ?? own?.base ?? current[i]);
    const isOurs = places[i] === -1 && lr === set[i];
    return { lr: isOurs ? own?.lr ?? lr : lr, base };
  }));
  for (const [i, { group, initialLr }] of before.entries()) {
    if (bases && places[i] === -1 && !isLoaded(group)) settleInitialLr(group, initialLr);
  }
  done(groups.lrs());
}
