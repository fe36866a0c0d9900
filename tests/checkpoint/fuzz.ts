/**
 * Decodes as many hostile files as asked for: `deno task fuzz [count] [seed]`.
 *
 * Fails on anything but a `CheckpointError` or a right acceptance, and on a file that takes longer
 * than a second.
 */

import fc from "fast-check";
import { checkDecode, hostileFiles } from "./hostile_files.ts";

const LIMIT = 1000;
const count = Number(Deno.args[0] ?? 1_000_000);
const seed = Number(Deno.args[1] ?? Date.now() % 2 ** 31);
let accepted = 0;
let slowest = 0;

console.log(`${count} files, seed ${seed}`);
const start = performance.now();
fc.assert(
  fc.property(hostileFiles(), (bytes) => {
    const begin = performance.now();
    accepted += Number(checkDecode(bytes));
    const took = performance.now() - begin;
    slowest = Math.max(slowest, took);
    if (took > LIMIT) throw new Error(`${bytes.length} bytes took ${took} ms`);
  }),
  { numRuns: count, seed },
);
const seconds = (performance.now() - start) / 1000;
console.log(
  `${count - accepted} refused, ${accepted} rightly accepted, slowest ${slowest.toFixed(0)} ms, ` +
    `${seconds.toFixed(0)} s`,
);
