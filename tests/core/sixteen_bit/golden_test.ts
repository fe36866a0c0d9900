/**
 * Steps of 16-bit parameters have torch's bits, on every backend, through the class and the function.
 *
 * Rounding "torch": those of torch on the 16-bit type itself. Rounding "nearest": those of torch on a
 * float32 copy that is rounded after every step.
 */

import { assertEquals } from "@std/assert";
import { SGD, sgd } from "@descent/sgd";
import type { BackendName, HostArray, Parameter } from "@descent/sgd";
import { testOnBackends } from "../../support/backends.ts";
import { digest, halfCases, input, samples, STEPS } from "./golden.ts";
import type { HalfCase } from "./golden.ts";

/** Parameter, buffer and copy. */
type State = readonly (HostArray | null)[];

function* withClass(c: HalfCase, backend: BackendName): Generator<State> {
  const w: Parameter<HostArray> = { data: input(c, 0), grad: null };
  const { rounding, master: masterWeights } = c;
  const optimizer = new SGD([w], { lr: 1, ...c.options, rounding, masterWeights, backend });
  for (let n = 1; n <= STEPS; n++) {
    w.grad = input(c, n);
    const before = digest([w.grad]);
    optimizer.step();
    assertEquals(digest([w.grad]), before, "the gradient was written");
    const { momentumBuffer, masterWeight } = optimizer.state.get(w)!;
    yield [w.data, momentumBuffer, masterWeight];
  }
}

const OFF = { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false };

function* withFunction(c: HalfCase, backend: BackendName): Generator<State> {
  const data = input(c, 0);
  const buffers: (HostArray | null)[] = [null];
  for (let n = 1; n <= STEPS; n++) {
    sgd([data], [input(c, n)], buffers, {
      ...{ lr: 1, ...OFF, ...c.options, rounding: c.rounding, backend },
    });
    yield [data, buffers[0], null];
  }
}

function assertCase(c: HalfCase, states: Iterable<State>): void {
  const what = JSON.stringify({ ...c, digests: undefined, samples: undefined });
  let n = 0;
  for (const state of states) {
    const present = state.filter((array) => array !== null);
    if (n === STEPS - 1) {
      assertEquals(state.map((array) => array && samples(array)), c.samples, what);
    }
    assertEquals(digest(present), c.digests[n++], `step ${n} of ${what}`);
  }
  assertEquals(n, STEPS);
}

function testCases(name: string, isMember: (c: HalfCase) => boolean): void {
  testOnBackends(name, (backend) => {
    for (const c of halfCases.filter(isMember)) {
      assertCase(c, withClass(c, backend));
      if (!c.master) assertCase(c, withFunction(c, backend));
    }
  });
}

for (const dtype of ["float16", "bfloat16"]) {
  const of = (rounding: string, master: boolean) => (c: HalfCase) =>
    c.dtype === dtype && c.rounding === rounding && c.master === master;
  testCases(`torch's numbers for ${dtype}, rounded by every operation`, of("torch", false));
  testCases(`${dtype} is rounded once, its buffer float32`, of("nearest", false));
  testCases(`${dtype} with a float32 copy has float32's trajectory`, of("nearest", true));
}
