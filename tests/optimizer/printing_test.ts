/** What consoles show of optimizers, schedulers and arrays, and what logs get of them. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path/join";
import { BFloat16Array, SGD } from "@descent/sgd";
import type { Parameter } from "@descent/sgd";
import { openLibrary } from "../../src/native/library.ts";
import { cpuMissing, testOnBackends } from "../support/backends.ts";
import { bundle, runIn, RUNTIMES, testOnRuntimes } from "../support/runtimes.ts";
import { ROOT, run, temporaryFolder } from "../publish/stage.ts";

const PROGRAM = "tests/optimizer/printing_program.ts";

/** A group as it is printed, with so many spaces before each line. */
function printedGroup(values: Record<string, unknown>, indent: string): string {
  const lines = Object.entries(values).map(([name, value]) => `${indent}  ${name}: ${value}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

const FLAGS = {
  ...{ nesterov: false, maximize: false, foreach: null, differentiable: false },
  ...{ sign: false, decoupledWeightDecay: false },
};

const GROUPS = [
  {
    ...{ parameters: 1, elements: 6, lr: 0.05, momentum: 0.9, dampening: 0, weightDecay: 0.01 },
    ...{ ...FLAGS, initialLr: 0.1, momentumBits: 32 },
  },
  {
    ...{ parameters: 1, elements: 3, lr: 0.1, momentum: 0.9, dampening: 0, weightDecay: 0 },
    ...{ ...FLAGS, initialLr: 0.2, momentumBits: 32 },
  },
];

const PRINTED = `
SGD {
  backend: "js",
  parameters: 2,
  elements: 9,
  paramGroups: [
    ${printedGroup(GROUPS[0], "    ")},
    ${printedGroup(GROUPS[1], "    ")}
  ]
}
ParamGroup ${printedGroup(GROUPS[1], "")}
LRScheduler { lastEpoch: 1, lastLr: [ 0.05, 0.1 ], baseLrs: [ 0.1, 0.2 ] }
ReduceLROnPlateau {
  lastEpoch: 0,
  best: Infinity,
  numBadEpochs: 0,
  cooldownCounter: 0,
  lastLr: [ 0.05, 0.1 ],
  mode: "min",
  factor: 0.5,
  patience: 3,
  threshold: 0.0001,
  thresholdMode: "rel",
  cooldown: 0,
  minLr: 0,
  eps: 1e-8
}
GradScaler {
  scale: 65536,
  growthFactor: 2,
  backoffFactor: 0.5,
  growthInterval: 2000,
  growthTracker: 0
}
GradScaler { enabled: false }
WeightAverage {
  decay: 0.5,
  biasCorrection: false,
  count: 1,
  isSwapped: false,
  parameters: 2,
  elements: 9
}
BFloat16Array(3) [ 0.5, -1.5, 3 ]
{
  data: BFloat16Array(3) [ 0.5, -1.5, 3 ],
  scheduler: LRScheduler { lastEpoch: 1, lastLr: [ 0.05, 0.1 ], baseLrs: [ 0.1, 0.2 ] }
}
${
  JSON.stringify({
    optimizer: { backend: "js", parameters: 2, elements: 9, paramGroups: GROUPS },
    group: GROUPS[1],
  })
}
`;

/** What a program printed, in the quotes of Deno. Bun has commas after the last of several lines. */
const normal = (text: string) => text.replaceAll("'", '"').replaceAll(/,(\n *[}\]])/g, "$1");

Deno.test("the console of Deno shows what optimizers, schedulers and arrays are", async () => {
  const args = ["run", "-q", "--no-check", PROGRAM];
  const { out, err } = await run(Deno.execPath(), args, { cwd: ROOT });
  assertEquals(`\n${out}`, PRINTED, err);
});

testOnRuntimes(RUNTIMES, "the console shows the same as that of Deno", async (runtime) => {
  await using folder = await temporaryFolder();
  const program = join(folder.path, "program.mjs");
  await bundle(PROGRAM, program);
  const { out, err } = await runIn(runtime, [program]);
  assertEquals(`\n${normal(out)}`, PRINTED, err);
});

Deno.test("printing works at every depth, with colors, and for classes", () => {
  const optimizer = new SGD([{ data: new Float32Array(2), grad: null }], { lr: 0.5 });
  assertMatch(Deno.inspect({ a: { b: [optimizer] } }), /\bSGD \{\s+backend: "(cpu|js)",/);
  assertMatch(Deno.inspect({ a: optimizer }, { depth: 0 }), /SGD/);
  assert(Deno.inspect(optimizer, { colors: true }).includes("\x1b[33m0.5\x1b[39m"));
  assertMatch(Deno.inspect(SGD), /class SGD/);
  assertEquals(Deno.inspect(BFloat16Array.prototype), "[BFloat16Array]");
});

Deno.test("a group is printed as it is at the time, and can still be spread as options", () => {
  const w: Parameter = { data: new Float32Array(2), grad: null };
  const { paramGroups: [group] } = new SGD([w], { lr: 0.5 });
  group.lr = 0.25;
  w.data = new Float64Array(5);
  assertMatch(Deno.inspect(group), /elements: 5,\s+lr: 0.25,/);
  assertEquals(group.toJSON().elements, 5);
  w.data = undefined as unknown as Float32Array;
  assertEquals(group.toJSON().elements, 0);
  const other = { data: new Float32Array(1), grad: null };
  assertEquals(new SGD([{ ...group, params: [other] }]).paramGroups[0].lr, 0.25);
});

Deno.test("JSON of an optimizer has nothing of its arrays", () => {
  const params = Array.from({ length: 3 }, () => ({
    data: new Float32Array(10_000).fill(0.123),
    grad: new Float32Array(10_000).fill(0.456),
  }));
  const optimizer = new SGD(params, { lr: 0.5, momentum: 0.9 });
  optimizer.step();
  const text = JSON.stringify(optimizer);
  assert(text.length < 500, text);
  assertEquals(JSON.parse(text).elements, 30_000);
  assertEquals(JSON.parse(JSON.stringify(optimizer.paramGroups[0])).parameters, 3);
});

const make = (options: { backend?: "cpu" | "js" } = {}) =>
  new SGD<BFloat16Array>([{ data: new Float32Array(1), grad: null }], { lr: 0.1, ...options });

Deno.test("backendReason says that js was asked for", () => {
  const said = 'The backend is js, as the option backend is "js"';
  assertEquals(make({ backend: "js" }).backendReason, said);
});

testOnBackends("backendReason begins with the backend", (backend) => {
  assert(make({ backend }).backendReason.startsWith(`The backend is ${backend}, as `));
});

Deno.test({
  name: `backendReason says that the library is there${cpuMissing ? " (skipped: it is not)" : ""}`,
  ignore: cpuMissing !== null,
  fn() {
    const there = "the native library is there and allowed";
    assertEquals(make().backendReason, `The backend is cpu, as ${there}`);
    const asked = `The backend is cpu, as the option backend is "cpu", and ${there}`;
    assertEquals(make({ backend: "cpu" }).backendReason, asked);
  },
});

Deno.test("backendReason says what to do where the library is not allowed or not there", async () => {
  const program = `import { SGD } from "@descent/sgd";
    const optimizer = new SGD([{ data: new Float32Array(1), grad: null }], { lr: 0.1 });
    console.log(optimizer.backendReason);`;
  await using folder = await temporaryFolder();
  const file = join(folder.path, "program.ts");
  await Deno.writeTextFile(file, program);
  const config = ["--config", join(ROOT, "deno.json")];
  const { out, err } = await run(Deno.execPath(), ["run", "-q", "--no-check", ...config, file]);
  const library = openLibrary();
  const reason = "reason" in library ? "" : `loading ${library.path} is not allowed: run with --`;
  assert(out.startsWith(`The backend is js, as ${reason}`), out + err);
});
