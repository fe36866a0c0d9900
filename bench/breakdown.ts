/**
 * Prints what bounds a step of each workload, what one more tensor costs, what memory an optimizer
 * takes, and what saving and loading many small tensors take next to a large one: `deno task bench:breakdown`.
 *
 * @module
 */

import { fromFileUrl } from "@std/path/from-file-url";
import type { BackendName } from "@descent/sgd";
import type { CheckpointTimes } from "./breakdown/checkpoints.ts";
import type { MemoryUse } from "./breakdown/memory_use.ts";
import { MANY, type Parts } from "./breakdown/step_parts.ts";
import { readFlags } from "./flags.ts";
import { writeSection } from "./readme.ts";
import { library } from "./references.ts";
import { describeMachine, formatTable, formatTime, today, withTimes } from "./text.ts";
import { WORKLOADS } from "./workloads.ts";

const HELP =
  `Measures the parts of a step on the cpu backend, an optimizer's memory, and checkpoints.

Usage: deno task bench:breakdown [options]

  --only TEXT  only the workloads that have this text in their name
  --readme     put the tables into bench/README.md
  --help       show this text`;

const THREADS = 2;
const FEW = WORKLOADS.find(({ name }) => name === "161 x 10")!;

/** Numbers of tensors of 10 elements, between which lies the memory that a tensor takes. */
const TENSORS = [2000, 20_000];

const flags = readFlags(Deno.args, { switches: ["readme"], texts: ["only"], help: HELP });
const only: string = flags.only ?? "";
if ("reason" in library) {
  console.error(`Cannot measure the cpu backend: ${library.reason}`);
  Deno.exit(2);
}
const report = [
  `${describeMachine()}, Deno ${Deno.version.deno}, ${library.info.simd}, ${today()}`,
  ...formatTimes(partsOn(THREADS), partsOn(1)),
  ...formatMemory(),
  formatCheckpoints(run("breakdown/checkpoints.ts", [], {})),
].join("\n\n");
console.log(report);
if (flags.readme) writeSection("breakdown", report);

function formatTimes(parts: readonly Parts[], alone: readonly Parts[]): string[] {
  const head = [
    withTimes(`${THREADS} threads`),
    "step",
    "native call",
    "bookkeeping",
    "empty call",
    "roofline",
  ];
  const table = formatTable(
    [...head, "step, 1 thread"],
    parts.map(({ workload, step, native, empty, roofline }, i) => [
      workload,
      ...[step, native, Math.max(0, step - native), empty].map(formatTime),
      roofline === null ? "-" : formatTime(roofline),
      formatTime(alone[i].step),
    ]),
  );
  const [few, many] = [FEW, MANY].map(({ name }) => parts.find((p) => p.workload === name));
  if (few === undefined || many === undefined) return [table];
  const slope = (key: "step" | "native") =>
    formatTime((many[key] - few[key]) / (many.tensors - few.tensors));
  const text = `One more tensor of 10 elements: ${slope("step")}, of which native ${
    slope("native")
  }.`;
  return [table, text];
}

function formatMemory(): string[] {
  const names = WORKLOADS.map(({ name }) => name).filter((name) => name.includes(only));
  const uses = names.map((name) => memoryOf("cpu", name));
  const ranges = (["cpu", "js"] as const).map((backend) =>
    TENSORS.map((count) => memoryOf(backend, String(count), "10"))
  );
  const head = ["memory", "caller's arrays", "momentum buffers", "kept beyond both"];
  const table = formatTable(
    [...head, "at the peak", "peak of the process"],
    [...uses, ...ranges[0]].map(({ workload, callers, buffers, kept, peak, process }) => [
      workload,
      ...[callers, buffers, kept, peak, process].map((bytes) => `${(bytes / 1000).toFixed(0)} kB`),
    ]),
  );
  return [table, `A hundred more tensors: ${ranges.map(formatSlope).join("; ")}.`];
}

function formatSlope([few, many]: readonly MemoryUse[]): string {
  const [kept, peak] = (["kept", "peak"] as const).map((key) => {
    const bytes = (many[key] - few[key]) / (many.tensors - few.tensors) * 100;
    return `${(bytes / 1000).toFixed(1)} kB`;
  });
  return `${kept} kept and ${peak} at the peak on ${few.backend}`;
}

function formatCheckpoints([one, many]: readonly CheckpointTimes[]): string {
  const row = (what: string, { save, load, bytes }: CheckpointTimes) => [
    what,
    ...[`${(bytes / 1e6).toFixed(1)} MB`, formatTime(save), formatTime(load)],
  ];
  const ratios = [many.save / one.save, many.load / one.load].map((ratio) => ratio.toFixed(1));
  return formatTable(["checkpoint (times in ms or s, less is better)", "file", "save", "load"], [
    row("1 tensor and its momentum", one),
    row(`${many.tensors} tensors of 8 elements, and theirs`, many),
    ["ratio", (many.bytes / one.bytes).toFixed(1), ...ratios],
  ]);
}

function partsOn(threads: number): Parts[] {
  return run("breakdown/step_parts.ts", [only], { DESCENT_THREADS: String(threads) });
}

function memoryOf(backend: BackendName, ...args: string[]): MemoryUse {
  return run("breakdown/memory_use.ts", [backend, ...args], {});
}

/** A process of its own has compiled no other workload's code, and its heap is nobody else's. */
function run<T>(script: string, args: readonly string[], env: Record<string, string>): T {
  const file = fromFileUrl(new URL(script, import.meta.url));
  const flags = ["--v8-flags=--expose-gc", "--allow-all"]; // all: it writes /proc/self/clear_refs
  const { success, stdout } = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "--no-check", ...flags, file, ...args],
    env,
    stderr: "inherit",
  }).outputSync();
  if (!success) throw new Error(`Cannot measure: ${script} ${args.join(" ")} failed`);
  return JSON.parse(new TextDecoder().decode(stdout));
}
