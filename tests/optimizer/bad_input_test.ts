/** Bad input is a clear error, and nothing has changed after it. */

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  type FloatArray,
  type Parameter,
  type ParamGroupWithLr,
  SGD,
  type SGDOptions,
} from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { array, detach, type Fault, good } from "../support/faults.ts";

const of = (data: unknown, grad: unknown): Parameter => ({ data, grad } as Parameter);
const make = (params: unknown, options: unknown = { lr: 0.1 }) =>
  new SGD(params as Parameter[], options as SGDOptions);
const withOptions = (options: object) => () => make([good()], { lr: 0.1, ...options });
const resizable = (bytes: number) => new ArrayBuffer(bytes, { maxByteLength: 2 * bytes });
const growable = (bytes: number) => new SharedArrayBuffer(bytes, { maxByteLength: 2 * bytes });

const numbers: Fault[] = ["lr", "momentum", "dampening", "weightDecay"].flatMap((name) => [
  ...[-1, -Number.MIN_VALUE, NaN, Infinity, -Infinity].map((value): Fault => [
    `${name} ${value}`,
    withOptions({ [name]: value }),
    RangeError,
    `Cannot set ${name} as it must be finite and >= 0: current value is ${value}`,
  ]),
  ...["0.1", null, {}, 1n].map((value): Fault => [
    `${name} of another type, ${typeof value}`,
    withOptions({ [name]: value }),
    TypeError,
    `Cannot set ${name} as it must be a number`,
  ]),
]);

const names = ["nesterov", "maximize", "sign", "decoupledWeightDecay", "differentiable", "foreach"];
const flags: Fault[] = names.map((name) => [
  `${name} of another type`,
  withOptions({ [name]: 1 }),
  TypeError,
  `Cannot set ${name} as it must be ${
    name === "foreach" ? "true, false or null" : "true or false"
  }`,
]);

