/** Finds variables by names that tfjs may have changed. */

/** For each variable its index among those that were saved; null if it is not there. */
export type Places = readonly (number | null)[];

/** The number that tfjs appends to a name that is taken, as when it loads a model beside others. */
const NUMBER = /_\d+$/;

type ToKey = (name: string) => string;

const whole: ToKey = (name) => name;
const withoutNumber: ToKey = (name) => name.replace(NUMBER, "");

/** How names of variables, and those that were saved, may have to be read to be equal. */
const READINGS: readonly (readonly [own: ToKey, saved: ToKey])[] = [
  [whole, whole],
  [withoutNumber, whole],
  [whole, withoutNumber],
  [withoutNumber, withoutNumber],
];

/**
 * Finds variables among those that were saved, by their names with or without the numbers that tfjs
 * appends: in the way that finds most. Variables that then have one name are found in their order, if all
 * of them are there.
 */
export function matchNames(names: readonly string[], saved: readonly string[]): Places {
  const attempts = READINGS.map(([toOwn, toSaved]) =>
    matchKeys(names.map(toOwn), saved.map(toSaved))
  );
  return attempts.reduce((best, places) => countFound(places) > countFound(best) ? places : best);
}

function matchKeys(keys: readonly string[], saved: readonly string[]): Places {
  const [own, others] = [keys, saved].map(placesOf);
  const places: (number | null)[] = keys.map(() => null);
  for (const [key, at] of own) {
    const there = others.get(key);
    if (there?.length === at.length) at.forEach((i, k) => places[i] = there[k]);
  }
  return places;
}

/** Where each name is: Node.js 20 has no `Map.groupBy`. */
function placesOf(list: readonly string[]): Map<string, number[]> {
  const places = new Map<string, number[]>();
  list.forEach((name, i) => {
    const known = places.get(name);
    if (known === undefined) places.set(name, [i]);
    else known.push(i);
  });
  return places;
}

/** How many variables were found. */
export function countFound(places: Places): number {
  return places.filter((place) => place !== null).length;
}
