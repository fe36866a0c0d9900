/** Groups that are removed, parameters that move between groups, and state that is reset. */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { BFloat16Array, GradScaler, SGD, WeightAverage } from "@descent/sgd";
import type { HostArray, Parameter, ParamGroupOptions, SGDOptions, SparseGrad } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";

/** Of any dtype: the types of arrays do not matter here. */
type Any = Parameter;
type Create = (length: number) => HostArray;

const float32: Create = (length) => new Float32Array(length);

/** A parameter of values that are no round numbers. */
function parameter(name: string, length = 3, create: Create = float32): Any {
  const data = create(length);
  const values = Float64Array.from({ length }, (_, i) => Math.sin(i + name.charCodeAt(0)));
  if (data instanceof BFloat16Array) data.set(BFloat16Array.from(values) as Uint16Array);
  else data.set(values);
  return { data, grad: create(length), name } as Any;
}

function fill({ grad }: { grad: HostArray | null }, step: number): void {
  const values = Float64Array.from(grad!, (_, i) => Math.cos(3 * i + step));
  if (grad instanceof BFloat16Array) grad.set(BFloat16Array.from(values) as Uint16Array);
  else grad!.set(values);
}

function train(optimizer: SGD, params: readonly Any[], from: number, count: number): void {
  for (let step = from; step < from + count; step++) {
    for (const each of params) fill(each, step);
    optimizer.step();
  }
}

/** Another optimizer of copies of the same parameters, in the same groups, with the state loaded. */
function copyOf(optimizer: SGD, options: SGDOptions): [SGD, Any[]] {
  const copies = new Map<unknown, Any>();
  const groups = optimizer.paramGroups.map((group): ParamGroupOptions => ({
    ...group,
    params: group.params.map((each) => {
      const copy = { ...each, data: each.data.slice(), grad: each.grad!.slice() } as Any;
      copies.set(each, copy);
      return copy;
    }),
  }));
  const other = new SGD(groups, options);
  other.loadStateDict(optimizer.stateDict());
  return [other, [...copies.values()]];
}

const names = ({ paramGroups }: SGD) =>
  paramGroups.map(({ params }) => params.map(({ name }) => name).join(""));

const momenta = ({ state }: SGD) =>
  Object.fromEntries([...state].map(([{ name }, each]) => [name!, each.readMomentum()]));

/** Options with which every kind of state is there. */
const KINDS: [string, SGDOptions, Create, number][] = [
  ["float32", { lr: 0.1 }, float32, 3],
  ["float64", { lr: 0.1 }, (length) => new Float64Array(length), 70],
  ["momentum in 8 bits", { lr: 0.1, momentumBits: 8 }, float32, 4100],
  [
    "stochastic rounding",
    { lr: 0.1, rounding: "stochastic", seed: 7 },
    (length) => new BFloat16Array(length),
    100,
  ],
  [
    "master weights",
    { lr: 0.1, masterWeights: true },
    (length) => new BFloat16Array(length),
    20,
  ],
  ["split", { lr: 0.1, masterWeights: "split" }, (length) => new BFloat16Array(length), 20],
  ["split24", { lr: 0.1, masterWeights: "split24" }, (length) => new BFloat16Array(length), 33],
];

