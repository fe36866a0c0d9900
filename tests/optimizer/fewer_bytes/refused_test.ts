/** What does not go with momentum in 8 bits, with split master weights and with float32 gradients. */

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { BFloat16Array, SGD, sgd, sgdVjp } from "@descent/sgd";
import type {
  DeviceTensor,
  HostArray,
  Parameter,
  ParamGroupOptions,
  SGDOptions,
  Tensor,
} from "@descent/sgd";
import { testOnBackends } from "../../support/backends.ts";
import { registerDeviceTensor } from "../../../src/core/dtype.ts";

const half = (): Parameter<HostArray> => {
  return { data: new BFloat16Array(4096), grad: new BFloat16Array(4096) };
};

const wide = (): Parameter => ({ data: new Float32Array(4096), grad: new Float32Array(4096) });

const OFF = { dampening: 0, weightDecay: 0, nesterov: false, maximize: false };

/** A tensor of a device that takes no steps. */
function tensorOf(name: "float32" | "float16"): DeviceTensor {
  const bytes = name === "float32" ? 4 : 2;
  const device = {
    ...{ name: "gpu" as const, address: () => 2 ** 48, step: () => {}, zero: () => {} },
    synchronize: () => Promise.resolve(),
    report: () => Promise.reject(new Error("not asked for")),
    written: () => Promise.resolve([]),
  };
  const tensor = {
    ...{ length: 4096, byteLength: 4096 * bytes, readSync: () => new Float32Array(4096) },
    read: () => Promise.resolve(new Float32Array(4096)),
    write() {},
  };
  registerDeviceTensor(tensor, { code: 16, bytes, name, device, zeros: () => tensorOf(name) });
  return tensor;
}

function create(parameter: Parameter<HostArray>, options: object): SGD<HostArray> {
  return new SGD<HostArray>([parameter], { lr: 0.1, momentum: 0.9, ...options } as SGDOptions);
}

function withTensor(name: "float32" | "float16", options: object) {
  const w: Parameter<Tensor> = { data: tensorOf(name), grad: null };
  return new SGD<Tensor>([w], { lr: 0.1, ...options } as SGDOptions);
}

type Case = [act: () => unknown, type: typeof TypeError | typeof RangeError, text: string];

const AS_RANGE = RangeError as unknown as typeof TypeError;

