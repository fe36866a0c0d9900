/**
 * What the compiler says of mistakes, and that it takes programs as people write them. `deno check`
 * reads all programs at once.
 */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { ROOT, run, temporaryFolder } from "../publish/stage.ts";

const HEAD = `
import { BFloat16Array, SGD } from "@descent/sgd";
import type { FloatArray, HalfArray, HostArray, Parameter, SparseGrad, Tensor } from "@descent/sgd";
import type { Gpu, GpuTensor } from "@descent/sgd/gpu";
import { adoptDevice, type WebGpuTensor } from "@descent/sgd/webgpu";
const floats = () => new Float32Array(2);
const w = { data: floats(), grad: floats() };
const options = { lr: 0.1 };
`;

const NO_GRAD =
  "Property 'grad' is missing in type '{ data: Float32Array<ArrayBuffer>; }' but required in type " +
  "'ListedParameter<";

/** Programs with a mistake, and what the compiler says of it. */
const MISTAKES: Record<string, { program: string } & Message> = {
  "a forgotten grad": {
    program: "new SGD([{ data: floats() }], options);",
    said: NO_GRAD,
  },
  "a forgotten grad in a group": {
    program: "new SGD([{ params: [{ data: floats() }] }], options);",
    said: NO_GRAD,
  },
  "a forgotten grad, beside a parameter that has one": {
    program: "new SGD([w, { data: floats() }], options);",
    said: NO_GRAD,
  },
  "a tensor of another dtype as grad": {
    program: `
      declare const gpu: Gpu;
      new SGD([{ data: gpu.tensor(2), grad: gpu.tensor(2, { dtype: "float16" }) }], options);`,
    said: "Type 'GpuTensor<\"float16\">' is not assignable to type",
  },
  "a forgotten grad, in a list that is a variable": {
    program: "const params = [{ data: floats() }]; new SGD(params, options);",
    said:
      "Argument of type '{ data: Float32Array<ArrayBuffer>; }[]' is not assignable to parameter of type",
    reason: NO_GRAD,
  },
  "a number[] as data": {
    program: "new SGD([{ data: [1, 2], grad: floats() }], options);",
    said: "Type 'number[]' is not assignable to type",
  },
  "a number[] as grad": {
    program: "new SGD([{ data: floats(), grad: [1, 2] }], options);",
    said: "Type 'number[]' is not assignable to type",
  },
  "a number[] in a group": {
    program: "new SGD([{ params: [{ data: [1, 2], grad: null }] }], options);",
    said: "Type 'number[]' is not assignable to type",
  },
  "a wrong dtype": {
    program: "new SGD([{ data: new Int32Array(2), grad: null }], options);",
    said: "Type 'Int32Array<ArrayBuffer>' is not assignable to type",
  },
  "a wrong dtype of grad": {
    program: "new SGD([{ data: floats(), grad: new Uint16Array(2) }], options);",
    said: "Type 'Uint16Array<ArrayBuffer>' is not assignable to type",
  },
  "an array in place of a parameter": {
    program: "new SGD([floats()], options);",
    said:
      "Type 'Float32Array<ArrayBuffer>' is missing the following properties from type 'ListedParameter<",
  },
  "a parameter in place of a list": {
    program: "new SGD(w, options);",
    said:
      "Argument of type '{ data: Float32Array<ArrayBuffer>; grad: Float32Array<ArrayBuffer>; }' is not assignable to parameter of type 'Iterable<",
  },
  "an option that does not exist": {
    program: "new SGD([w], { lr: 0.1, weight_decay: 0.1 });",
    said:
      "Object literal may only specify known properties, but 'weight_decay' does not exist in type 'SGDOptions'. Did you mean to write 'weightDecay'?",
  },
  "an option of another type": {
    program: 'new SGD([w], { lr: "0.1" });',
    said: "Type 'string' is not assignable to type 'number'.",
  },
  "an option of a group that does not exist": {
    program: "new SGD([{ params: [w], learningRate: 0.1 }], options);",
    said:
      "Object literal may only specify known properties, and 'learningRate' does not exist in type 'ListedParameter<",
  },
  "an option of a group of another type": {
    program: 'new SGD([{ params: [w], lr: "0.1" }], options);',
    said: "Type 'string' is not assignable to type 'number'.",
  },
  "no options, and parameters": {
    program: "new SGD([w]);",
    said:
      "Type '{ data: Float32Array<ArrayBuffer>; grad: Float32Array<ArrayBuffer>; }' is missing the following properties from type 'ParamGroupWithLr<",
  },
  "no options, and a group without lr": {
    program: "new SGD([{ params: [w], lr: 0.1 }, { params: [w] }]);",
    said:
      "Property 'lr' is missing in type '{ params: { data: Float32Array<ArrayBuffer>; grad: Float32Array<ArrayBuffer>; }[]; }' but required in type 'ParamGroupWithLr<",
  },
  "a group with a forgotten grad, added": {
    program: "new SGD([w], options).addParamGroup({ params: [{ data: floats() }] });",
    said: NO_GRAD,
  },
};

