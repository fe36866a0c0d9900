/** `differentiable: true` and `SGD.backward`: what flows back, how much is kept, what is refused. */

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import type {
  BackwardOptions,
  BackwardResult,
  FloatArray,
  Parameter,
  SGDOptions,
} from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { assertNear, inputs, STEPS, vjpCases } from "../support/vjp_golden.ts";

const one = (x: number) => new Float64Array([x]);
const parameter = (x: number, name = "w") => ({ data: one(x), grad: one(1), name });

testOnBackends("going back through recorded steps gives what torch's autograd gives", (backend) => {
  for (const c of vjpCases) {
    const { param, grads, buffer, paramCotangent, bufferCotangent } = inputs(c);
    const w: Parameter = { data: param, grad: null };
    const optimizer = new SGD([w], { ...c.options, differentiable: true, backend });
    if (buffer !== null) {
      const { param_groups } = optimizer.stateDict();
      optimizer.loadStateDict({ state: { 0: { momentum_buffer: buffer } }, param_groups });
    }
    for (const grad of grads) {
      w.grad = grad;
      optimizer.step();
    }
    assertEquals(optimizer.recordedSteps, STEPS);
    const momentumBuffers = new Map(bufferCotangent === null ? [] : [[w, bufferCotangent]]);
    const gradCotangents: FloatArray[] = [];
    const back = optimizer.backward(new Map([[w, paramCotangent]]), {
      momentumBuffers,
      through: ({ index, params }) => gradCotangents[index] = params.get(w)!.gradCotangent,
    });
    gradCotangents.forEach((dGrad, n) => assertNear(c, dGrad, c.grads[n], `gradient ${n}`));
    assertNear(c, back.params.get(w)!, c.param, "param");
    assertNear(c, back.momentumBuffers.get(w) ?? null, c.buffer, "buffer");
    for (const key of ["lr", "momentum", "dampening", "weightDecay"] as const) {
      assertNear(c, back.groups[0][key], c[key], key);
      const sum = back.steps.map(([group]) => group[key]).reduce((a, b) => a + b);
      assertAlmostEquals(sum, back.groups[0][key], 1e-9);
    }
    assertEquals(optimizer.recordedSteps, 0);
  }
});

/** The loss (w - 3)^4 / 4 after steps down itself, and how it depends on what they started from. */
function descend(start: number, options: SGDOptions, lrs: readonly number[]) {
  const w = parameter(start);
  const optimizer = new SGD([w], { ...options, differentiable: true });
  for (const lr of lrs) {
    optimizer.paramGroups[0].lr = lr;
    w.grad[0] = (w.data[0] - 3) ** 3;
    optimizer.step();
  }
  const loss = (w.data[0] - 3) ** 4 / 4;
  const back = () =>
    optimizer.backward(new Map([[w, one((w.data[0] - 3) ** 3)]]), {
      through({ params }) {
        const { data, gradCotangent, paramCotangent } = params.get(w)!;
        paramCotangent[0] += 3 * (data[0] - 3) ** 2 * gradCotangent[0];
      },
    });
  return { loss, back, w };
}

testOnBackends("with through, gradients flow through the gradients too", (backend) => {
  const options = { lr: 0, momentum: 0.6, weightDecay: 0.05, nesterov: true, backend };
  const lrs = [0.03, 0.05, 0.02, 0.04];
  const { w, back } = descend(1.5, options, lrs);
  const { params, groups, steps } = back();
  const slope = (at: (shift: number) => { loss: number }) =>
    (at(1e-6).loss - at(-1e-6).loss) / 2e-6;
  const check = (actual: number, expected: number) => assertAlmostEquals(actual, expected, 1e-7);
  check(params.get(w)![0], slope((shift) => descend(1.5 + shift, options, lrs)));
  for (const name of ["momentum", "weightDecay"] as const) {
    const shifted = (shift: number) => ({ ...options, [name]: options[name] + shift });
    check(groups[0][name], slope((shift) => descend(1.5, shifted(shift), lrs)));
  }
  for (const [n, [group]] of steps.entries()) {
    const shifted = (shift: number) => lrs.map((lr, i) => i === n ? lr + shift : lr);
    check(group.lr, slope((shift) => descend(1.5, options, shifted(shift))));
  }
  check(groups[0].lr, slope((shift) => descend(1.5, options, lrs.map((lr) => lr + shift))));
});