/** Options that are refused when the optimizer is made. */
const OPTIONS: Readonly<Record<string, Case>> = {
  "momentumBits of another number": [
    () => create(wide(), { momentumBits: 16 }),
    AS_RANGE,
    "Cannot set momentumBits as it must be 8 or 32: current value is 16",
  ],
  "momentumBits as text": [
    () => create(wide(), { momentumBits: "8" }),
    TypeError,
    'Cannot set momentumBits as it must be a number: current value is "8"',
  ],
  "momentumBits of another number in a group": [
    () =>
      new SGD([{ params: [wide()], momentumBits: 4 } as unknown as ParamGroupOptions], { lr: 1 }),
    AS_RANGE,
    "Cannot set momentumBits as it must be 8 or 32: current value is 4",
  ],
  "momentumBits 8 with torch's rounding": [
    () => create(half(), { momentumBits: 8, rounding: "torch" }),
    AS_RANGE,
    'Cannot set momentumBits 8 as it needs rounding "nearest" or "stochastic": current value is "torch"',
  ],
  "momentumBits 8 with differentiable": [
    () => create(wide(), { momentumBits: 8, differentiable: true }),
    AS_RANGE,
    "Cannot set differentiable as it needs momentumBits 32: current value is 8",
  ],
  "momentumBits 8 of float64": [
    () => create({ data: new Float64Array(4096), grad: null, name: "w" }, { momentumBits: 8 }),
    TypeError,
    'Cannot use data of parameter 0 ("w") as momentumBits 8 needs an array of float32, bfloat16 or ' +
    "float16: current type is float64",
  ],
  "momentumBits 8 of a tensor on a GPU": [
    () => withTensor("float32", { momentumBits: 8 }),
    TypeError,
    "momentumBits 8 needs an array of float32, bfloat16 or float16: current type is float32 on a GPU",
  ],
  "masterWeights of another word": [
    () => create(half(), { masterWeights: "split16" }),
    TypeError,
    'Cannot set masterWeights as it must be true, false, "split" or "split24": current value is "split16"',
  ],
  "split with stochastic rounding": [
    () => create(half(), { masterWeights: "split", rounding: "stochastic" }),
    AS_RANGE,
    'Cannot set masterWeights "split" as it needs rounding "nearest": current value is "stochastic"',
  ],
  "split24 with torch's rounding": [
    () => create(half(), { masterWeights: "split24", rounding: "torch" }),
    AS_RANGE,
    'Cannot set masterWeights "split24" as it needs rounding "nearest": current value is "torch"',
  ],
  "split of float16": [
    () => create({ data: new Float16Array(2), grad: null }, { masterWeights: "split" }),
    TypeError,
    'masterWeights "split" needs an array of bfloat16, or of a type that has no master weights: ' +
    "current type is float16",
  ],
  "split24 of a tensor on a GPU": [
    () => withTensor("float32", { masterWeights: "split24" }),
    TypeError,
    "current type is float32 on a GPU",
  ],
  "split of float16 on a GPU": [
    () => withTensor("float16", { masterWeights: "split" }),
    TypeError,
    'float16 on a GPU needs rounding "nearest" and no masterWeights',
  ],
  ...Object.fromEntries(
    Object.entries({
      masterWeights: true,
      rounding: "torch",
      seed: 1,
      backend: "js",
      recordSteps: 1,
    })
      .map(([name, value]) => [`${name} of a group`, [
        () => new SGD([{ params: [wide()], [name]: value } as ParamGroupOptions], { lr: 1 }),
        TypeError,
        `Cannot read option "${name}" as it is an option of the optimizer, not of a group`,
      ]]),
  ),
  "momentumBits 8 of the functional form with torch's rounding": [
    () => {
      const options = { lr: 1, momentum: 0.9, ...OFF, momentumBits: 8, rounding: "torch" } as const;
      sgd([new Float32Array(1)], [new Float32Array(1)], [null], options);
    },
    AS_RANGE,
    'it needs rounding "nearest" or "stochastic"',
  ],
  "momentumBits 8 of sgdVjp": [
    () => {
      const options = { lr: 1, momentum: 0.9, ...OFF, momentumBits: 8 } as const;
      const one = new Float32Array(1);
      sgdVjp([one], [one], [null], { params: [one] }, options);
    },
    AS_RANGE,
    "Cannot go back as it needs momentumBits 32: current value is 8",
  ],
  "split of sgdVjp": [
    () => {
      const masterWeights = "split" as const;
      const one = new Float32Array(1);
      const masters = { masterWeights, masterWeightList: [null] };
      const options = { lr: 1, momentum: 0.9, ...OFF, ...masters };
      sgdVjp([one], [one], [null], { params: [one] }, options);
    },
    AS_RANGE,
    'Cannot go back as it needs masterWeights false: current value is "split"',
  ],
  "a bfloat16 parameter with a float32 gradient of sgdVjp": [
    () => {
      const [one, wide] = [BFloat16Array.of(1), new Float32Array(1)];
      const options = { lr: 1, momentum: 0.9, ...OFF };
      sgdVjp([one as never], [wide], [null], { params: [wide] }, options);
    },
    TypeError,
    "Cannot go back through parameter 0 as it must be float32 or float64: current dtype is bfloat16",
  ],
};

for (const [what, [act, type, text]] of Object.entries(OPTIONS)) {
  Deno.test(`refused: ${what}`, () => void assertThrows(act, type, text));
}

/** Gives a parameter of 4,096 elements a sparse gradient for one of 64 rows. */
function setSparse(w: Parameter<HostArray>, values: HostArray): void {
  const grad = { indices: new Int32Array([1]), values, shape: [64, 64] };
  Object.assign(w, { grad });
}