/** Programs without one. */
const PROGRAMS: Record<string, string> = {
  "float32 and float64 in one list": `
    new SGD([w, { data: new Float64Array(1), grad: new Float64Array(1) }], options);`,
  "float32 and bfloat16, in both orders": `
    const b = { data: new BFloat16Array(1), grad: new BFloat16Array(1) };
    new SGD([w, b], options);
    new SGD([b, w], options);
    new SGD([{ params: [w] }, { params: [b], lr: 1 }], options);`,
  "float16 and bfloat16, one with a gradient of float32": `
    const optimizer: SGD = new SGD<HalfArray>([
      { data: new Float16Array(1), grad: new Float32Array(1) },
      { data: new BFloat16Array(1), grad: null },
    ], options);
    optimizer.step();`,
  "gradients in memory of another kind": `
    const shared = new SharedArrayBuffer(4);
    const halves = [
      { data: BFloat16Array.of(1, 2), grad: new BFloat16Array(2) },
      { data: BFloat16Array.of(1, 2), grad: new BFloat16Array(shared) },
    ];
    new SGD(halves, options);
    new SGD([{ data: new Float16Array(2), grad: new Float16Array(shared) }], options);
    new SGD([{ data: floats(), grad: new Float32Array(shared) }], options);`,
  "lists that are variables": `
    const params = [w, { data: new BFloat16Array(1), grad: new BFloat16Array(1) }];
    new SGD(params, options);
    const declared: Parameter[] = [w, { data: new Float64Array(1), grad: null }];
    new SGD(declared, options);
    const halves: readonly Parameter<HalfArray>[] = [{ data: new BFloat16Array(1), grad: null }];
    new SGD(halves, options);
    const all: Parameter<Tensor>[] = [...declared, ...halves];
    const optimizer: SGD<Tensor> = new SGD(all, options);
    optimizer.step();`,
  "other iterables": `
    new SGD(new Set([w]), options);
    new SGD(new Map([["w", w]]).values(), options);
    new SGD((function* () { yield { params: new Set([w]), lr: 1 }; })(), options);`,
  "sparse gradients": `
    declare const sparse: SparseGrad;
    const table: { data: Float32Array; grad: SparseGrad | null } = { data: floats(), grad: sparse };
    new SGD([table, w], options);
    new SGD([{ params: [table, w] }], options);`,
  "a function of an optimizer": `
    function train(optimizer: SGD): number {
      for (const group of optimizer.paramGroups) {
        group.lr /= 2;
        for (const { data, grad } of group.params) if (grad !== null) data[0] += grad.length;
      }
      optimizer.step();
      optimizer.zeroGrad();
      return optimizer.paramGroups[0].lr;
    }
    train(new SGD([w], options));
    train(new SGD([{ data: new Float64Array(1), grad: null }], options));
    train(new SGD([{ data: new BFloat16Array(1), grad: null }], options));
    train(new SGD<BFloat16Array>([{ data: new BFloat16Array(1), grad: null }], options));
    train(new SGD<FloatArray>([w], options));`,
  "an optimizer that is a member": `
    class Trainer {
      readonly optimizer: SGD;
      constructor(params: Parameter[]) {
        this.optimizer = new SGD(params, options);
      }
    }
    new Trainer([w]).optimizer.step();`,
  "tensors on a GPU": `
    declare const gpu: Gpu;
    const own = { data: gpu.tensor(3), grad: gpu.tensor(3) };
    const optimizer = new SGD([own, w], options);
    const any: SGD<Tensor> = optimizer;
    const momentum: GpuTensor | HostArray | null | undefined =
      optimizer.state.get(own)?.momentumBuffer;
    any.addParamGroup({ params: [own] });
    console.log(momentum);`,
  "tensors in buffers of WebGPU, with gradients that come later": `
    declare const device: GPUDevice;
    declare const buffer: GPUBuffer;
    const gpu = adoptDevice(device);
    const own = { data: gpu.tensor(buffer), grad: null as WebGpuTensor | null };
    own.grad = gpu.tensor(buffer);
    const optimizer: SGD<Tensor> = new SGD([own], options);
    new SGD([{ params: [own] }], options).step();
    optimizer.step();`,
  "state and momentum of float32": `
    const optimizer = new SGD([w], options);
    const buffer = optimizer.state.get(w)?.momentumBuffer;
    const copy = Float32Array.from(buffer ?? []);
    console.log(buffer?.[0], buffer?.slice(), copy);`,
  "groups with learning rates of their own, and no options": `
    const optimizer = new SGD([{ params: [w], lr: 0.1 }]);
    new SGD([{ ...optimizer.paramGroups[0], params: [{ data: floats(), grad: null }] }]);
    new SGD(optimizer.paramGroups);`,
  "groups of different options": `
    const groups = [{ params: [w], lr: 1 }, { params: [{ data: floats(), grad: null }], momentum: 0 }];
    new SGD(groups, options);`,
  "summaries": `
    const optimizer = new SGD([w], options);
    const { backend, paramGroups: [{ lr, elements }] } = optimizer.toJSON();
    const text: string = backend + optimizer.backendReason;
    const sum: number = lr + elements + optimizer.paramGroups[0].toJSON().parameters;
    console.log(text, sum);`,
  "numbers of bfloat16": `
    const array = BFloat16Array.of(1, 2);
    const numbers: number[] = [array.get(0), ...array, ...array.numbers(), array.at(-1) ?? 0];
    const mapped: BFloat16Array = array.map((x) => 2 * x).filter((x) => x > 0).sort();
    array.set(numbers.slice(2));
    array.set(floats());
    array.setNumber(0, mapped.get(0));`,
};