testOnBackends("recordSteps keeps the last steps only", (backend) => {
  const w = parameter(1);
  const optimizer = new SGD([w], { lr: 0.1, differentiable: true, recordSteps: 2, backend });
  const before: number[] = [];
  for (let n = 0; n < 5; n++) {
    w.grad = one(n + 1); // the caller may reuse or replace it
    before.push(w.data[0]);
    optimizer.step();
    w.grad[0] = NaN;
  }
  assertEquals(optimizer.recordedSteps, 2);
  const seen: number[][] = [];
  const { groups } = optimizer.backward(new Map([[w, one(1)]]), {
    through({ index, params }) {
      const { data, grad } = params.get(w)!;
      seen.push([index, data[0], grad[0]]);
    },
  });
  assertEquals(seen, [[1, before[4], 5], [0, before[3], 4]]);
  assertEquals(groups[0].lr, -9);
});

testOnBackends(
  "groups, skipped parameters and groups added later each get their own",
  (backend) => {
    const [a, b, c] = [parameter(1, "a"), parameter(2, "b"), parameter(3, "c")] as [
      Parameter,
      Parameter,
      Parameter,
    ];
    const optimizer = new SGD(
      [{ params: [a] }, { params: [b], lr: 10, weightDecay: 0.5 }],
      { lr: 1, differentiable: true, backend },
    );
    optimizer.step();
    optimizer.addParamGroup({ params: [c], lr: 100 });
    b.grad = null;
    optimizer.step();
    const seen: number[] = [];
    const cotangents = new Map([a, b, c].map((w) => [w, one(1)]));
    const { groups, steps, params } = optimizer.backward(cotangents, {
      through: ({ params }) => seen.push(params.size),
    });
    assertEquals(groups.map(({ lr }) => lr), [-2, -2, -1]); // b: its gradient and half of its value
    assertEquals(steps.map((groups) => groups.length), [2, 3]);
    assertEquals([a, b, c].map((w) => params.get(w)![0]), [1, 1 - 10 * 0.5, 1]);
    assertEquals(seen, [2, 2]);
  },
);

testOnBackends("a group that is not differentiable is left out", (backend) => {
  const [a, b] = [parameter(1, "a"), parameter(2, "b")];
  const groups = [{ params: [a], differentiable: true }, { params: [b] }];
  const optimizer = new SGD(groups, { lr: 1, backend });
  optimizer.step();
  assertThrows(() => optimizer.backward(new Map([[b, one(1)]])), RangeError, "no recorded step");
  const { groups: [, other], params } = optimizer.backward(new Map([[a, one(1)]]));
  assertEquals([other.lr, params.size], [0, 1]);
});

testOnBackends("differentiable steps are the same steps", (backend) => {
  const options = { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01, backend };
  const [a, b] = [true, false].map((differentiable) => {
    const w = parameter(1);
    const optimizer = new SGD([w], { ...options, differentiable });
    for (let n = 0; n < 5; n++) optimizer.step();
    assertEquals(optimizer.recordedSteps, differentiable ? 5 : 0);
    return w.data[0];
  });
  assertEquals(a, b);
});

const withSteps = (body: (optimizer: SGD, w: Parameter) => void) => (backend: "cpu" | "js") => {
  const w = parameter(1);
  const optimizer = new SGD([w], { lr: 0.1, differentiable: true, backend });
  optimizer.step();
  body(optimizer, w);
};