for (const [what, options, create, length] of KINDS) {
  for (const isShown of [false, true]) {
    const shown = isShown ? "shown" : "on slabs";
    testOnBackends(
      `groups that change resume bit for bit from a dict: ${what}, ${shown}`,
      (backend) => {
        const all = { ...options, momentum: 0.9, backend };
        const [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map((name) =>
          parameter(name, length, create)
        );
        const optimizer = new SGD([{ params: [a, b] }, { params: [c], lr: 0.05 }], all);
        train(optimizer, [a, b, c], 0, 1);
        optimizer.addParamGroup({ params: [d, e], weightDecay: 0.1 }); // on slabs of their own
        train(optimizer, [a, b, c, d, e], 1, 2);
        if (isShown) assertEquals(optimizer.state.size, 5);
        const before = optimizer.stateDict();
        optimizer.moveParameter(a, 2);
        optimizer.removeParamGroup(1);
        assertEquals(names(optimizer), ["b", "dea"]);
        const after = optimizer.stateDict();
        assertEquals(
          [0, 1, 2, 3].map((i) => after.state[i]),
          [1, 3, 4, 0].map((i) => before.state[i]),
        );
        assertEquals(after.param_groups.map((group) => group.params), [[0], [1, 2, 3]]);
        assertEquals(after.param_groups[1].param_names, ["d", "e", "a"]);
        const kept = c.data.slice();
        const [other, copies] = copyOf(optimizer, all);
        train(optimizer, [a, b, d, e], 3, 3);
        train(other, copies, 3, 3);
        assertEquals(copies.map(({ data }) => data), [b, d, e, a].map(({ data }) => data));
        assertEquals(other.stateDict(), optimizer.stateDict());
        assertEquals(c.data, kept);
      },
    );
  }
}

testOnBackends(
  "a moved parameter is stepped as its new group says, with its momentum",
  (backend) => {
    const [a, b] = [parameter("a"), parameter("b")];
    const [alone, other] = [parameter("a"), parameter("b")];
    const own = { lr: 0.01, weightDecay: 0.5, nesterov: true };
    const groups = [{ params: [a] }, { params: [b], ...own }];
    const options = { lr: 0.1, momentum: 0.9, backend };
    const optimizer = new SGD(groups, options);
    const twin = new SGD([alone], options);
    train(optimizer, [a, b], 0, 2);
    train(twin, [alone], 0, 2);
    optimizer.moveParameter(a, optimizer.paramGroups[1]);
    Object.assign(twin.paramGroups[0], own);
    train(optimizer, [a, b], 2, 2);
    train(twin, [alone], 2, 2);
    assertEquals(a.data, alone.data);
    train(new SGD([other], { ...options, ...own }), [other], 0, 4);
    assertEquals(b.data, other.data);
  },
);

testOnBackends(
  "the lists of groups follow, and stay the same objects where nothing changed",
  (backend) => {
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => parameter(name));
    const optimizer = new SGD([{ params: [a] }, { params: [b] }, { params: [c, d] }], {
      lr: 1,
      backend,
    });
    const [first, second, third] = optimizer.paramGroups;
    const list = third.params;
    optimizer.removeParamGroup(0);
    assertEquals([optimizer.paramGroups.length, names(optimizer)], [2, ["b", "cd"]]);
    assertStrictEquals(optimizer.paramGroups[0], second);
    assertStrictEquals(optimizer.paramGroups[1], third);
    assertStrictEquals(third.params, list);
    assertEquals(first.params, [a]);
    optimizer.moveParameter(c, 0);
    assertEquals([list.length, names(optimizer)], [2, ["bc", "d"]]);
    assert(Object.isFrozen(third.params) && Object.isFrozen(optimizer.paramGroups));
    optimizer.moveParameter(d, second);
    assertEquals(names(optimizer), ["bcd", ""]);
    optimizer.moveParameter(b, 0);
    assertEquals(names(optimizer), ["bcd", ""]);
    optimizer.step();
    optimizer.addParamGroup({ params: [a] });
    assertEquals([names(optimizer), [...optimizer.state.keys()]], [["bcd", "", "a"], [b, c, d, a]]);
    optimizer.removeParamGroup(1);
    optimizer.removeParamGroup(0);
    assertEquals([names(optimizer), [...optimizer.state.keys()]], [["a"], [a]]);
  },
);

testOnBackends("what was removed can be added again, and begins anew", (backend) => {
  const [a, b] = [parameter("a"), parameter("b")];
  const optimizer = new SGD([{ params: [a] }, { params: [b] }], { lr: 1, momentum: 0.5, backend });
  optimizer.step();
  const { state } = optimizer;
  const entry = state.get(a)!;
  const { momentumBuffer } = entry;
  optimizer.removeParamGroup(0);
  assertEquals([state.has(a), state.size, optimizer.state === state], [false, 1, true]);
  assertStrictEquals(entry.momentumBuffer, momentumBuffer);
  optimizer.addParamGroup({ params: [a] });
  assertEquals(optimizer.state.get(a)!.momentumBuffer, null);
  optimizer.step();
  assert(optimizer.state.get(a)!.momentumBuffer !== momentumBuffer);
});

