/** Importing does nothing but define. */

import { assertEquals } from "@std/assert";
import { ENTRIES, run } from "./stage.ts";

for (const entry of ENTRIES.values()) {
  Deno.test(`importing ${entry} asks for nothing: no permission, file, network or library`, async () => {
    // Without permissions whatever is asked for throws; what would be caught is counted as well.
    const code = `
      let asked = [];
      const watch = (object, name) => {
        const original = object[name];
        object[name] = (...args) => { asked.push(name); return original.apply(object, args); };
      };
      for (const name of ["dlopen", "open", "openSync", "readFileSync", "readTextFileSync",
        "statSync", "connect", "Command"]) watch(Deno, name);
      watch(globalThis, "fetch");
      watch(Deno.permissions, "request");
      watch(Deno.permissions, "requestSync");
      watch(Deno.permissions, "querySync");
      watch(Deno.env, "get");
      await import("${new URL(`../../${entry}`, import.meta.url)}");
      console.log(JSON.stringify(asked));`;
    const { code: exit, out, err } = await evaluate(code);
    assertEquals(exit, 0, err);
    assertEquals(JSON.parse(out), []);
  });
}

/** Runs a program without permissions. */
async function evaluate(code: string) {
  const file = await Deno.makeTempFile({ suffix: ".mjs" });
  try {
    await Deno.writeTextFile(file, code);
    return await run(Deno.execPath(), ["run", "--no-prompt", "--no-check", "--quiet", file]);
  } finally {
    await Deno.remove(file);
  }
}
