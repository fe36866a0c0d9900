/** Times steps on the GPU by the device's own clock, next to a copy within it: `deno task bench:gpu`. */

import { SGD } from "@descent/sgd";
import type { StepOptions } from "@descent/sgd";
import { openGpu } from "@descent/sgd/gpu";
import type { Gpu } from "@descent/sgd/gpu";
import { nativeOf } from "../src/gpu/gpu.ts";
import { readFlags } from "./flags.ts";
import { median } from "./sampler.ts";
import { describeMachine, formatTable, formatTime, TIME_OF_A_STEP, today } from "./text.ts";
import { reportWebGpu } from "./webgpu.ts";
import { findWorkload, repeat, sizeOf } from "./workloads.ts";
import type { Shape } from "./workloads.ts";

const HELP = `Times steps on the GPU: deno task bench:gpu [options]
  --adapter TEXT  part of the adapter's name
  --python FILE   a Python with torch, whose fused CUDA step is timed too [python3]
  --rounds N      steps timed per workload [20]
  --help          this text`;

const OPTIONS = { lr: 1e-3, momentum: 0.9, nesterov: true, weightDecay: 1e-4 };

/** Bytes that a step moves per float32 element: reads of three, writes of two. */
const STEP_BYTES = 20;

const TORCH = `
import sys, torch
if not torch.cuda.is_available(): sys.exit("torch sees no CUDA device")
for sizes in SIZES:
    params = [torch.nn.Parameter(torch.randn(n, device="cuda")) for n in sizes]
    for p in params: p.grad = torch.randn_like(p)
    sgd = torch.optim.SGD(params, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True)
    times = []
    for i in range(30):
        a, b = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        a.record(); sgd.step(); b.record(); torch.cuda.synchronize()
        if i >= 10: times.append(a.elapsed_time(b) * 1e6)
    print(sorted(times)[len(times) // 2])
`;

const flags = readFlags(Deno.args, {
  switches: [],
  texts: ["adapter", "python"],
  numbers: ["rounds"],
  help: HELP,
});
const rounds: number = flags.rounds ?? 20;
using gpu = openGpu({ adapter: flags.adapter ?? "" });
const names = ["ResNet-50", "GPT-2 small"];
const workloads = names.map(findWorkload);
const torch = timeTorch(workloads.map(({ shapes }) => shapes.map(sizeOf)));

console.log(`${gpu.info.name} (${gpu.info.backend}, ${gpu.info.driver}); ${describeMachine()}`);
if (gpu.info.type === "cpu") {
  console.log("This adapter computes on the processor: a CPU's figures.");
}
console.log(`${today()}, float32, nesterov + momentum + weight decay, medians of ${rounds}\n`);
const rows = workloads.map(({ name, shapes, elements }, i) => {
  const bytes = STEP_BYTES * elements;
  const [step, copy] = timeInTurn(gpu, shapes, bytes);
  const rate = (ns: number) => (bytes / ns).toFixed(1);
  return [
    ...[name, formatTime(step), rate(step), rate(copy), `${(100 * copy / step).toFixed(0)} %`],
    typeof torch === "string" ? "-" : formatTime(torch[i]),
  ];
});
console.log(formatTable(
  [
    ...["workload", TIME_OF_A_STEP, "GB/s (more is better)", "copy GB/s", "share of it"],
    "torch CUDA fused",
  ],
  rows,
));
if (typeof torch === "string") console.log(`\ntorch was not timed: ${torch}`);

console.log("\nWhat a queued step costs the host, tables unchanged:");
for (const count of [2, 161]) {
  const shapes = repeat(count, [10]);
  const [plain, clipped] = [undefined, { maxNorm: 1 }].map((own) =>
    formatTime(timeHost(gpu, shapes, own))
  );
  console.log(`${count} tensors of 10: ${plain}; ${clipped} with maxNorm`);
}

await reportWebGpu(workloads, rounds);

function createOptimizer(gpu: Gpu, shapes: readonly Shape[]) {
  const params = shapes.map((shape) => {
    const values = Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i));
    return { data: gpu.tensor(values), grad: gpu.tensor(values) };
  });
  const optimizer = new SGD(params, OPTIONS);
  const dispose = () => {
    for (const { momentumBuffer } of optimizer.state.values()) {
      if (momentumBuffer !== null) (momentumBuffer as unknown as Disposable)[Symbol.dispose]();
    }
    for (const tensor of params.flatMap(({ data, grad }) => [data, grad])) tensor[Symbol.dispose]();
  };
  return { optimizer, dispose };
}

/** Nanoseconds of a step, and of a copy that reads and writes as many bytes, timed in turn. */
function timeInTurn(
  gpu: Gpu,
  shapes: readonly Shape[],
  bytes: number,
): [step: number, copy: number] {
  const { optimizer, dispose } = createOptimizer(gpu, shapes);
  const native = nativeOf(gpu);
  const copyBytes = Math.min(bytes / 2, 2 ** 27) & ~3;
  for (let i = 0; i < 3; i++) optimizer.step();
  gpu.synchronize();
  const steps: number[] = [];
  const copies: number[] = [];
  for (let i = 0; i < rounds; i++) {
    native.startTiming();
    optimizer.step();
    steps.push(native.stopTiming().reduce((sum, seconds) => sum + seconds, 0) * 1e9);
    copies.push(median([...native.timeCopies(copyBytes, 3)]) * 1e9 * (bytes / 2 / copyBytes));
  }
  dispose();
  return [median(steps), median(copies)];
}

/** Nanoseconds until a call of step returns, the queue kept short. */
function timeHost(gpu: Gpu, shapes: readonly Shape[], options?: StepOptions): number {
  const { optimizer, dispose } = createOptimizer(gpu, shapes);
  const times: number[] = [];
  for (let i = 0; i < 500; i++) {
    const start = performance.now();
    optimizer.step(options);
    times.push((performance.now() - start) * 1e6);
    if (i % 10 === 9) gpu.synchronize();
  }
  dispose();
  return median(times.slice(100));
}

/** Nanoseconds of torch's fused CUDA step per workload, or why it could not be timed. */
function timeTorch(sizes: readonly (readonly number[])[]): number[] | string {
  const code = TORCH.replace("SIZES", JSON.stringify(sizes));
  try {
    const python = new Deno.Command(flags.python ?? "python3", { args: ["-c", code] }).outputSync();
    const decoder = new TextDecoder();
    if (python.success) return decoder.decode(python.stdout).trim().split("\n").map(Number);
    return decoder.decode(python.stderr).trim().split("\n").at(-1) ?? "python failed";
  } catch (error) {
    return (error as Error).message;
  }
}
