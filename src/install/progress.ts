/** A progress bar on the terminal; a few lines, so that the package depends on nothing. */

import type { InstallProgress } from "./source.ts";

const WIDTH = 30;

/** Draws the bar over its last state, and ends the line when the download is complete. */
export function drawProgress({ received, total }: InstallProgress): void {
  const filled = Math.floor(WIDTH * received / total);
  const bar = "#".repeat(filled).padEnd(WIDTH, "-");
  const end = received === total ? "\n" : "";
  const text = `\r[${bar}] ${megabytes(received)} of ${megabytes(total)} MB${end}`;
  process.stderr.write(text);
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