Deno.test("the master weight of a removed parameter can still be read", () => {
  const create = (length: number) => new BFloat16Array(length);
  const [a, b, c] = ["a", "b", "c"].map((name) => parameter(name, 20, create));
  const options = { lr: 0.1, masterWeights: "split", backend: "js" } as const;
  const optimizer = new SGD([{ params: [a] }, { params: [b, c] }], options);
  train(optimizer, [a, b, c], 0, 3);
  const [one, last] = [a, c].map((each) => optimizer.state.get(each)!);
  const before = [one, last].map((each) => each.readMasterWeight()!);
  assert(
    before[0].some((value, i) =>
      value !== (a.data as unknown as BFloat16Array).toFloat32Array()[i]
    ),
  );
  optimizer.removeParamGroup(0);
  assertEquals([one, last].map((each) => each.readMasterWeight()), before);
});

testOnBackends("rows in use go with a matrix that moves", (backend) => {
  const matrix = (name: string, row: number) => {
    const grad: SparseGrad = {
      indices: Int32Array.of(row),
      values: Float32Array.of(1, 2),
      shape: [4, 2],
    };
    return { data: new Float32Array(8).fill(row), grad, name, shape: [4, 2] as const };
  };
  const [a, b, c] = [matrix("a", 1), matrix("b", 2), matrix("c", 3)];
  const optimizer = new SGD([{ params: [a] }, { params: [b, c] }], {
    lr: 1,
    momentum: 0.5,
    backend,
  });
  optimizer.step();
  const rows = () => Object.values(optimizer.stateDict().state).map((each) => each.rows_in_use);
  const [ofA, ofB, ofC] = rows();
  assertEquals([ofA, ofB, ofC].map((each) => each!.indexOf(1)), [1, 2, 3]);
  optimizer.moveParameter(b, 0);
  assertEquals(rows(), [ofA, ofB, ofC]);
  optimizer.moveParameter(a, 1);
  assertEquals(rows(), [ofB, ofC, ofA]);
  optimizer.addParamGroup({ params: [parameter("d")] });
  optimizer.step();
  optimizer.moveParameter(b, 2);
  assertEquals(rows(), [ofC, ofA, undefined, ofB]);
  optimizer.removeParamGroup(0);
  assertEquals(rows(), [ofC, ofA, undefined, ofB]);
  optimizer.step();
  assertEquals([c, a].map(({ data }) => [...data].findIndex((x, i) => x !== data[(i + 2) % 8])), [
    4,
    0,
  ]);
});

testOnBackends("a reset optimizer steps as a new one", (backend) => {
  for (const [what, options, create, length] of KINDS) {
    const all = { ...options, momentum: 0.9, dampening: 0.1, backend };
    const [w, v] = [parameter("w", length, create), parameter("v", length, create)];
    const optimizer = new SGD([w, v], all);
    train(optimizer, [w, v], 0, 3);
    const entry = optimizer.state.get(w)!;
    train(optimizer, [w, v], 3, 1);
    optimizer.resetState();
    assertStrictEquals(optimizer.state.get(w), entry);
    assertEquals(entry.readMomentum(), null, what);
    assertEquals([entry.masterWeight, entry.correction, entry.momentum8], [null, null, null]);
    const [twin, copies] = copyOf(optimizer, all);
    const fresh = new SGD(copies, all);
    assertEquals(optimizer.stateDict(), fresh.stateDict(), what);
    train(optimizer, [w, v], 4, 2);
    train(fresh, copies, 4, 2);
    assertEquals(copies.map(({ data }) => data), [w, v].map(({ data }) => data), what);
    assertEquals(twin.stateDict().state, {});
  }
});

