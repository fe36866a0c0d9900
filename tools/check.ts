/**
 * Checks everything that needs no build: `deno task check`. Formats, lints, types, layers, conflict
 * markers and spelling are checked side by side; the output of what fails is printed.
 */

import { ROOT } from "./stage.ts";
import type { Stage } from "./stage.ts";
import { CHECKS } from "./stages.ts";

/** Runs a check, and returns what it printed if it failed. */
async function run({ name, command: [program, ...args] }: Stage): Promise<string | null> {
  const begin = performance.now();
  const command = new Deno.Command(program, { args, cwd: ROOT, env: { NO_COLOR: "1" } });
  const { success, stdout, stderr } = await command.output();
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  console.log(`${success ? "ok  " : "FAIL"} ${name} (${seconds} s)`);
  return success ? null : new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

const outputs = await Promise.all(CHECKS.map(run));
for (const [i, output] of outputs.entries()) {
  if (output !== null) console.error(`\n== ${CHECKS[i].name}\n${output}`);
}
Deno.exit(outputs.some((output) => output !== null) ? 1 : 0);
