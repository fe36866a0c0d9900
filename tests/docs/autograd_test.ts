/** The recipes of docs/autograd.md run, each on a problem that it leaves to its reader. */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { ROOT, temporaryFolder } from "../publish/stage.ts";
import { chromium, runInBrowser } from "../support/browser.ts";
import { deno } from "../support/demo_runs.ts";
import { modulesOf, PACKAGES } from "../support/runtimes.ts";
import { onnxModel } from "./onnx_model.ts";

const page = await Deno.readTextFile(join(ROOT, "docs/autograd.md"));

/** The recipes that are not whole programs. */
const recipes = Array.from(page.matchAll(/^```ts ignore\n([^]*?)^```$/gm), ([, code]) => code);

/** A problem: words of the recipe that is for it, and what stands around it in a program. */
interface Problem {
  readonly words: string;
  readonly before: string;
  readonly after: string;
}

/** Least squares with the gradient [-4, -6], begun with jax-js on a device. */
const leastSquares = (device: string) => `
  import { defaultDevice, getWebGPUDevice, init, jit, numpy as np, valueAndGrad } from "@jax-js/jax";
  import { SGD } from "@descent/sgd";
  import { adoptDevice, type WebGpuTensor } from "@descent/sgd/webgpu";
  await init("${device}");
  defaultDevice("${device}");
  const loss = ([w]: np.Array[], x: np.Array, y: np.Array) =>
    np.square(np.dot(x, w).sub(y)).mean();
  const [x, y] = [np.array([[1, 2], [3, 4]]), np.array([[1], [1]])];
`;

const PROBLEMS = {
  jax: {
    words: "dataSync()",
    before: `${leastSquares("wasm")}
      const rows = [{
        ...{ name: "w", shape: [2, 1], data: new Float32Array(2) },
        grad: null as Float32Array | null,
      }];
      const optimizer = new SGD(rows, { lr: 1, momentum: 0.9 });
    `,
    after: `console.log(value.dataSync()[0], ...rows[0].data.map((w) => Math.round(1e3 * w)));`,
  },
  jaxOnGpu: {
    words: "getWebGPUDevice()",
    before: `${leastSquares("webgpu")}
      const lossAndGrad = jit(valueAndGrad(loss));
      const weights = [np.array([[0], [1]])];
    `,
    after: `
      const stepped = (await weights[0].ref.data()).map((w) => Math.round(1e3 * w));
      console.log((await value.data())[0], ...stepped);
    `,
  },
  tfjs: {
    words: "model.compile(",
    before: `
      let saved: tf.io.ModelArtifacts | undefined;
      const target = tf.io.withSaveHandler((artifacts) => {
        saved = artifacts;
        const modelTopologyType = "JSON" as const;
        return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType } });
      });
      const model = tf.sequential({
        layers: [tf.layers.dense({ units: 2, activation: "softmax", inputShape: [2] })],
      });
      const [xs, ys] = [tf.tensor2d([[0, 1], [1, 0]]), tf.tensor2d([[1, 0], [0, 1]])];
    `,
    after: `
      const names = saved!.weightSpecs!.filter(({ group }) => group === "optimizer").length;
      console.log(optimizer.iterations, optimizer.sgd!.paramGroups[0].lr, names > 1);
    `,
  },
  onnx: {
    words: "ort.InferenceSession",
    before: `
      import { SGD } from "@descent/sgd";
      import { adoptDevice, type WebGpuTensor } from "@descent/sgd/webgpu";
      ort.env.wasm.wasmPaths = "/";
      ort.env.wasm.numThreads = 1;
      const bytes = async (path: string) => new Uint8Array(await (await fetch(path)).arrayBuffer());
      const model = await bytes("/model.onnx");
      const weights = new Float32Array((await bytes("/weights.bin")).buffer);
      const pixels = new Float32Array((await bytes("/pixels.bin")).buffer);
      const x = new ort.Tensor("float32", pixels, [4, 64]);
    `,
    after: `
      const answer = { loss: loss.data[0], weights: [...await w.read()] };
      await fetch("/result", { method: "POST", body: JSON.stringify(answer) });
    `,
  },
} satisfies Record<string, Problem>;

function programOf({ words, before, after }: Problem): string {
  const recipe = recipes.find((code) => code.includes(words));
  if (recipe === undefined) throw new Error(`docs/autograd.md has no recipe with ${words}`);
  return [before, recipe, after].join("\n");
}

/** Runs a program of this repository's, and returns what it prints. */
async function runProgram(code: string): Promise<string> {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "program.ts");
  await Deno.writeTextFile(path, code);
  const config = join(ROOT, "deno.json");
  const { code: status, out, err } = await deno([
    ...["run", "--quiet", "--check", "-A", "--config", config, path],
  ]);
  assertEquals(status, 0, err);
  return out.trimEnd().split("\n").at(-1)!;
}

/** Why a package cannot be used; null if it can. */
async function notFetched(name: string): Promise<string | null> {
  const { code, err } = await deno(["cache", name]);
  return code === 0 ? null : `${name} cannot be fetched: ${err.trim().split("\n")[0]}`;
}

function test(name: string, reason: string | null, fn: () => Promise<void>): void {
  const ignore = reason !== null;
  Deno.test({ name: ignore ? `${name} (skipped: ${reason})` : name, ignore, fn });
}

Deno.test("each recipe of docs/autograd.md that is not a program has a problem", () => {
  const solved = recipes.map((code) =>
    Object.values(PROBLEMS).filter(({ words }) => code.includes(words)).length
  );
  assertEquals(solved, Array(Object.keys(PROBLEMS).length).fill(1));
});

