/**
 * Runs the benchmark and prints its throughput next to the roofline: `deno task bench [--quick]`.
 *
 * @module
 */

import { fromFileUrl } from "@std/path/from-file-url";
import type { Figure } from "./measure.ts";
import { library } from "./references.ts";
import { readFlags } from "./flags.ts";
import { describeMachine, formatFigures, today } from "./text.ts";

const HELP = `Measures steps of all workloads, backends and modes.

Usage: deno task bench [options]

  --quick  fewer rows and shorter: 20 seconds
  --help   show this text`;

/** Runs `deno bench` with its output on the screen and returns what the rows measured. */
async function runBench(args: readonly string[]): Promise<Figure[]> {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    const script = fromFileUrl(new URL("sgd_bench.ts", import.meta.url));
    const permissions = [
      "--allow-read",
      "--allow-write",
      "--allow-ffi",
      "--allow-env",
      "--allow-sys",
    ];
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["bench", "--no-check", "--v8-flags=--expose-gc", ...permissions, script],
        ...["--", ...args, "--figures", file],
      ],
    }).spawn().status;
    if (code !== 0) Deno.exit(code);
    return JSON.parse(await Deno.readTextFile(file));
  } finally {
    await Deno.remove(file);
  }
}

const { quick } = readFlags(Deno.args, { switches: ["quick"], help: HELP });
if ("reason" in library) console.log(`No rows of the cpu backend: ${library.reason}`);
const figures = await runBench(quick ? ["--quick"] : []);
console.log(`\n${describeMachine()}, Deno ${Deno.version.deno}, ${today()}`);
if (!("reason" in library)) {
  const { threads, simd } = library.info;
  console.log(`native library: ${threads} threads, ${simd}`);
}
console.log("Medians, step and roofline timed in turn:\n");
console.log(formatFigures(figures));
