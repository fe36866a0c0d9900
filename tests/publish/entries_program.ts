/** A program that imports every entry of the package and uses each: what it says, in every runtime. */

import { ENTRIES } from "./stage.ts";

/** The module of an entry, such as "./install". */
export type Specifier = (entry: string) => string;

/**
 * A program that imports everything, does what runs anywhere, and tries what needs a system. It has no
 * `await` at the top, which scripts cannot have.
 */
export const wholeProgram = (specifier: Specifier): string => `
  ${imports(specifier)}
  main();
  async function main() {
  const entries = { ${names()} };
  const { ".": descent, "./install": installer, "./doctor": doctor } = entries;
  const { "./gpu": gpu, "./schedules": schedules, "./tfjs": tfjs, "./webgpu": webgpu } = entries;
  const { "./safetensors": tensors } = entries;
  const { BFloat16Array, decodeStateDict, encodeStateDict, SGD } = descent;
  const said = [];
  for (const array of [Float32Array, Float64Array, BFloat16Array]) {
    const params = [10, 100].map((length) => ({
      data: array.from({ length }, () => 1),
      grad: array.from({ length }, () => 0.5),
    }));
    const optimizer = new SGD(params, { lr: 0.125, momentum: 0.5 });
    optimizer.step();
    optimizer.step({ maxNorm: 100, gradScale: 1 });
    optimizer.loadStateDict(decodeStateDict(encodeStateDict(optimizer.stateDict())));
    await optimizer.stepAsync();
    const { first } = tensors.decodeTensors(tensors.encodeTensors({ first: params[0] }));
    const values = [first, params[1]].map(({ data }) => array.from(data).at(-1));
    said.push(optimizer.backend + " " + values.join(" "));
  }
  const w = { data: new Float32Array(1), grad: null };
  const optimizer = new SGD([w], { lr: 0.1 });
  const file = globalThis.process?.argv?.[2] ?? "state";
  for (const attempt of [
    () => descent.saveState(file, optimizer),
    async () => (await descent.loadState(file)).param_groups[0].lr,
    () => new SGD([w], { lr: 0.1, backend: "cpu" }).backend,
    () => gpu.openGpu({ adapter: "no such adapter" }),
    async () => (await installer.installKernels({ from: "no-such-folder" })).wasThere,
    () => installer.uninstallKernels({ folder: "no-such-folder" }),
    () => doctor.diagnose().split("\\n")[0],
  ]) {
    try {
      said.push(String(await attempt()));
    } catch (error) {
      said.push(error.message);
    }
  }
  for (const make of [
    () => webgpu.adoptDevice({}),
    () => new tfjs.DescentOptimizer({}, { lr: 0.1 }),
  ]) {
    try {
      make();
    } catch (error) {
      said.push(error.message);
    }
  }
  said.push(schedules.stepLR({ stepSize: 1, gamma: 0.5 })(1, 1));
  const lines = said.join("\\n");
  globalThis.document?.body.append(lines);
  console.log(lines);
  }`;

function imports(specifier: Specifier): string {
  return [...ENTRIES.keys()].map((entry, i) => `import * as entry${i} from "${specifier(entry)}";`)
    .join("");
}

function names(): string {
  return [...ENTRIES.keys()].map((entry, i) => `${JSON.stringify(entry)}: entry${i}`).join(", ");
}

/** Three steps from 1, which go down by 0.0625, 0.09375 and 0.109375: the lines of a backend. */
export const stepped = (backend: string): string[] => [
  `${backend} 0.734375 0.734375`,
  `${backend} 0.734375 0.734375`,
  `${backend} 0.734375 0.734375`,
];

/** The last lines: what is neither a device nor tfjs, and a schedule, one step after 1. */
export const SCHEDULED = [
  "Cannot adopt the device as it must be a GPUDevice: current value is an object",
  'Cannot create the optimizer as tf must be the module of tfjs: import * as tf from "@tensorflow/tfjs"',
  "0.5",
].join("\n");