const constructorFaults: Fault[] = [
  ...numbers,
  ...flags,
  ["nesterov without momentum", withOptions({ nesterov: true }), RangeError, "momentum 0"],
  [
    "nesterov with dampening",
    withOptions({ nesterov: true, momentum: 0.9, dampening: 0.1 }),
    RangeError,
    "dampening 0.1",
  ],
  ["a misspelt option", withOptions({ weight_decay: 1 }), TypeError, '"weight_decay"'],
  [
    "a shared lr out of range that every group overrides",
    () => make([{ params: [good()], lr: 1 }], { lr: -1 }),
    RangeError,
    "current value is -1",
  ],
  [
    "shared nesterov without shared momentum",
    () => make([{ params: [good()], momentum: 0.9 }], { lr: 1, nesterov: true }),
    RangeError,
    "nesterov",
  ],
  [
    "a misspelt option of a group",
    () => make([{ params: [good()], learningRate: 1 }]),
    TypeError,
    '"learningRate"',
  ],
  [
    "an empty parameter in two groups",
    () => {
      const empty = of(array(), null);
      return make([{ params: [empty] }, { params: [empty] }]);
    },
    RangeError,
    "one group only",
  ],
  ["an unknown backend", withOptions({ backend: "tpu" }), TypeError, '"tpu"'],
  [
    "options left out",
    () => new SGD([good()], undefined as never),
    TypeError,
    "Cannot create the optimizer as lr is missing: current value is undefined",
  ],
  [
    "options left out, and a group without lr",
    () => new SGD([{ params: [good()], lr: 1 }, { params: [good()] } as ParamGroupWithLr]),
    TypeError,
    "lr is missing: neither group 1 of the list nor the options have one",
  ],
  ["null for options", () => make([good()], null), TypeError, "options"],
  ["a missing lr", () => make([good()], {}), TypeError, "lr is missing"],
  [
    "a missing lr in one group",
    () => make([{ params: [good()], lr: 1 }, { params: [good()] }], {}),
    TypeError,
    "lr is missing",
  ],
  ["no parameters", () => make([]), TypeError, "at least one parameter"],
  ["an empty group", () => make([{ params: [] }]), TypeError, "at least one parameter"],
  ["params that are one parameter", () => make(good()), TypeError, "iterable"],
  ["params that are null", () => make(null), TypeError, "iterable"],
  ["parameters and groups", () => make([good(), { params: [good()] }]), TypeError, "not both"],
  ["an array for a parameter", () => make([array(1, 2)]), TypeError, "parameter 0"],
  ["null for a parameter", () => make([good(), null]), TypeError, "parameter 1"],
  ["integer data", () => make([of(new Int32Array(2), null)]), TypeError, "Int32Array"],
  ["data that are plain", () => make([of([1, 2], null)]), TypeError, "of type Array"],
  ["a DataView", () => make([of(new DataView(new ArrayBuffer(8)), null)]), TypeError, "DataView"],
  ["detached data", () => make([of(detach(array(1, 2)), null)]), TypeError, "detached"],
  ["resizable data", () => make([of(new Float32Array(resizable(8)), null)]), TypeError, "16 bytes"],
  ["growable data", () => make([of(new Float32Array(growable(8)), null)]), TypeError, "16 bytes"],
  ["a number for a name", () => make([{ ...good(), name: 7 }]), TypeError, "name"],
  ["a shape that does not fit", () => make([{ ...good(), shape: [3] }]), RangeError, "[3]"],
  ["a shape of fractions", () => make([{ ...good(), shape: [0.5, 4] }]), TypeError, "[0.5, 4]"],
  [
    "two parameters of one name, in two groups",
    () => make([{ params: [good("a")] }, { params: [good(), good("a")] }]),
    RangeError,
    'Cannot use parameter 2 as name must differ from that of parameter 0: current value is "a"',
  ],
  [
    "a name with a lone surrogate",
    () => make([good("a\ud800")]),
    RangeError,
    'parameter 0 as name must have no lone surrogates: current value is "a\\ud800"',
  ],
  ["a name of 65,536 units", () => make([good("n".repeat(65_536))]), RangeError, "is 65536"],
  ...[
    "__metadata__",
    "param.3",
    "state.0.momentum_buffer",
    "state.12.master_weight",
    "state.0.momentum8",
    "state.0.momentum_scales",
    "state.0.correction",
  ].map((name): Fault => [
    `a parameter called ${name}, as tensors of a file are`,
    () => make([good("v"), good(name)]),
    RangeError,
    `Cannot use parameter 1 as name must not be one that checkpoint files use for tensors of ` +
    `Descent: current value is "${name}"`,
  ]),
  [
    "the same parameter twice",
    () => {
      const w = good();
      return make([w, w]);
    },
    RangeError,
    'parameter 1 ("w")',
  ],
  [
    "the same parameter in two groups",
    () => {
      const w = good();
      return make([{ params: [w] }, { params: [w] }]);
    },
    RangeError,
    'parameter 1 ("w")',
  ],
];

for (const [what, fault, kind, message] of constructorFaults) {
  Deno.test(`the constructor refuses ${what}`, () => {
    assertStringIncludes(assertThrows(fault, kind).message, message);
  });
}

type StepFault = [what: string, spoil: (w: Parameter) => void, kind: ErrorConstructor, msg: string];

