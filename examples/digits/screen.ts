/** What the user sees during a run: lines, and below them a progress bar where there is a terminal. */

import process from "node:process";
// @ts-types="@types/cli-progress"
import { MultiBar, Presets } from "cli-progress";

/** The lines and the bar of one run. */
export interface Screen {
  /** Prints a line above the bar. */
  print(line: string): void;
  /** Moves the bar on, and lets the terminal have its turn. */
  advance(): Promise<void>;
  /** Takes the bar away. */
  close(): void;
}

/** The screen of a rank that leaves it to rank 0 to speak. */
export const SILENT: Screen = { print() {}, advance: () => Promise.resolve(), close() {} };

/**
 * Opens a screen with a bar.
 *
 * @param title What stands before the bar.
 * @param total How many advances there will be.
 * @param done How many there have been.
 */
export function openScreen(title: string, total: number, done: number): Screen {
  if (!Deno.stdout.isTerminal()) {
    return { print: (line) => console.log(line), advance: () => Promise.resolve(), close() {} };
  }
  const format = `${title} {bar} {percentage}% | {eta} s left`;
  const bars = new MultiBar(
    { format, stream: process.stdout, clearOnComplete: true, hideCursor: true },
    Presets.shades_grey,
  );
  const bar = bars.create(total, done);
  return {
    print(line) {
      bars.log(`${line}\n`);
      bars.update();
    },
    advance() {
      bar.increment();
      return new Promise((resolve) => setTimeout(resolve, 0));
    },
    close: () => bars.stop(),
  };
}