/** What the compiler says of a mistake: how the first line begins, and the last one if there are more. */
interface Message {
  readonly said: string;
  readonly reason?: string;
}

/** The errors in each program, by its number. */
async function check(programs: readonly string[]): Promise<Map<number, Message[]>> {
  await using folder = await temporaryFolder();
  const files = programs.map((_, i) => join(folder.path, `program_${i}.ts`));
  for (const [i, program] of programs.entries()) await Deno.writeTextFile(files[i], HEAD + program);
  const config = join(ROOT, "deno.json");
  const { err } = await run(Deno.execPath(), ["check", "--quiet", "--config", config, ...files]);
  const found = new Map<number, Message[]>();
  // An error is some lines of text, of which all but the first are indented, an excerpt, and the place.
  for (const part of err.split(/^TS\d+ \[ERROR\]: /m).slice(1)) {
    const [said, ...lines] = part.split("\n");
    const reason = lines.slice(0, lines.findIndex((line) => !line.startsWith("  "))).at(-1)?.trim();
    const number = Number(part.match(/^ {4}at \S*program_(\d+)\.ts/m)?.[1]);
    found.set(number, [
      ...found.get(number) ?? [],
      reason === undefined ? { said } : { said, reason },
    ]);
  }
  return found;
}

Deno.test("the compiler reports mistakes as what they are", async () => {
  const mistakes = Object.entries(MISTAKES);
  const found = await check(mistakes.map(([, { program }]) => program));
  for (const [i, [name, { said, reason }]] of mistakes.entries()) {
    const [message, ...others] = found.get(i) ?? [];
    assert(message?.said.startsWith(said), `${name}: ${message?.said}`);
    if (reason !== undefined) {
      assert(message.reason?.startsWith(reason), `${name}: ${message.reason}`);
    }
    assertEquals(others, [], name);
  }
});

Deno.test("the compiler takes programs as people write them", async () => {
  const programs = Object.entries(PROGRAMS);
  const found = await check(programs.map(([, program]) => program));
  for (const [i, [name]] of programs.entries()) assertEquals(found.get(i), undefined, name);
});