testOnBackends(
  "bad cotangents are refused, and the steps stay",
  withSteps((optimizer, w) => {
    const back = (cotangents: unknown, options?: object): BackwardResult =>
      optimizer.backward(cotangents as never, options);
    assertThrows(() => back({}), TypeError, "Map");
    assertThrows(() => back(new Map([[parameter(1), one(1)]])), RangeError, '"w"');
    assertThrows(() => back(new Map([[w, new Float32Array(1)]])), TypeError, "float64");
    assertThrows(() => back(new Map([[w, new Float64Array(2)]])), RangeError, "length is 2");
    const momentumBuffers = new Map([[w, new Float64Array(2)]]);
    assertThrows(() => back(new Map(), { momentumBuffers }), RangeError, "momentum buffer");
    assertThrows(() => back(new Map(), { through: () => Promise.resolve() }), TypeError, "promise");
    assertThrows(() => back(new Map(), { trough() {} }), TypeError, '"trough"');
    assertEquals(optimizer.recordedSteps, 1);
    back(new Map([[w, one(1)]]));
    assertThrows(() => back(new Map([[w, one(1)]])), Error, "no step is recorded");
  }),
);

testOnBackends("errors of backward name the parameter, the option and the value", (backend) => {
  const [w, skipped] = [parameter(1), { data: one(1), grad: null }];
  const optimizer = new SGD<FloatArray>([w, skipped], { lr: 0.1, differentiable: true, backend });
  optimizer.step();
  const cotangent = (value: unknown, key: unknown = w) => new Map([[key, value]]);
  const like = 'Cannot use cotangent of parameter 0 ("w") as it must be float64, like its data: ';
  const stranger = "a cotangent as its parameter must be one of the optimizer's: current value is ";
  const cases: [cotangents: unknown, options: unknown, kind: ErrorConstructor, message: string][] =
    [
      [null, {}, TypeError, "cotangents must be a Map from parameters to arrays: current value is"],
      [new Map(), null, TypeError, "options must be an object: current value is null"],
      [new Map(), { through: 5 }, TypeError, "Cannot set through as it must be a function: "],
      [new Map(), { through: null }, TypeError, "current value is null"],
      [new Map(), { momentumBuffers: null }, TypeError, "momentumBuffers must be a Map"],
      [cotangent(null), {}, TypeError, `${like}current value is null`],
      [cotangent([1]), {}, TypeError, `${like}current value is of type Array`],
      [cotangent(one(1), skipped), {}, RangeError, "cotangent of parameter 1 as it is in no rec"],
      [cotangent(one(1), parameter(1)), {}, RangeError, `${stranger}"w"`],
      [cotangent(one(1), null), {}, RangeError, `${stranger}null`],
    ];
  for (const [cotangents, options, kind, message] of cases) {
    const back = () => optimizer.backward(cotangents as never, options as never);
    assertThrows(back, kind, message);
    assertEquals(optimizer.recordedSteps, 1);
  }
});

for (const momentum of [0, 0.5]) {
  for (const [what, replacement] of [["length", one(1)], ["dtype", new Float32Array(3)]] as const) {
    testOnBackends(
      `data of another ${what} between two steps is refused, with momentum ${momentum}`,
      (backend) => {
        const w: Parameter = { data: new Float64Array(3), grad: new Float64Array(3), name: "w" };
        const options = { momentum: 0, lr: 1, differentiable: true, backend };
        const optimizer = new SGD([w], options);
        optimizer.step();
        w.data = replacement;
        w.grad = replacement.slice();
        optimizer.paramGroups[0].momentum = momentum;
        optimizer.step();
        const visited: number[] = [];
        const back = () =>
          optimizer.backward(new Map([[w, replacement]]), {
            through: ({ index }) => visited.push(index),
          });
        assertThrows(back, RangeError, 'data of parameter 0 ("w") must have one dtype and length');
        assertEquals([visited, optimizer.recordedSteps], [[], 2]);
        optimizer.step();
        optimizer.loadStateDict(optimizer.stateDict());
        optimizer.step();
        optimizer.backward(new Map([[w, replacement]]));
      },
    );
  }
}

