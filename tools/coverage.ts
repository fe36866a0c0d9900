/**
 * Measures which lines and branches of `src/` tests reach: `deno task coverage [test files]`; all of
 * `tests/` without files. Lines that only other processes or workers reach are not counted.
 */

import { ROOT } from "./stage.ts";

const RAW = "out/coverage";

async function deno(...args: string[]): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT }).spawn().status;
  if (!success) Deno.exit(1);
}

const files = Deno.args.length > 0 ? Deno.args : ["tests"];
const quiet = ["--quiet", "--no-check", "--no-prompt", "-A"];
await deno("test", ...quiet, "--clean", `--coverage=${RAW}`, "--coverage-raw-data-only", ...files);
await deno("coverage", RAW, "--include=/src/", "--exclude=/tests/");