/** What is refused by a step, which changes nothing. */
const STEPS: Readonly<Record<string, Case>> = {
  "a sparse gradient with momentumBits 8": stepCase(
    wide(),
    { momentumBits: 8 },
    (w) => setSparse(w, new Float32Array(64)),
    "Cannot use grad of parameter 0 as it must be an array, not sparse, with momentumBits 8: put its " +
      "parameter into a group with momentumBits: 32",
  ),
  "a sparse gradient of bfloat16 with split": stepCase(
    half(),
    { masterWeights: "split" },
    (w) => setSparse(w, new BFloat16Array(64)),
    "a sparse gradient needs data of float32 or float64: its data are bfloat16",
  ),
  "a sparse gradient of float32 for bfloat16": stepCase(
    half(),
    {},
    (w) => setSparse(w, new Float32Array(64)),
    "a sparse gradient needs data of float32 or float64: its data are bfloat16",
  ),
  "data that become float64 with momentumBits 8": stepCase(
    wide(),
    { momentumBits: 8 },
    (w) => Object.assign(w, { data: new Float64Array(4096), grad: new Float64Array(4096) }),
    "momentumBits 8 needs an array of float32, bfloat16 or float16: current type is float64",
  ),
  "data that become float16 with split": stepCase(
    half(),
    { masterWeights: "split" },
    (w) => Object.assign(w, { data: new Float16Array(4096), grad: new Float16Array(4096) }),
    'masterWeights "split" needs an array of bfloat16',
  ),
  "a float32 gradient with torch's rounding": stepCase(
    half(),
    { rounding: "torch" },
    (w) => Object.assign(w, { grad: new Float32Array(4096) }),
    'it must be bfloat16, like its data, with rounding "torch": current value is of type Float32Array',
  ),
  "a float32 gradient of another length": stepCase(
    half(),
    {},
    (w) => Object.assign(w, { grad: new Float32Array(4095) }),
    "its length must be 4096, like its data: current length is 4095",
  ),
  "a float64 gradient of bfloat16": stepCase(
    half(),
    {},
    (w) => Object.assign(w, { grad: new Float64Array(4096) }),
    "it must be bfloat16, like its data, or float32: current value is of type Float64Array",
  ),
  "bits of 16 that are not known to be bfloat16 as a gradient": stepCase(
    half(),
    {},
    (w) => Object.assign(w, { grad: new Uint16Array(4096) }),
    "it must be bfloat16, like its data, or float32: current value is of type Uint16Array",
  ),
  "differentiable that is set later": [
    () => {
      const optimizer = create(wide(), { momentumBits: 8 });
      optimizer.paramGroups[0].differentiable = true;
      optimizer.step();
    },
    AS_RANGE,
    "Cannot set differentiable as it needs momentumBits 32: current value is 8",
  ],
  "a differentiable step with split": [
    () => create(half(), { masterWeights: "split", differentiable: true }).step(),
    TypeError,
    "Cannot use data of parameter 0 as differentiable needs float32 or float64: current type is bfloat16",
  ],
  "a differentiable step with a float32 gradient of bfloat16": [
    () => create({ ...half(), grad: new Float32Array(4096) }, { differentiable: true }).step(),
    TypeError,
    "Cannot use data of parameter 0 as differentiable needs float32 or float64: current type is bfloat16",
  ],
  "a float32 array as the gradient of float16 on a GPU": [
    () => {
      const w: Parameter<Tensor> = { data: tensorOf("float16"), grad: new Float32Array(4096) };
      new SGD<Tensor>([w], { lr: 0.1 }).step();
    },
    TypeError,
    "Cannot use grad of parameter 0 as it must be float16 on the same GPU, like its data",
  ],
  "a float32 tensor as the gradient of float16 on a GPU": [
    () => {
      const w: Parameter<Tensor> = { data: tensorOf("float16"), grad: tensorOf("float32") };
      new SGD<Tensor>([w], { lr: 0.1 }).step();
    },
    TypeError,
    "Cannot use grad of parameter 0 as it must be float16 on the same GPU, like its data",
  ],
  "a float32 tensor of a GPU as the gradient of bfloat16": [
    () => {
      const w: Parameter<Tensor> = { data: new BFloat16Array(4096), grad: tensorOf("float32") };
      new SGD<Tensor>([w], { lr: 0.1 }).step();
    },
    TypeError,
    "Cannot use grad of parameter 0 as it must be bfloat16, like its data",
  ],
};