const noJax = await notFetched("npm:@jax-js/jax@0.1.25");
const adapter = await navigator.gpu?.requestAdapter() ?? null;

test("the recipe for jax-js clips, and steps arrays", noJax, async () => {
  assertEquals(await runProgram(programOf(PROBLEMS.jax)), "1 555 832"); // [4, 6] of norm 1
});

test(
  "the recipe for jax-js on WebGPU steps its own arrays",
  noJax ?? (adapter === null ? "WebGPU finds no adapter" : null),
  async () => {
    // With w = [0, 1] the residuals are [1, 3], and the gradient is [10, 14].
    assertEquals(await runProgram(programOf(PROBLEMS.jaxOnGpu)), "5 -1000 -400");
  },
);

test(
  "the recipe for TensorFlow.js trains a model, and saves it with the optimizer",
  await notFetched("npm:@tensorflow/tfjs@4.22.0"),
  async () => {
    assertEquals(await runProgram(programOf(PROBLEMS.tfjs)), "5 0.01 true");
  },
);

const ROWS = 4;
const [INPUTS, OUTPUTS] = [64, 10];

/** The squared error of a linear layer, and its backward pass as nodes. */
function linearModel(target: Float32Array): Uint8Array<ArrayBuffer> {
  const factor = Float32Array.of(2 / (ROWS * OUTPUTS));
  const side = (name: string, ...shape: number[]) => ({ name, shape });
  return onnxModel({
    inputs: [side("x", ROWS, INPUTS), side("w", INPUTS, OUTPUTS)],
    outputs: [side("loss", 1, 1), side("grad_w", INPUTS, OUTPUTS)],
    constants: [
      { ...side("y", ROWS, OUTPUTS), data: target },
      { ...side("factor", 1), data: factor },
    ],
    nodes: [
      ["MatMul", ["x", "w"], "scores"],
      ["Sub", ["scores", "y"], "rest"],
      ["Mul", ["rest", "rest"], "squares"],
      ["ReduceMean", ["squares"], "loss"],
      ["Transpose", ["x"], "columns"],
      ["MatMul", ["columns", "rest"], "sums"],
      ["Mul", ["sums", "factor"], "grad_w"],
    ],
  });
}

/** The loss of the model, and its weights after a step with lr 0.1. */
function stepLinear(x: Float32Array, w: Float32Array, y: Float32Array) {
  const rest = y.map((target, i) => {
    const [row, k] = [Math.floor(i / OUTPUTS), i % OUTPUTS];
    let sum = -target;
    for (let j = 0; j < INPUTS; j++) sum += x[row * INPUTS + j] * w[j * OUTPUTS + k];
    return sum;
  });
  const weights = w.map((value, i) => {
    const [j, k] = [Math.floor(i / OUTPUTS), i % OUTPUTS];
    let grad = 0;
    for (let row = 0; row < ROWS; row++) grad += x[row * INPUTS + j] * rest[row * OUTPUTS + k];
    return value - 0.1 * grad * 2 / y.length;
  });
  return { loss: rest.reduce((sum, r) => sum + r * r, 0) / y.length, weights };
}

const runtime = await modulesOf("ONNX Runtime Web");
const noRuntime = runtime === null ? `npm cannot fetch ${PACKAGES["ONNX Runtime Web"]}` : null;

/** The files that the runtime fetches. */
async function wasmFiles(dist: string): Promise<Record<string, Uint8Array<ArrayBuffer>>> {
  const files: Record<string, Uint8Array<ArrayBuffer>> = {};
  for await (const { name } of Deno.readDir(dist)) {
    if (/^ort-wasm.*\.(wasm|mjs)$/.test(name)) {
      files[`/${name}`] = await Deno.readFile(join(dist, name));
    }
  }
  return files;
}

test(
  "the recipe for ONNX Runtime Web steps the weights of a graph on its device",
  chromium === undefined ? "no Chromium or Chrome" : noRuntime,
  async () => {
    const dist = join(runtime!, "onnxruntime-web", "dist");
    const values = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i));
    const [x, w] = [values(ROWS * INPUTS), values(INPUTS * OUTPUTS)];
    const y = values(ROWS * OUTPUTS).reverse();
    const module = `import * as ort from "${join(dist, "ort.webgpu.bundle.min.mjs")}";`;
    const program = `${module}\n${programOf(PROBLEMS.onnx)}`.replaceAll(
      /"@descent\/sgd(?:\/(\w+))?"/g,
      (_, entry = "mod") => `"file://${join(ROOT, `${entry}.ts`)}"`,
    );
    await using folder = await temporaryFolder();
    const source = join(folder.path, "page.ts");
    await Deno.writeTextFile(source, program);
    const answer = await runInBrowser(source, {
      ...await wasmFiles(dist),
      "/model.onnx": linearModel(y),
      ...{ "/weights.bin": bytesOf(w), "/pixels.bin": bytesOf(x) },
    }) as { loss: number; weights: number[]; error?: string };
    assertEquals(answer.error, undefined);
    const expected = stepLinear(x, w, y);
    assert(
      Math.abs(answer.loss - expected.loss) < 1e-5 * expected.loss,
      `${answer.loss}, not ${expected.loss}`,
    );
    const errors = answer.weights.map((value, i) => Math.abs(value - expected.weights[i]));
    assert(Math.max(...errors) < 1e-5, `${Math.max(...errors)}`);
    assert(answer.weights.some((value, i) => Math.abs(value - w[i]) > 1e-3), "nothing was stepped");
  },
);

function bytesOf({ buffer }: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer);
}
