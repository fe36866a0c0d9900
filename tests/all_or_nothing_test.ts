/** Where the documents say that nothing has changed if a call throws, nothing has. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SGD, sgd } from "@descent/sgd";
import type { BackendName, Parameter, SparseGrad, SparseParameter } from "@descent/sgd";
import { testOnBackends } from "./backends.ts";
import { array, good } from "./faults.ts";

const options = { lr: 1, momentum: 0.9 };
const sparse = (): SparseGrad => {
  return { indices: new Int32Array([0]), values: array(1), shape: [2, 1] };
};

/** A parameter whose gradient cannot be assigned. */
const READ_ONLY: Record<string, (w: SparseParameter) => SparseParameter> = {
  "is frozen": (w) => Object.freeze(w),
  "has a gradient that is read-only": (w) =>
    Object.defineProperty(w, "grad", { value: w.grad, writable: false }),
  "has a getter only": ({ grad, ...rest }) => ({
    ...rest,
    get grad() {
      return grad;
    },
  } as SparseParameter),
  "inherits a frozen gradient": ({ grad, ...rest }) => {
    return Object.preventExtensions(Object.assign(Object.create(Object.freeze({ grad })), rest));
  },
};

for (const [what, spoil] of Object.entries(READ_ONLY)) {
  testOnBackends(`zeroGrad refuses a parameter that ${what}, and changes none`, (backend) => {
    for (const setToNull of [true, false]) {
      const first = { data: array(1, 2), grad: sparse() };
      const second = spoil({ data: array(1, 2), grad: sparse(), name: "w" });
      const third = good();
      const before = [first.grad, second.grad, third.grad!.slice()];
      const optimizer = new SGD([third, first, second], { lr: 1, backend });
      const call = () => optimizer.zeroGrad({ setToNull });
      const text = 'Cannot zero grad of parameter 2 ("w") as it must be writable';
      assertThrows(call, TypeError, text);
      assertEquals([first.grad, second.grad, third.grad], before);
    }
  });

  testOnBackends(`step with zeroGrad refuses a parameter that ${what}`, async (backend) => {
    const first: SparseParameter = { data: array(1, 2), grad: sparse() };
    const second = spoil({ data: array(1, 2), grad: sparse() });
    const optimizer = new SGD([first, second, good()], { ...options, backend });
    const before = optimizer.stateDict({ parameters: true });
    const { grad } = first;
    const call = () => optimizer.step({ zeroGrad: true });
    assertThrows(call, TypeError, "Cannot zero grad of parameter 1 as it must be writable");
    await assertRejects(() => optimizer.stepAsync({ zeroGrad: true }), TypeError, "writable");
    assertEquals(optimizer.stateDict({ parameters: true }), before);
    assertEquals([first.grad, optimizer.lastStep], [grad, null]);
    optimizer.step();
  });
}

testOnBackends("a setter that throws leaves all gradients and the step untouched", (backend) => {
  const first: SparseParameter = { data: array(1, 2), grad: sparse() };
  const second = {
    data: array(1, 2),
    get grad() {
      return own;
    },
    set grad(_) {
      throw new Error("not now");
    },
  };
  const own = sparse();
  const optimizer = new SGD([first, second], { ...options, backend });
  const before = [first.grad, optimizer.stateDict({ parameters: true })];
  const calls = [
    () => optimizer.zeroGrad(),
    () => optimizer.zeroGrad({ setToNull: true }),
    () => optimizer.step({ zeroGrad: true }),
  ];
  for (const call of calls) {
    assertThrows(call, Error, "not now");
    assertEquals([first.grad, optimizer.stateDict({ parameters: true })], before);
  }
});

testOnBackends("a dense gradient of a frozen parameter is zeroed in place", (backend) => {
  const w = Object.freeze(good());
  const optimizer = new SGD([w], { ...options, backend });
  optimizer.step({ zeroGrad: true });
  assertEquals(w.grad, array(0, 0));
  w.grad!.fill(1);
  optimizer.zeroGrad();
  assertEquals(w.grad, array(0, 0));
});

testOnBackends(
  "a state is loaded whole or not at all, whatever a getter of data does",
  (backend) => {
    const source = new SGD([good(), { ...good(), name: "v" }], { lr: 7, momentum: 0.5, backend });
    source.step();
    const dict = source.stateDict({ parameters: true });
    const faults: (() => Float32Array)[] = [
      () => {
        throw new Error("no data");
      },
      () => array(1, 2, 3),
      () => new Float64Array(2) as unknown as Float32Array,
    ];
    let isDone = false;
    for (const fault of faults) {
      for (let good = 1; good < 40; good++) {
        isDone = loadWith(fault, good, dict, backend);
        if (isDone) break;
      }
      assert(isDone, "at last the getter is good for long enough");
    }
  },
);