/** Arrays that a user assigns to the state of a parameter "w" of 4,096 elements of bfloat16. */
const ASSIGNED: readonly [options: SGDOptions, assigned: object, text: string][] = [
  [
    { masterWeights: "split" },
    { masterWeight: new Float32Array(4096) },
    'with masterWeights "split"',
  ],
  [{ masterWeights: "split24" }, { masterWeight: new Float32Array(4096) }, '"split24"'],
  [{}, { masterWeight: new Float32Array(4096) }, "with masterWeights false"],
  [{ masterWeights: true }, { correction: new Int16Array(4096) }, "with masterWeights true"],
  [{}, { correction: new Int8Array(4096) }, "with masterWeights false"],
];

testOnBackends("an assigned array that no step would use is refused by the step", (backend) => {
  for (const [options, assigned, text] of ASSIGNED) {
    for (const steps of [0, 2]) {
      const w = { ...half(), name: "w" };
      const optimizer = create(w, { ...options, backend });
      for (let i = 0; i < steps; i++) optimizer.step();
      const state = optimizer.state.get(w)!;
      const [name] = Object.keys(assigned) as (keyof typeof state)[];
      const before = state[name];
      Object.assign(state, assigned);
      const what = name === "correction" ? name : "master weight";
      const act = () => optimizer.step();
      const start = `Cannot use ${what} of parameter 0 ("w") as it must be null `;
      assertStringIncludes(assertThrows(act, TypeError, start).message, text);
      Object.assign(state, { [name]: before });
      optimizer.step();
    }
  }
});

function stepCase(
  w: Parameter<HostArray>,
  options: object,
  change: (w: Parameter<HostArray>) => void,
  text: string,
): Case {
  const act = () => {
    const optimizer = create(w, { backend: "js", ...options });
    optimizer.step();
    const { momentum8, correction } = optimizer.state.get(w)!;
    const before = structuredClone([momentum8, correction]);
    change(w);
    try {
      optimizer.step();
    } finally {
      assertEquals([momentum8, correction], before);
    }
  };
  return [act, Error as typeof TypeError, text];
}

for (const [what, [act, type, text]] of Object.entries(STEPS)) {
  Deno.test(`a step refuses: ${what}`, () => void assertThrows(act, type, text));
}

Deno.test("momentumBits of a group stay, and a spread group keeps them", () => {
  const optimizer = create(wide(), { momentumBits: 8 });
  optimizer.addParamGroup({ params: [wide()], momentumBits: 32 });
  optimizer.addParamGroup({ ...optimizer.paramGroups[0], params: [wide()] });
  assertEquals(optimizer.paramGroups.map(({ momentumBits }) => momentumBits), [8, 32, 8]);
  assertThrows(
    () => Object.assign(optimizer.paramGroups[0], { momentumBits: 32 }),
    TypeError,
    "Cannot set momentumBits as it stays 8 once the group is made: current value is 32",
  );
  const other = create(wide(), {});
  assertEquals(other.paramGroups[0].momentumBits, 32);
});

Deno.test("a group that is refused is not added", () => {
  const optimizer = create(wide(), { momentumBits: 8, backend: "js" });
  const w: Parameter<HostArray> = { data: new Float64Array(9), grad: null };
  assertThrows(() => optimizer.addParamGroup({ params: [w] }), TypeError, "momentumBits 8 needs");
  assertEquals(optimizer.paramGroups.length, 1);
  optimizer.addParamGroup({ params: [w], momentumBits: 32 });
  optimizer.step();
});