testOnBackends(
  "through cannot change the recorded steps, and the optimizer works afterwards",
  (backend) => {
    const w = parameter(2);
    const optimizer = new SGD([w], { lr: 0.1, momentum: 0.5, differentiable: true, backend });
    for (let n = 0; n < 3; n++) optimizer.step();
    const before = w.data[0];
    const dict = optimizer.stateDict();
    const cotangents = new Map([[w, one(1)]]);
    const calls = {
      step: () => optimizer.step(),
      "step(closure)": () => optimizer.step(() => w.grad.fill(7)),
      backward: () => optimizer.backward(cotangents),
      loadStateDict: () => optimizer.loadStateDict(dict),
      addParamGroup: () => optimizer.addParamGroup({ params: [parameter(1, "late")] }),
    };
    for (const [name, call] of Object.entries(calls)) {
      const message = `Cannot call ${name.replace(/\(.*/, "")} as backward is going back`;
      assertThrows(() => optimizer.backward(cotangents, { through: call }), Error, message);
    }
    assertEquals([w.data[0], w.grad[0], optimizer.paramGroups.length], [before, 1, 1]);
    assertEquals(optimizer.recordedSteps, 3);
    const { groups } = optimizer.backward(cotangents);
    assertAlmostEquals(groups[0].lr, -(1 + 1.5 + 1.75), 1e-12);
    optimizer.step();
    assertEquals(optimizer.recordedSteps, 1);
  },
);

const detach = ({ buffer }: FloatArray) =>
  structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });

testOnBackends("what through detaches is named, whichever step it is", (backend) => {
  const w = parameter(2);
  const optimizer = new SGD([w], { lr: 0.1, differentiable: true, backend });
  for (let n = 0; n < 2; n++) optimizer.step();
  const cotangents = new Map([[w, one(1)]]);
  for (const last of [0, 1]) {
    const through: BackwardOptions["through"] = ({ index, params }) => {
      if (index === last) detach(params.get(w)!.paramCotangent);
    };
    const back = () => optimizer.backward(cotangents, { through });
    assertThrows(back, TypeError, 'paramCotangent of parameter 0 ("w") as its buffer is detached');
  }
  const through: BackwardOptions["through"] = ({ params }) => detach(params.get(w)!.grad);
  optimizer.backward(cotangents, { through }); // nobody reads it any more
  for (let n = 0; n < 2; n++) optimizer.step();
  assertThrows(
    () =>
      optimizer.backward(cotangents, {
        through({ params }) {
          detach(params.get(w)!.grad);
          throw new Error("stop");
        },
      }),
    Error,
    "stop",
  );
  const back = () => optimizer.backward(cotangents);
  assertThrows(back, TypeError, 'grad of parameter 0 ("w") as its buffer is detached');
});

testOnBackends(
  "a group that was differentiable in some of the steps cannot be gone through",
  withSteps((optimizer, w) => {
    optimizer.paramGroups[0].differentiable = false;
    optimizer.addParamGroup({ params: [parameter(2, "late")], differentiable: true });
    optimizer.step();
    assertThrows(() => optimizer.backward(new Map([[w, one(1)]])), Error, "1 of 2");
  }),
);

testOnBackends(
  "a loaded state forgets the recorded steps",
  withSteps((optimizer) => {
    optimizer.loadStateDict(optimizer.stateDict());
    assertEquals(optimizer.recordedSteps, 0);
  }),
);

testOnBackends("a sparse gradient is refused before anything is written", (backend) => {
  const grad = { indices: new Int32Array([0]), values: one(1), shape: [1, 1] as const };
  const w = { data: one(1), grad };
  const dense = parameter(5);
  const optimizer = new SGD([dense, w], { lr: 1, differentiable: true, backend });
  assertThrows(() => optimizer.step(), TypeError, "parameter 1");
  assertEquals([dense.data[0], w.data[0], optimizer.recordedSteps], [5, 1, 0]);
});

for (
  const [value, kind] of [[0, RangeError], [1.5, RangeError], [NaN, RangeError], [
    "2",
    TypeError,
  ]] as const
) {
  Deno.test(`recordSteps ${JSON.stringify(value)} is refused`, () => {
    const make = () => new SGD([parameter(1)], { lr: 1, recordSteps: value as number });
    assert(assertThrows(make, kind).message.startsWith("Cannot set recordSteps"));
  });
}
