/** How busy other programs keep the machine while something is measured. */

import { cpus } from "node:os";
import process from "node:process";

/** What other programs took, and what the samples looked like. */
export interface Quietness {
  /** How many cores other programs used on average, time stolen by other virtual machines included. */
  readonly othersCores: number;
  /** The distance of the quartiles of the samples' ratios, as a share of their median. */
  readonly spread: number;
}

/** Milliseconds, all counted from the same unknown start. */
export interface Clocks {
  readonly wall: number;
  /** Of all cores together: what any program used, or another virtual machine took. */
  readonly busy: number;
  /** Of this process, all its threads together. */
  readonly own: number;
}

/** From so many cores on, other programs slow a step on all cores down by more than its noise. */
const MOST_CORES = 0.1;

/** The spread beyond which a median says little. */
const MOST_SPREAD = 0.15;

/** Long enough for the system's clocks, whose ticks are 10 ms. */
const PROBE_MS = 300;

/** Whether figures that were measured like this are to be measured again. */
export function isBusy({ othersCores, spread }: Quietness): boolean {
  return othersCores > MOST_CORES || spread > MOST_SPREAD;
}

/**
 * Starts to watch the other programs.
 *
 * @returns A function that says how many cores they have used since then.
 */
export function watchOthers(): () => number {
  const before = readClocks();
  return () => othersCores(before, readClocks());
}

/** How many cores other programs use, seen for a moment in which this one does nothing. */
export function probeOthers(): number {
  const endWatch = watchOthers();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PROBE_MS);
  return endWatch();
}

/** How many cores other programs used between two readings, on average. */
export function othersCores(before: Clocks, after: Clocks): number {
  const others = (after.busy - before.busy) - (after.own - before.own);
  return Math.max(0, others) / Math.max(1, after.wall - before.wall);
}

function readClocks(): Clocks {
  const { user, system } = process.cpuUsage();
  const used = cpus().reduce((sum, { times: { user, nice, sys, irq } }) => {
    return sum + user + nice + sys + irq;
  }, 0);
  return { wall: performance.now(), busy: used + readSteal(), own: (user + system) / 1000 };
}

/** What other virtual machines took, which only Linux says: the eighth number of its first line. */
function readSteal(): number {
  try {
    const [, ...ticks] = Deno.readTextFileSync("/proc/stat").split("\n", 1)[0].split(/ +/);
    return 10 * Number(ticks[7] ?? 0);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) return 0;
    throw error;
  }
}