testOnBackends("a reset forgets state that nobody has looked at", (backend) => {
  for (const [what, options, create, length] of KINDS) {
    const w = parameter("w", length, create);
    const optimizer = new SGD([w], { ...options, momentum: 0.9, backend });
    train(optimizer, [w], 0, 2);
    optimizer.resetState();
    assertEquals(optimizer.stateDict().state, {}, what);
    fill(w, 2);
    optimizer.step();
    const { momentumBits } = optimizer.paramGroups[0];
    const momentum = [...optimizer.state.get(w)!.readMomentum() as Iterable<number>];
    const grad = w.grad as unknown as HostArray;
    const expected = grad instanceof BFloat16Array ? grad.toFloat32Array() : grad;
    for (const [i, x] of momentum.entries()) {
      assert(Math.abs(x - expected[i]) <= (momentumBits === 8 ? 0.02 : 0), `${what}: ${x}`);
    }
  }
});

testOnBackends("a reset drops what was assigned to the state", (backend) => {
  const w = parameter("w");
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, backend });
  const entry = optimizer.state.get(w)! as { momentumBuffer: unknown };
  entry.momentumBuffer = new Float32Array(3).fill(5);
  optimizer.resetState();
  assertEquals(entry.momentumBuffer, null);
  train(optimizer, [w], 0, 1);
  assertEquals(entry.momentumBuffer, w.grad);
});

testOnBackends(
  "momentum keeps its bits when a parameter moves, or the move is refused",
  (backend) => {
    const [a, b, small, wide] = [
      parameter("a", 5000),
      parameter("b", 5000),
      parameter("c", 10),
      parameter("d", 5000, (length) => new Float64Array(length)),
    ];
    const optimizer = new SGD(
      [{ params: [a, small, wide] }, { params: [b], momentumBits: 8 }],
      { lr: 1, momentum: 0.5, backend },
    );
    const refuse = (each: Parameter, group: number, kind: ErrorConstructor, message: string) => {
      const before = JSON.stringify([names(optimizer), optimizer.stateDict()]);
      assertThrows(() => optimizer.moveParameter(each, group), kind, message);
      assertEquals(JSON.stringify([names(optimizer), optimizer.stateDict()]), before);
    };
    refuse(wide, 1, TypeError, "momentumBits 8 needs an array of float32, bfloat16 or float16");
    optimizer.moveParameter(a, 1);
    optimizer.moveParameter(b, 0);
    optimizer.step();
    assertEquals([optimizer.state.get(a)!.momentum8 !== null, optimizer.state.get(b)!.momentum8], [
      true,
      null,
    ]);
    refuse(
      a,
      0,
      RangeError,
      'Cannot move parameter 3 ("a") as its momentum must have as many bits',
    );
    refuse(b, 1, RangeError, "it has 32, and in group 1 it has 8");
    optimizer.moveParameter(small, 1);
    optimizer.step();
    optimizer.resetState();
    optimizer.moveParameter(a, 0);
    optimizer.step();
    assertEquals(optimizer.state.get(a)!.momentum8, null);
    assert(optimizer.state.get(a)!.momentumBuffer !== null);
    assertEquals(optimizer.stateDict().rounding, { seed: 0, counter: 1 });
    optimizer.removeParamGroup(1);
    assertEquals(optimizer.stateDict().rounding, undefined);
  },
);

/** What changes groups or drops state, and what errors call it. */
const CHANGES: [string, (optimizer: SGD, w: Parameter) => void][] = [
  ["remove a group", (optimizer) => optimizer.removeParamGroup(0)],
  ["move a parameter", (optimizer, w) => optimizer.moveParameter(w, 1)],
  ["reset the state", (optimizer) => optimizer.resetState()],
];

