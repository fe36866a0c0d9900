/** Finds variables by names that tfjs may have changed. */

/** For each variable its index among those that were saved; null if it is not there. */
export type Places = readonly (number | null)[];

/** What is left out of names: nothing; or the number that tfjs appends when a name is taken. */
const LEFT_OUT = [/$/, /_\d+$/];

/**
 * Finds variables among those that were saved: by their names, and by their names without the numbers
 * that tfjs appends when it loads a model beside others.
 *
 * @returns What each way finds.
 */
export function matchNames(names: readonly string[], saved: readonly string[]): readonly Places[] {
  return LEFT_OUT.map((suffix) => matchWithout(suffix, names, saved));
}

function matchWithout(
  suffix: RegExp,
  names: readonly string[],
  saved: readonly string[],
): Places {
  const [keys, savedKeys] = [names, saved].map((list) =>
    list.map((name) => name.replace(suffix, ""))
  );
  // A name that several have stands for none of them.
  const isUnique = [keys, savedKeys].every((list) => new Set(list).size === list.length);
  const places = new Map(isUnique ? savedKeys.map((key, i) => [key, i]) : []);
  return keys.map((key) => places.get(key) ?? null);
}

/** How many variables were found. */
export function countFound(places: Places): number {
  return places.filter((place) => place !== null).length;
}
