/** The doctor's report is all that it prints. */

import { assertEquals, assertMatch } from "@std/assert";
import { ROOT, run } from "./stage.ts";

Deno.test("doctor prints nothing to stderr where the system has no folder for screens", async () => {
  const { XDG_RUNTIME_DIR: _, ...env } = Deno.env.toObject();
  const code = `import { diagnose } from "./doctor.ts"; console.log(diagnose());
    console.log(Deno.env.get("XDG_RUNTIME_DIR"));`;
  const args = ["eval", "--quiet", "--no-check", code];
  const { out, err } = await run(Deno.execPath(), args, { cwd: ROOT, env, clearEnv: true });
  assertEquals(err, "");
  assertMatch(out, /^descent +\d[^]*\ngpu +\S[^]*\nundefined\n$/);
});