for (const [what, change] of CHANGES) {
  Deno.test(`a running step cannot ${what}`, async () => {
    const [a, b] = [parameter("a"), parameter("b")];
    const optimizer = new SGD([{ params: [a] }, { params: [b] }], { lr: 1, momentum: 0.5 });
    optimizer.step();
    const step = optimizer.stepAsync();
    assertThrows(() => change(optimizer, a), Error, `Cannot ${what} as a step is running`);
    await step;
    change(optimizer, a);
    await optimizer.stepAsync();
  });

  Deno.test(`while steps are recorded nothing can ${what}`, () => {
    const [a, b] = [parameter("a"), parameter("b")];
    const options = { lr: 1, momentum: 0.5, differentiable: true };
    const optimizer = new SGD([{ params: [a] }, { params: [b] }], options);
    optimizer.step();
    optimizer.step();
    const message = `Cannot ${what} as no step may be recorded: 2 steps are recorded`;
    assertThrows(() => change(optimizer, a), Error, message);
    optimizer.backward(new Map(), {
      through: () => void assertThrows(() => change(optimizer, a), Error, "backward is going back"),
    });
    change(optimizer, a);
    optimizer.step();
    const { params } = optimizer.backward(new Map([[b, new Float32Array(3).fill(1)]]));
    assertEquals(params.get(b), new Float32Array(3).fill(1));
  });

  Deno.test(`a getter of a parameter cannot ${what}`, () => {
    const [a, b] = [parameter("a"), parameter("b")];
    const optimizer = new SGD([{ params: [a] }, { params: [b] }], { lr: 1, backend: "js" });
    const { grad } = a;
    let message = "";
    Object.defineProperty(a, "grad", {
      get() {
        ({ message } = assertThrows(() => change(optimizer, b)));
        return grad;
      },
    });
    optimizer.step();
    assert(
      message.startsWith(`Cannot ${what} as the optimizer is reading its parameters`),
      message,
    );
  });
}

Deno.test("what is not there is neither removed nor moved", () => {
  const [a, b] = [parameter("a"), parameter("b")];
  const optimizer = new SGD([{ params: [a] }, { params: [b] }], { lr: 1, backend: "js" });
  const other = new SGD([parameter("c")], { lr: 1, backend: "js" });
  const faults: [() => void, ErrorConstructor, string][] = [
    [
      () => optimizer.removeParamGroup(2),
      RangeError,
      "Cannot remove a group as index must be that of a group, a whole number from 0 to 1: current value is 2",
    ],
    [() => optimizer.removeParamGroup(-1), RangeError, "current value is -1"],
    [() => optimizer.removeParamGroup(0.5), RangeError, "current value is 0.5"],
    [() => optimizer.removeParamGroup("0" as never), TypeError, "index must be a number"],
    [() => other.removeParamGroup(0), RangeError, "Cannot remove group 0 as one group must stay"],
    [
      () => optimizer.moveParameter(a, 2),
      RangeError,
      'Cannot move parameter 0 ("a") as toGroup must be that of a group',
    ],
    [() => optimizer.moveParameter(a, null as never), TypeError, "current value is null"],
    [
      () => optimizer.moveParameter(a, other.paramGroups[0]),
      RangeError,
      "toGroup must be one of the optimizer's paramGroups",
    ],
    [
      () => optimizer.moveParameter(parameter("a"), 0),
      RangeError,
      "Cannot move the parameter as it must be one of the optimizer's",
    ],
  ];
  for (const [act, kind, message] of faults) assertThrows(act, kind, message);
  assertEquals(names(optimizer), ["a", "b"]);
});

Deno.test("the map of the state refuses to be changed", () => {
  const w = parameter("w");
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, backend: "js" });
  const state = optimizer.state as Map<unknown, unknown>;
  const entry = state.get(w);
  const faults: [() => void, string][] = [
    [() => state.clear(), "Cannot clear the state as it has one entry for each parameter"],
    [() => state.delete(w), "Cannot delete an entry of the state"],
    [() => state.set(w, {}), "Cannot set an entry of the state"],
    [() => state.set({}, {}), "momentumBuffer"],
  ];
  for (const [act, message] of faults) assertThrows(act, TypeError, message);
  assertEquals([state.size, state.get(w)], [1, entry]);
  assertEquals(optimizer.state, new Map([[w, entry]]) as never);
  assertEquals(structuredClone(new Map(state)).size, 1);
});

