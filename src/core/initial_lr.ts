/** The learning rates that groups started with: the bases of schedules. */

/** A group as schedules see it. */
interface Group {
  readonly lr: number;
  /** The learning rate that schedules start from, if the group states it. */
  readonly initialLr?: number;
}

/** The bases that are settled; the base of any other group is its learning rate. */
const initialLrs = new WeakMap<object, number>();

/** The groups that a scheduler has set. */
const scheduled = new WeakSet<object>();

/** The base of a group, if it is settled. */
export function settledInitialLr(group: object): number | undefined {
  return initialLrs.get(group);
}

/** The base of a group: as settled, or else what it would be if a scheduler were made. */
export function initialLrOf(group: Group): number {
  return initialLrs.get(group) ?? group.initialLr ?? group.lr;
}

/** Settles the base of a group: it no longer follows the learning rate. */
export function settleInitialLr(group: object, lr: number): void {
  initialLrs.set(group, lr);
}

/** Settles the base of a group that a scheduler sets from here on. */
export function settleScheduled(group: object, lr: number): void {
  initialLrs.set(group, lr);
  scheduled.add(group);
}

/** Whether a scheduler has set the group. */
export function isScheduled(group: object): boolean {
  return scheduled.has(group);
}

/**
 * Takes over the base that was saved with a group. If there was none, the base is the learning rate:
 * permanently if a scheduler sets it, and otherwise until a scheduler is made.
 */
export function restoreInitialLr(group: Group, saved: number | undefined): void {
  if (saved !== undefined) initialLrs.set(group, saved);
  else if (isScheduled(group)) initialLrs.set(group, group.lr);
  else initialLrs.delete(group);
}