/** Loads into an optimizer one of whose parameters has data only so many times. */
function loadWith(
  fault: () => Float32Array,
  times: number,
  dict: ReturnType<SGD["stateDict"]>,
  backend: BackendName,
): boolean {
  const [data, first] = [array(1, 2), good()];
  let left = Infinity;
  const second = {
    get data() {
      return left-- > 0 ? data : fault();
    },
    set data(_) {
      throw new Error("nobody sets it here");
    },
    grad: array(1, 1),
    name: "v",
  };
  const optimizer = new SGD([first, second], { ...options, backend });
  const shown =
    () => [optimizer.paramGroups[0].lr, first.data, data, [...optimizer.state.values()]];
  const before = structuredClone(shown());
  left = times;
  try {
    optimizer.loadStateDict(dict, { parameters: true });
  } catch {
    left = Infinity;
    assertEquals(shown(), before, `after ${times} reads`);
    return false;
  }
  assertEquals(optimizer.paramGroups[0].lr, 7);
  return true;
}

testOnBackends("a getter cannot step while a state is loaded", (backend) => {
  let meddle = () => {};
  const data = array(1, 2);
  const w: Parameter = {
    get data() {
      meddle();
      return data;
    },
    set data(_) {
      throw new Error("nobody sets it here");
    },
    grad: array(1, 1),
  };
  const optimizer = new SGD([w], { ...options, backend });
  const dict = optimizer.stateDict({ parameters: true });
  meddle = () => optimizer.step();
  assertThrows(
    () => optimizer.loadStateDict(dict),
    Error,
    "as the optimizer is reading its parameters",
  );
  assertEquals(data, array(1, 2));
});

testOnBackends("what is assigned to a state while the first step runs is kept", async (backend) => {
  const [w, other] = [good(), good()];
  const optimizer = new SGD([w, other], { ...options, backend });
  const state = optimizer.state.get(w) as { momentumBuffer: Float32Array | null };
  const own = array(5, 5);
  const running = optimizer.stepAsync();
  state.momentumBuffer = own;
  await assertRejects(() => running, Error, 'momentum buffer of parameter 0 ("w") was replaced');
  assertEquals(w.data, array(-2, -2), "the step has been taken");
  assert(state.momentumBuffer === own);
  assertEquals(own, array(5, 5));
  assertEquals(optimizer.state.get(other)!.momentumBuffer, array(3, 4));
  optimizer.step();
  assertEquals(own, array(7.5, 8.5));

  const fresh = new SGD([good()], { ...options, backend });
  const [states] = [...fresh.state.values()];
  const measured = fresh.stepAsync({ maxNorm: 1 });
  Object.assign(states, { momentumBuffer: array(5, 5) });
  await assertRejects(() => measured, Error, "was replaced");
  assertEquals(fresh.lastStep, null, "it ended before anything was written");
});

testOnBackends(
  "foreach false is one step all the same: all is taken or nothing",
  async (backend) => {
    const params = [0, 1, 2].map(() => ({ data: array(1, 2), grad: array(1, 1) }));
    const optimizer = new SGD([{ params, foreach: false }], { lr: 1, backend });
    const running = optimizer.stepAsync();
    const gone = params[1].data;
    const kept = structuredClone(gone, { transfer: [gone.buffer] });
    await assertRejects(() => running, Error, "detached or resized");
    assertEquals([params[0].data, kept, params[2].data], Array(3).fill(array(0, 1)));
  },
);

testOnBackends("sgd fills in all buffers or none, before it steps", (backend) => {
  const off = { dampening: 0, weightDecay: 0, nesterov: false, maximize: false };
  const data = [array(1), array(1)];
  const target: (Float32Array | null)[] = [null, null];
  const list = new Proxy(target, {
    set(target, key, value) {
      if (key === "1" && value !== null) throw new Error("not now");
      return Reflect.set(target, key, value);
    },
  });
  const grads = [array(1), array(1)];
  assertThrows(() => sgd(data, grads, list, { ...options, ...off, backend }), Error, "not now");
  assertEquals([data, target], [[array(1), array(1)], [null, null]]);
  const params = [array(1)];
  const frozen = [null];
  const grad = {
    ...{ indices: new Int32Array([0]), values: array(1) },
    get shape(): [number, number] {
      Object.freeze(frozen);
      return [1, 1];
    },
  };
  const late = () => sgd(params, [grad], frozen, { ...options, ...off, backend });
  assertThrows(late, TypeError, "entry 0 of momentumBufferList must be writable");
  assertEquals([params, frozen], [[array(1)], [null]]);
});