testOnBackends("groups change after a step that failed", (backend) => {
  const [a, b, c] = [parameter("a"), parameter("b"), parameter("c")];
  const optimizer = new SGD([{ params: [a] }, { params: [b, c] }], {
    lr: 1,
    momentum: 0.5,
    backend,
  });
  c.grad = new Float32Array(2);
  assertThrows(() => optimizer.step(), RangeError);
  optimizer.moveParameter(c, 0);
  optimizer.removeParamGroup(1);
  c.grad = new Float32Array(3).fill(1);
  a.grad!.fill(2);
  optimizer.step();
  assertEquals(momenta(optimizer), {
    a: new Float32Array(3).fill(2),
    c: new Float32Array(3).fill(1),
  });
});

testOnBackends(
  "what leaves the optimizer may overlap with what stays, and be stepped by others",
  (backend) => {
    const buffer = new ArrayBuffer(24);
    const grad = new Float32Array(3).fill(1);
    const a = { data: new Float32Array(buffer, 0, 3), grad };
    const b = { data: new Float32Array(buffer, 12, 3), grad };
    const c = { data: new Float32Array(3), grad };
    const optimizer = new SGD([{ params: [a] }, { params: [c] }], { lr: 1, backend });
    optimizer.removeParamGroup(0);
    optimizer.addParamGroup({ params: [b] });
    b.data = new Float32Array(buffer, 4, 3);
    optimizer.step();
    assertEquals([...new Float32Array(buffer)], [0, -1, -1, -1, 0, 0]);
    c.data = b.data.subarray(1);
    c.grad = grad.subarray(1);
    optimizer.moveParameter(c, 1);
    assertThrows(() => optimizer.step(), RangeError, "share memory");
  },
);

testOnBackends(
  "an optimizer without parameters steps and measures, and may get some",
  async (backend) => {
    const [w, later] = [parameter("w"), parameter("later")];
    const optimizer = new SGD([{ params: [w] }, { params: [later] }], { lr: 0.5, backend });
    optimizer.moveParameter(w, 1);
    optimizer.removeParamGroup(1);
    const report = { skipped: false, gradNorm: 0, groupNorms: [0], clipCoefficients: [1] };
    for (const maxNormPer of ["optimizer", "group"] as const) {
      for (const normType of [1, 2, Infinity]) {
        optimizer.step({ maxNorm: 1, maxNormPer, normType, maxValue: 1, gradScale: 2 });
        assertEquals(optimizer.lastStep, report);
        assertEquals(await optimizer.stepAsync({ maxNorm: 1, maxNormPer, normType }), report);
      }
    }
    const scaler = new GradScaler();
    scaler.unscale(optimizer);
    assertEquals(scaler.step(optimizer).skipped, false);
    optimizer.addParamGroup({ params: [later] });
    fill(later, 1);
    const expected = later.data.map((x, i) => x - 0.5 * (later.grad as Float32Array)[i]);
    optimizer.step({ maxNorm: 100 });
    assertEquals(later.data, expected as Float32Array);
  },
);

testOnBackends(
  "groups that have been left without parameters are averaged with the others",
  (backend) => {
    const [w, v] = [parameter("w"), parameter("v")];
    const optimizer = new SGD([{ params: [w] }, { params: [v] }], { lr: 0.5, backend });
    optimizer.moveParameter(w, 1);
    const average = new WeightAverage(optimizer.paramGroups, { decay: "mean", backend });
    optimizer.step({ average });
    assertEquals(average.stateDict().averages, { 0: { data: v.data }, 1: { data: w.data } });
    optimizer.removeParamGroup(1);
    assertThrows(
      () => new WeightAverage(optimizer.paramGroups, { decay: "mean", backend }),
      TypeError,
      "params as it must hold at least one parameter",
    );
  },
);
