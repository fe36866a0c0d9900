/** Other processes, for tests that need some. */

import { prefixOf } from "../../src/checkpoint/atomic_file.ts";

/** The name of what a killed process may leave of writing a file. */
export async function leftoverOf(name: string): Promise<string> {
  return `${await prefixOf(name)}0f5b.descent-tmp`;
}

/** A process that runs a script of this folder, with all permissions or only these. */
export function script(
  name: string,
  args: readonly string[],
  permissions: readonly string[] = ["-A"],
  options: Pick<Deno.CommandOptions, "signal"> = {},
): Deno.Command {
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const file = new URL(name, import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", "--no-check", "--no-prompt", ...permissions],
      ...["--config", config, file, ...args],
    ],
    ...options,
    stdout: "piped",
    stderr: "inherit",
  });
}

/** A process that saves to a path, so many times from number `first` on; see `saver.ts`. */
export function saver(
  path: string,
  times: number,
  first = 0,
  options: Pick<Deno.CommandOptions, "signal"> = {},
): Deno.Command {
  return script("saver.ts", [path, String(times), String(first)], ["-A"], options);
}