const stepFaults: StepFault[] = [
  [
    "a gradient that is missing",
    (w) => delete (w as Partial<Parameter>).grad,
    TypeError,
    "it must be float32, like its data, or null where there is none: current value is undefined",
  ],
  [
    "a plain gradient",
    (w) => Object.assign(w, { grad: [1, 2] }),
    TypeError,
    "like its data, or null where there is none: current value is of type Array",
  ],
  [
    "a gradient of integers",
    (w) => Object.assign(w, { grad: new Int32Array(2) }),
    TypeError,
    "grad",
  ],
  ["a gradient of another dtype", (w) => w.grad = new Float64Array(2), TypeError, "float32"],
  ["a gradient of another length", (w) => w.grad = array(1, 2, 3), RangeError, "length is 3"],
  ["a detached gradient", (w) => w.grad = detach(array(1, 2)), TypeError, "detached"],
  [
    "a resizable gradient",
    (w) => w.grad = new Float32Array(resizable(8)),
    TypeError,
    "resized up to 16 bytes",
  ],
  ["data as its own gradient", (w) => w.grad = w.data, RangeError, "overlap"],
  [
    "a gradient that overlaps the data",
    (w) => {
      const shared = array(1, 2, 3);
      w.data = shared.subarray(0, 2);
      w.grad = shared.subarray(1, 3);
    },
    RangeError,
    "overlap",
  ],
  [
    "data detached between two steps",
    (w) => detach(w.data),
    TypeError,
    "detached",
  ],
  [
    "a gradient detached between two steps",
    (w) => detach(w.grad!),
    TypeError,
    "detached",
  ],
];

const bits = ({ buffer, length }: FloatArray) => length === 0 ? [] : [...new Uint8Array(buffer)];

for (const [what, spoil, kind, message] of stepFaults) {
  for (const stepped of [false, true]) {
    const when = stepped ? "after a good step" : "at the first step";
    testOnBackends(`a step refuses ${what} ${when} and changes nothing`, (backend) => {
      const [before, w] = [good("before"), good()];
      const optimizer = new SGD([before, w], { lr: 0.1, momentum: 0.9, backend });
      if (stepped) optimizer.step();
      spoil(w);
      const data = [bits(before.data), bits(w.data)];
      const buffer = optimizer.state.get(before)!.momentumBuffer?.slice() ?? null;
      for (let attempt = 0; attempt < 2; attempt++) {
        const error = assertThrows(() => optimizer.step(), kind);
        assertStringIncludes(error.message, message);
        assertStringIncludes(error.message, 'parameter 1 ("w")');
      }
      assertEquals([bits(before.data), bits(w.data)], data);
      assertEquals(optimizer.state.get(before)!.momentumBuffer, buffer);
      assertEquals(optimizer.state.get(w)!.momentumBuffer === null, !stepped);
    });
  }
}

testOnBackends("a step continues once a fault is mended", (backend) => {
  const w = good();
  const optimizer = new SGD([w], { lr: 1, backend });
  w.grad = array(1);
  assertThrows(() => optimizer.step(), RangeError);
  w.grad = array(1, 1);
  optimizer.step();
  assertEquals(w.data, array(0, 1));
});

testOnBackends(
  "a hyperparameter that does not fit throws and leaves the group as it was",
  (backend) => {
    const w = good();
    const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9, nesterov: true, backend });
    const [group] = optimizer.paramGroups;
    assertThrows(() => group.lr = NaN, RangeError, "NaN");
    assertEquals(group.lr, 0.1);
    group.momentum = 0; // fits by itself, but not with nesterov: found at the step
    assertThrows(() => optimizer.step(), RangeError, "nesterov");
    assertEquals(w.data, array(1, 2));
    group.nesterov = false;
    optimizer.step();
    assertThrows(() => (group as unknown as Record<string, unknown>).weight_decay = 1, TypeError);
  },
);

testOnBackends("addParamGroup refuses what the constructor refuses and adds nothing", (backend) => {
  const w = good();
  const optimizer = new SGD([w], { lr: 0.1, backend });
  for (const group of [{ params: [w] }, { params: [good(), good()], lr: -1 }, { params: [] }]) {
    assertThrows(() => optimizer.addParamGroup(group));
  }
  assertThrows(() => optimizer.addParamGroup(null as never), TypeError);
  assertEquals([optimizer.paramGroups.length, optimizer.state.size], [1, 1]);
});

testOnBackends("a closure that returns a promise is refused and nothing is stepped", (backend) => {
  const w = good();
  const optimizer = new SGD([w], { lr: 1, backend });
  assertThrows(() => optimizer.step(() => Promise.resolve(1)), TypeError, "promise");
  assertEquals(w.data, array(1, 2));
});
