/** The learning rates that groups started with: the bases of schedules. */

/** A group as schedules see it. */
interface Group {
  readonly lr: number;
  /** The learning rate that schedules start from, if the group states it. */
  readonly initialLr?: number;
}

/** What is settled: torch's `initial_lr`. A scheduler that is made settles the others. */
const initialLrs = new WeakMap<object, number>();

/** The bases that groups have for schedulers which were made before the groups were there. */
const bases = new WeakMap<object, number>();

/** The groups that a scheduler sets. */
const scheduled = new WeakSet<object>();

/** The groups that have loaded a state. */
const loaded = new WeakSet<object>();

/** What is settled of a group, if anything is. */
export function settledInitialLr(group: object): number | undefined {
  return initialLrs.get(group);
}

/** What a group shows: as settled, or else the base that it has for schedulers made before it. */
export function shownInitialLr(group: object): number | undefined {
  return initialLrs.get(group) ?? bases.get(group);
}

/**
 * The base of a group for a scheduler that is made at this time: as settled, or else its learning
 * rate, also if it has another base for schedulers made before it, as torch has it.
 */
export function initialLrOf(group: Group): number {
  const settled = initialLrs.get(group);
  if (settled !== undefined) return settled;
  return bases.has(group) ? group.lr : group.initialLr ?? group.lr;
}

/** The base of a group for a scheduler that was made before the group was there. */
export function baseForEarlier(group: Group): number {
  return bases.get(group) ?? initialLrOf(group);
}

/** Settles the initial learning rate of a group, which no longer follows `lr`; or undoes that. */
export function settleInitialLr(group: object, lr: number | undefined): void {
  if (lr === undefined) initialLrs.delete(group);
  else initialLrs.set(group, lr);
}

/** Notes that a scheduler sets a group from here on. */
export function markScheduled(group: object): void {
  scheduled.add(group);
}

/** Whether a scheduler sets the group. */
export function isScheduled(group: object): boolean {
  return scheduled.has(group);
}

/** Whether the group has loaded a state, which says what its initial learning rate is. */
export function isLoaded(group: object): boolean {
  return loaded.has(group);
}

/**
 * Keeps the base that a group has for schedulers which are there when it is added.
 *
 * @param base The base, if it is not that of a scheduler which is made at this time.
 */
export function holdBase(group: Group, base = initialLrOf(group)): void {
  bases.set(group, base);
  scheduled.add(group);
}

/**
 * Takes over the initial learning rate that was saved with a group. If there was none, it is the
 * learning rate of the time when the next scheduler is made.
 *
 * @param base What a scheduler that was saved too had as base of the group, if there was one.
 */
export function restoreInitialLr(
  group: Group,
  saved: number | undefined,
  base: number | undefined,
): void {
  loaded.add(group);
  settleInitialLr(group, saved);
  if (isScheduled(group)) bases.set(group, base ?? saved ?? group.lr);
}
