/**
 * Whether a program has `BFloat16Array`. One that does not import the class has no such array, so that its
 * bundle does without the class; `bfloat16_class.ts` has the types.
 */

/** The class: its own module imports this one, which cannot name it. */
type Class = abstract new (...given: never[]) => Uint16Array;

let known: Class | null = null;

let isInstance: (value: unknown) => boolean = () => false;

/**
 * Makes the class known, when its module is loaded.
 *
 * @param has Whether a value is one of its arrays.
 */
export function registerBFloat16Array(own: Class, has: (value: unknown) => boolean): void {
  known = own;
  isInstance = has;
}

/** The class; null in a program that does not have it. */
export function registeredClass(): Class | null {
  return known;
}

/** Whether a value is an array of the class. */
export function isOfRegisteredClass(value: unknown): boolean {
  return isInstance(value);
}
