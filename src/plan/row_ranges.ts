/** Which rows of a plan are stepped in one call. */

/** Groups that step together (foreach) and follow each other are one span; else each tensor is. */
export function forEachRowRange(
  { groups, ends }: {
    readonly groups: readonly { readonly foreach: boolean | null }[];
    /** The row after the last one of each group. */
    readonly ends: readonly number[];
  },
  body: (from: number, to: number) => void,
): void {
  let from = 0;
  let to = 0;
  for (let i = 0; i < groups.length; i++) {
    to = ends[i];
    const together = groups[i].foreach !== false;
    if (together && groups[i + 1]?.foreach !== false && i + 1 < groups.length) continue;
    const each = together ? to - from : 1;
    for (; from < to; from += each) body(from, from + each);
  }
}
