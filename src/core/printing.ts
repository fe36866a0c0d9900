/** How objects print whose members are private, in the consoles of Deno, Node.js and Bun. */

/** Makes text of a value, as a console does it. */
type Inspect = (value: unknown, options?: object) => string;

/**
 * Makes a console print a text for an object, or for those of a class.
 *
 * @param target The object, or the prototype of the class.
 * @param print Makes the text. It is given the object, and a function that makes text of values.
 */
export function printAs<T extends object>(
  target: T,
  print: (self: T, inspect: (value: unknown) => string) => string,
): void {
  const hooks = {
    "Deno.customInspect"(this: T, inspect: Inspect, options: object) {
      return print(this, (value) => inspect(value, options));
    },
    "nodejs.util.inspect.custom"(this: T, depth: number, options: object, inspect: Inspect) {
      return print(this, (value) => inspect(value, { ...options, depth }));
    },
  };
  for (const [name, value] of Object.entries(hooks)) {
    Object.defineProperty(target, Symbol.for(name), { value, configurable: true });
  }
}

/**
 * Makes a console print an object, or those of a class, as a name and what they contain.
 *
 * @param contents Makes an object of what is shown. If it throws, as for the prototype of a class,
 * which has no members, the name is printed alone.
 */
export function printContents<T extends object>(
  target: T,
  name: string,
  contents: (self: T) => object,
): void {
  printAs(target, (self, inspect) => {
    let shown: object;
    try {
      shown = contents(self);
    } catch {
      return `[${name}]`;
    }
    return `${name} ${inspect(shown)}`;
  });
}
