/** `sgd` with momentum in 8 bits: entries that it fills in, and entries that the caller made. */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { BFloat16Array, SGD, sgd } from "@descent/sgd";
import type { BackendName, HostArray, Parameter, SparseGrad, Tensor } from "@descent/sgd";
import { testOnBackends } from "../../support/backends.ts";
import { noise } from "./twin.ts";

const OPTIONS = {
  ...{ lr: 0.01, momentum: 0.9, dampening: 0, weightDecay: 0.001, nesterov: true, maximize: false },
  ...{ momentumBits: 8, seed: 3 } as const,
};

type Entry = Tensor | { readonly values: Int8Array; readonly scales: Uint8Array } | null;

const SIZES = [5000, 100, 4096];

const create = () => {
  return SIZES.map((length, i): Parameter<HostArray> =>
    i === 2
      ? { data: BFloat16Array.from(noise(length, i)), grad: noise(length, 9) }
      : { data: noise(length, i), grad: noise(length, 10 + i) }
  );
};

/** Steps by the class, for comparison. */
function stepByClass(backend: BackendName, steps: number) {
  const params = create();
  const optimizer = new SGD<HostArray>(params, { ...OPTIONS, backend });
  for (let i = 0; i < steps; i++) optimizer.step();
  const states = params.map((w) => optimizer.state.get(w)!);
  return { datas: params.map(({ data }) => data), states };
}

function take(
  params: readonly Parameter<HostArray>[],
  entries: Entry[],
  backend: BackendName,
  counter: number,
) {
  const [datas, grads] = [params.map(({ data }) => data), params.map(({ grad }) => grad)];
  sgd(datas, grads, entries, { ...OPTIONS, backend, counter });
}

testOnBackends("entries are filled in, and go with the steps of the class", (backend) => {
  const params = create();
  const entries: Entry[] = [null, null, null];
  for (let counter = 0; counter < 3; counter++) {
    const [first] = entries;
    take(params, entries, backend, counter);
    if (counter > 0) assertStrictEquals(entries[0], first);
  }
  const { datas, states } = stepByClass(backend, 3);
  assertEquals(params.map(({ data }) => data), datas);
  assertEquals(entries[0], states[0].momentum8);
  assertEquals(entries[1], states[1].momentumBuffer);
  assertEquals(entries[2], states[2].momentum8);
});

testOnBackends("values and scales of the caller's own are read and written", (backend) => {
  const params = create();
  const entries: Entry[] = [null, null, null];
  take(params, entries, backend, 0);
  const { values, scales } = entries[0] as { values: Int8Array; scales: Uint8Array };
  const own = { values: values.slice(), scales: scales.slice() };
  entries[0] = own;
  take(params, entries, backend, 1);
  assertStrictEquals(entries[0], own);
  take(params, entries, backend, 2);
  const { datas, states } = stepByClass(backend, 3);
  assertEquals(params[0].data, datas[0]);
  assertEquals(own, { ...states[0].momentum8! });
});

testOnBackends("entries that do not fit are refused, and nothing has changed", (backend) => {
  const values = new Int8Array(5000);
  const scales = new Uint8Array(157);
  const shared = new ArrayBuffer(20_000);
  const cases: [entry: unknown, text: string, data?: Float32Array][] = [
    [new Float32Array(5000), "it must be null or { values, scales } with momentumBits 8"],
    [{ values: new Uint8Array(5000), scales }, "they must be of type Int8Array"],
    [{ values, scales: new Int8Array(157) }, "they must be of type Uint8Array"],
    [{ values, scales: new Uint8Array(156) }, "there must be 157, one for each 32 values"],
    [{ values: new Int8Array(5001), scales }, "its length must be 5000"],
    [
      { values: new Int8Array(shared, 0, 5000), scales },
      "must not share memory",
      new Float32Array(shared, 0, 5000),
    ],
    [{ values: new Int8Array(shared, 0, 5000), scales: new Uint8Array(shared, 9, 157) }, "overlap"],
  ];
  for (const [entry, text, data = noise(5000, 1)] of cases) {
    const before = data.slice();
    const entries = [entry as Entry];
    const act = () => sgd([data], [noise(5000, 2)], entries, { ...OPTIONS, backend });
    assertThrows(act, Error, text);
    assertEquals(data, before);
    assertStrictEquals(entries[0], entry);
  }
  const w = noise(100, 1);
  const momentum = { values: new Int8Array(100), scales: new Uint8Array(4) };
  const act = () => sgd([w], [noise(100, 2)], [momentum], { ...OPTIONS, backend });
  const message = "Cannot use 8-bit momentum of parameter 0 as it needs at least 4096 elements";
  assertThrows(act, TypeError, `${message}: current length is 100`);
  const wide = () => {
    sgd([w], [noise(100, 2)], [momentum], { ...OPTIONS, momentumBits: 32, backend });
  };
  assertThrows(wide, TypeError, "as momentumBits must be 8: current value is 32");
  assert(w.every((value, i) => value === noise(100, 1)[i]));
});

