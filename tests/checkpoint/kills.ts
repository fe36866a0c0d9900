/** Processes that are killed while they save, and what they leave. */

import { assert, assertEquals } from "@std/assert";
import { loadState } from "@descent/sgd";

/** The number of the save that a file is from; fails if it is a mixture. See `saver.ts`. */
export async function numberOf(path: string): Promise<number> {
  const { state, param_groups, metadata } = await loadState(path);
  const n = Number(metadata!.n);
  assertEquals(param_groups[0].lr, n);
  for (const { momentum_buffer } of Object.values(state)) {
    assert(momentum_buffer!.every((value) => value === n), `values that are not from save ${n}`);
  }
  return n;
}

/**
 * Starts a process that saves in a loop, and kills it some time after its first save.
 *
 * @returns The number of the last save that it said was on disk.
 */
export async function killWhileSaving(saver: Deno.Command, delay: number): Promise<number> {
  const child = saver.spawn();
  let printed = "";
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  printed += (await reader.read()).value ?? "";
  await new Promise((done) => setTimeout(done, delay));
  child.kill("SIGKILL");
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    printed += chunk.value;
  }
  await child.status;
  return Number(printed.trim().split("\n").at(-1));
}
