/** Reads which tests were skipped, and why: their names end in `(skipped: reason)`. */

/** What tests that give no reason are counted under. */
export const NO_REASON = "no reason is given";

/** Counts the skipped tests of Deno's output by their reason. */
export function countSkipped(output: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [, name] of output.matchAll(/^(.*) \.\.\. ignored/gm)) {
    const reason = /\(skipped: (.*)\)$/.exec(name)?.[1] ?? NO_REASON;
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return counts;
}
