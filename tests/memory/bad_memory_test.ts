/** Arrays that overlap, lie or vanish are a clear error, and nothing has changed after it. */

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { type FloatArray, type Parameter, SGD, sgd } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { array, detach, good } from "../support/faults.ts";

const options = {
  lr: 1,
  momentum: 0.9,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
  maximize: false,
};

testOnBackends("parameters that overlap are refused and both named", (backend) => {
  const shared = array(1, 2, 3, 4);
  const a = { data: shared.subarray(0, 3), grad: array(1, 1, 1), name: "a" };
  const b = { data: shared.subarray(2), grad: array(1, 1), name: "b" };
  const { message } = assertThrows(() => new SGD([b, a], { lr: 0.1, backend }), RangeError);
  assertStringIncludes(message, '("a")');
  assertStringIncludes(message, '("b")');
  const optimizer = new SGD([a], { lr: 0.1, backend });
  assertThrows(() => optimizer.addParamGroup({ params: [b] }), RangeError, "overlap");
  optimizer.addParamGroup({ params: [{ ...b, data: array(1) }] });
  (optimizer.paramGroups[1].params[0] as Parameter).data = shared.subarray(2);
  assertThrows(() => optimizer.step(), RangeError, "overlap");
  assertEquals(shared, array(1, 2, 3, 4));
});

testOnBackends("a step refuses a momentum buffer used as a gradient", (backend) => {
  const [a, b] = [good("a"), good("b")];
  const optimizer = new SGD([a, b], { lr: 0.1, momentum: 0.9, backend });
  optimizer.step();
  b.grad = optimizer.state.get(a)!.momentumBuffer;
  assertThrows(() => optimizer.step(), RangeError, "overlap");
});

testOnBackends("neighbors in one buffer do not overlap, and may share a gradient", (backend) => {
  const shared = array(1, 2, 3, 4);
  const grad = array(1, 1);
  const params = [shared.subarray(0, 2), shared.subarray(2)].map((data) => ({ data, grad }));
  new SGD(params, { lr: 1, backend }).step();
  assertEquals(shared, array(0, 1, 2, 3));
});

testOnBackends("an array that lies about its type, length or place is refused", (backend) => {
  class Liar extends Float32Array {
    override get length() {
      return 5;
    }
  }
  class Elsewhere extends Float32Array {
    override get byteOffset() {
      return 1 << 30;
    }
  }
  const long = Object.defineProperty(array(1, 2), "length", { value: 5 });
  const other = Object.defineProperty(array(1, 2), "buffer", { value: new ArrayBuffer(64) });
  for (const data of [new Liar(2), new Elsewhere(2), long, other]) {
    assertThrows(() => new SGD([{ data, grad: null }], { lr: 1, backend }), TypeError, "redefine");
    assertThrows(() => sgd([array(1, 2)], [data], [null], { ...options, backend }), TypeError);
  }
  const tagged = Object.defineProperty(array(1, 2), Symbol.toStringTag, { value: "Float64Array" });
  const optimizer = new SGD([{ data: tagged, grad: new Float64Array(2) }], { lr: 1, backend });
  assertThrows(() => optimizer.step(), TypeError, "must be float32");
});

testOnBackends("an accessor that detaches an array during the checks is found out", (backend) => {
  const victim = good();
  const attacker = {
    data: array(1),
    get grad() {
      if (!victim.grad!.buffer.byteLength) return array(1);
      detach(victim.grad!);
      return array(1);
    },
    set grad(_) {
      throw new Error("nobody sets it here");
    },
  };
  const optimizer = new SGD([victim, attacker], { lr: 1, backend });
  assertThrows(() => optimizer.step(), TypeError, 'grad of parameter 0 ("w")');
  assertEquals([victim.data, attacker.data], [array(1, 2), array(1)]);
});

testOnBackends(
  "nothing of the caller's runs between the checks of a step and the step",
  (backend) => {
    let reads = 0;
    const w = {
      ...good(),
      get name() {
        reads++;
        return "w";
      },
    };
    const optimizer = new SGD([w], { lr: 1, differentiable: true, backend });
    reads = 0;
    optimizer.step();
    assertEquals([reads, w.data], [0, array(-2, -2)]);
  },
);

testOnBackends("an array without elements is missed too when its buffer goes", (backend) => {
  for (const options of [{}, { differentiable: true }]) {
    const [w, empty] = [good(), { data: array(), grad: array() }];
    const optimizer = new SGD([w, empty], { lr: 1, ...options, backend });
    optimizer.step();
    detach(empty.grad);
    assertThrows(() => optimizer.step(), TypeError, "grad of parameter 1");
    assertEquals(w.data, array(-2, -2));
  }
});

testOnBackends("a momentum buffer detached between two steps is an error", (backend) => {
  const w = good();
  const optimizer = new SGD([w], { lr: 1, momentum: 0.9, backend });
  optimizer.step();
  const data = w.data.slice();
  detach(optimizer.state.get(w)!.momentumBuffer!);
  assertThrows(() => optimizer.step(), TypeError, "momentum buffer of parameter 0");
  assertEquals(w.data, data);
});

testOnBackends("zeroGrad refuses a detached or plain gradient and zeroes none", (backend) => {
  for (const grad of [detach(array(1, 2)), [1, 2] as unknown as FloatArray]) {
    const [a, b] = [good("a"), good("b")];
    const optimizer = new SGD([a, b], { lr: 1, backend });
    b.grad = grad;
    assertThrows(() => optimizer.zeroGrad(), TypeError, 'grad of parameter 1 ("b")');
    assertEquals(a.grad, array(3, 4));
    assertThrows(() => optimizer.zeroGrad({ set_to_null: true } as never), TypeError, "setToNull");
  }
});
