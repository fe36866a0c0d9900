/** Measures rows in processes of their own: such a process has compiled no other row's code. */

import { fromFileUrl } from "@std/path/from-file-url";
import type { Figure } from "./measure.ts";
import { nameOf, type Row } from "./rows.ts";

/** How a row is measured. */
export interface RunOptions {
  /** How many steps are taken where one is timed, to plant a slow-down. */
  readonly times?: number;
  /** Whether fewer samples have to do. */
  readonly quick?: boolean;
}

/** Starts a process that measures the row, and waits for its figure. */
export function measureInProcess(row: Row, { times = 1, quick = false }: RunOptions = {}): Figure {
  const script = fromFileUrl(new URL("row_process.ts", import.meta.url));
  const args = [nameOf(row), String(times), ...(quick ? ["quick"] : [])];
  // All is allowed as Deno asks for that to read /proc/stat, which has the time that is stolen.
  const { success, stdout } = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-check", "--allow-all", script, ...args],
    stderr: "inherit",
  }).outputSync();
  if (!success) throw new Error(`Cannot measure ${nameOf(row)}: its process failed`);
  return JSON.parse(new TextDecoder().decode(stdout));
}