/** Entries of a list where the caller's own values and scales share memory, and what the list is for. */
const SHARED: Record<
  string,
  (backend: BackendName) => {
    sizes: number[];
    entries: Entry[];
    grads?: (HostArray | SparseGrad)[];
  }
> = {
  "a float32 buffer": () => {
    const memory = new ArrayBuffer(4096);
    const values = new Int8Array(memory);
    const entries = [new Float32Array(memory, 64, 64), { values, scales: new Uint8Array(128) }];
    return { sizes: [64, 4096], entries };
  },
  "a float32 buffer that lies on scales": () => {
    const memory = new ArrayBuffer(4096);
    const scales = new Uint8Array(memory, 8, 128);
    const entries = [{ values: new Int8Array(4096), scales }, new Float32Array(memory, 0, 64)];
    return { sizes: [4096, 64], entries };
  },
  "an entry of an earlier call": (backend) => {
    const entries: Entry[] = [null];
    sgd([noise(4096, 1)], [noise(4096, 2)], entries, { ...OPTIONS, backend });
    const own = entries[0] as { values: Int8Array; scales: Uint8Array };
    return { sizes: [4096, 4096], entries: [own, { values: own.values, scales: own.scales }] };
  },
  "the scales of an entry of an earlier call": (backend) => {
    const entries: Entry[] = [null];
    sgd([noise(4096, 1)], [noise(4096, 2)], entries, { ...OPTIONS, backend });
    const { scales } = entries[0] as { scales: Uint8Array };
    return { sizes: [4096, 4096], entries: [{ values: new Int8Array(4096), scales }, entries[0]] };
  },
  "another entry of the caller's own": () => {
    const values = new Int8Array(4096);
    const entries = [1, 2].map(() => ({ values, scales: new Uint8Array(128) }));
    return { sizes: [4096, 4096], entries };
  },
  "values of a sparse gradient": () => {
    const memory = new ArrayBuffer(4096);
    const own = { values: new Int8Array(memory), scales: new Uint8Array(128) };
    const grad: SparseGrad = {
      indices: Int32Array.of(1),
      values: new Float32Array(memory, 0, 8),
      shape: [8, 8],
    };
    return { sizes: [64, 4096], entries: [null, own], grads: [grad, noise(4096, 2)] };
  },
  "a gradient": () => {
    const memory = new ArrayBuffer(4 * 4096);
    const own = { values: new Int8Array(memory, 0, 4096), scales: new Uint8Array(128) };
    return { sizes: [4096], entries: [own], grads: [new Float32Array(memory)] };
  },
};

for (const [name, make] of Object.entries(SHARED)) {
  testOnBackends(
    `values and scales of the caller's own may not share memory with ${name}`,
    (backend) => {
      const { sizes, entries, grads = sizes.map((length) => noise(length, 2)) } = make(backend);
      const datas = sizes.map((length) => noise(length, 1));
      const options = { ...OPTIONS, weightDecay: 0, nesterov: false, backend };
      const given = [...entries];
      assertThrows(() => sgd(datas, grads, entries, options), RangeError, "must not share memory");
      assertEquals(datas, sizes.map((length) => noise(length, 1)));
      assertEquals(entries.map((entry, i) => entry === given[i]), entries.map(() => true));
    },
  );
}
