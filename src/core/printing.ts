/**
 * How objects print whose members are private, in the consoles of Deno, Node.js and Bun.
 *
 * Constructors call this for the object that they make: a bundler could not leave out a class whose
 * prototype is changed where the class is defined.
 */

/** Makes text of a value, as a console does it. */
type Inspect = (value: unknown, options?: object) => string;

/**
 * Makes a console print a text for an object, or for those of a class.
 *
 * @param target The object, or the prototype of the class.
 * @param name What is printed if the text cannot be made, as for the prototype of a class.
 * @param print Makes the text. It is given the object, and a function that makes text of values.
 */
export function printAs<T extends object>(
  target: T,
  name: string,
  print: (self: T, inspect: (value: unknown) => string) => string,
): void {
  const text = (self: T, inspect: (value: unknown) => string) => {
    try {
      return print(self, inspect);
    } catch {
      return `[${name}]`;
    }
  };
  const hooks = {
    "Deno.customInspect"(this: T, inspect: Inspect, options: object) {
      return text(this, (value) => inspect(value, options));
    },
    "nodejs.util.inspect.custom"(this: T, depth: number, options: object, inspect: Inspect) {
      return text(this, (value) => inspect(value, { ...options, depth }));
    },
  };
  for (const [key, value] of Object.entries(hooks)) {
    Object.defineProperty(target, Symbol.for(key), { value, configurable: true });
  }
}

/**
 * Makes a console print an object, or those of a class, as a name and what they contain.
 *
 * @param contents Makes an object of what is shown.
 */
export function printContents<T extends object>(
  target: T,
  name: string,
  contents: (self: T) => object,
): void {
  printAs(target, name, (self, inspect) => `${name} ${inspect(contents(self))}`);
}
