/**
 * Measures what differentiable steps cost next to plain ones, in turn: `deno task bench:vjp`.
 *
 * A recorded step copies what it reads; `backward` makes the arrays that it returns, as `sgdVjp`
 * does. All of that is in the figures.
 *
 * @module
 */

import { type BackendName, type FloatArray, SGD, sgdVjp } from "@descent/sgd";
import { readFlags } from "./flags.ts";
import { collectGarbage, createParameters } from "./memory.ts";
import { library } from "./references.ts";
import { LR, MAIN_MODE, MODES } from "./rows.ts";
import { FULL, median, sampleInTurn } from "./sampler.ts";
import { describeMachine, formatTable, formatTime, today, withTimes } from "./text.ts";
import { findWorkload, type Workload } from "./workloads.ts";

const HELP = `Measures recorded steps, backward and sgdVjp next to plain steps.

Usage: deno task bench:vjp [options]

  --backend NAME  cpu or js only (default: both)
  --help          show this text`;

/** The js backend goes back element by element; ResNet-50 says no more about it than the MLP. */
const CASES: readonly [workload: string, backend: BackendName][] = [
  ["MLP 784-256-128-10", "cpu"],
  ["MLP 784-256-128-10", "js"],
  ["ResNet-50", "cpu"],
];

const flags = readFlags(Deno.args, { texts: ["backend"], help: HELP });
const cases = CASES.filter(([, backend]) => backend === (flags.backend ?? backend));
const rows = cases
  .filter(([, backend]) => backend !== "cpu" || !("reason" in library))
  .map(([name, backend]) => [`${name}, ${backend}`, ...measure(findWorkload(name), backend)]);
if ("reason" in library) console.log(`The cpu backend is not measured: ${library.reason}`);
console.log(`${describeMachine()}, Deno ${Deno.version.deno}, ${today()}: ${MAIN_MODE}, float32\n`);
console.log(formatTable(
  [withTimes("one step"), "plain", "recorded", "backward", "sgdVjp", "recorded and back / plain"],
  rows,
));

/** The cells of a row. */
function measure(workload: Workload, backend: BackendName): string[] {
  const parameters = createParameters(workload, "float32");
  const options = { lr: LR, ...MODES[MAIN_MODE], backend };
  const create = (recording: object) => new SGD(parameters, { ...options, ...recording });
  const [plain, recording, returning] = [
    create({}),
    create({ differentiable: true, recordSteps: 1 }),
    create({ differentiable: true }),
  ];
  const cotangents = new Map(parameters.map((parameter) => [parameter, parameter.grad!]));
  const runs = [
    () => plain.step(),
    () => recording.step(),
    () => {
      returning.step();
      returning.backward(cotangents);
    },
    vjpOf(parameters.map(({ data, grad }) => [data, grad!]), options),
  ];
  const [steps, recorded, returned, vjps] = sampleInTurn(runs, FULL);
  collectGarbage();
  const back = returned.map((ns, i) => ns - recorded[i]);
  const ratio = median(returned.map((ns, i) => ns / steps[i]));
  return [...[steps, recorded, back, vjps].map((ns) => formatTime(median(ns))), ratio.toFixed(1)];
}

/** Goes back through one later step: gradients stand in for buffers and cotangents as well. */
function vjpOf(arrays: readonly [FloatArray, FloatArray][], options: object) {
  const params = arrays.map(([data]) => data);
  const grads = arrays.map(([, grad]) => grad);
  const cotangents = { params: grads, momentumBuffers: grads };
  const full = {
    ...{ lr: LR, momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false },
    ...options,
  };
  return () => void sgdVjp(params, grads, grads, cotangents, full);
}
