/** `sgd` with master weights, whole and split: entries that it fills in, and what it refuses. */

import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { BFloat16Array, SGD, sgd } from "@descent/sgd";
import type { BackendName, HostArray, Parameter, SgdFunctionOptions, Tensor } from "@descent/sgd";
import { testOnBackends } from "../../support/backends.ts";
import { changeGrads, createParams, noise } from "./twin.ts";
import type { Kind } from "./twin.ts";

const OPTIONS = {
  ...{ lr: 0.01, momentum: 0.9, dampening: 0, weightDecay: 0.001, nesterov: true, maximize: false },
  seed: 3,
};

type Master = Float32Array | Int16Array | Int8Array | null;
type Entry = Tensor | { readonly values: Int8Array; readonly scales: Uint8Array } | null;
type Precision = Pick<SgdFunctionOptions, "masterWeights" | "momentumBits" | "rounding">;

const CASES: readonly (readonly [name: string, kind: Kind, precision: Precision])[] = [
  ["float32 copies of float16", "float16", { masterWeights: true }],
  ["float32 copies of bfloat16", "bfloat16+", { masterWeights: true, momentumBits: 8 }],
  ["float32 copies, rounded at random", "bfloat16", {
    masterWeights: true,
    rounding: "stochastic",
  }],
  ["split", "bfloat16", { masterWeights: "split" }],
  ["split with 8-bit momentum", "bfloat16+", { masterWeights: "split", momentumBits: 8 }],
  ["split24", "bfloat16+", { masterWeights: "split24" }],
  ["split24 with 8-bit momentum", "bfloat16", { masterWeights: "split24", momentumBits: 8 }],
  ["split of float32, without effect", "float32", { masterWeights: "split" }],
];

/** Two parameters of one kind, and one of float32. */
const create = (kind: Kind): Parameter<HostArray>[] => [
  ...createParams(kind, [4096 + 37, 100]),
  { ...createParams("float32", [50])[0], name: "wide" },
];

for (const [name, kind, precision] of CASES) {
  testOnBackends(`sgd has the bits of the class: ${name}`, (backend) => {
    const [own, other] = [create(kind), create(kind)];
    const optimizer = new SGD<HostArray>(other, { ...OPTIONS, ...precision, backend });
    const entries: Entry[] = [null, null, null];
    const masterWeightList: Master[] = [null, null, null];
    for (let counter = 0; counter < 4; counter++) {
      changeGrads(own, counter);
      changeGrads(other, counter);
      const [first] = masterWeightList;
      const [datas, grads] = [own.map(({ data }) => data), own.map(({ grad }) => grad)];
      const options = { ...OPTIONS, ...precision, masterWeightList, backend, counter };
      sgd(datas, grads, entries, options);
      optimizer.step();
      if (counter > 0) assertStrictEquals(masterWeightList[0], first);
      // Arrays of the caller's own are as good as those that were filled in.
      masterWeightList[1] = masterWeightList[1]?.slice() ?? null;
    }
    for (const [i, w] of other.entries()) {
      const { masterWeight, correction, momentum8, momentumBuffer } = optimizer.state.get(w)!;
      assertEquals(own[i].data, w.data);
      assertEquals(masterWeightList[i], masterWeight ?? correction);
      assertEquals(entries[i], momentum8 ?? momentumBuffer);
    }
    assertEquals(masterWeightList[2], null, "float32 has no master weight");
    assertEquals(masterWeightList[0] === null, kind === "float32");
  });
}

testOnBackends("a master weight begins with the first gradient", (backend) => {
  const masterWeightList: Master[] = [null];
  const options = { ...OPTIONS, backend, masterWeights: "split", masterWeightList } as const;
  const data = BFloat16Array.of(1, 2);
  sgd([data], [null], [null], options);
  assertEquals(masterWeightList, [null]);
  sgd([data], [BFloat16Array.of(1, 1)], [null], options);
  assert(masterWeightList[0] instanceof Int16Array);
});

const half = () => BFloat16Array.from(noise(100, 1));

/** What `sgd` refuses: the options, the data, and the words of the error. */
const REFUSED: Readonly<Record<string, [options: object, text: string, data?: HostArray]>> = {
  "no list": [
    { masterWeights: "split" },
    "Cannot step as masterWeightList is missing, which masterWeights need",
  ],
  "a list without master weights": [
    { masterWeightList: [null] },
    "Cannot step as masterWeightList needs masterWeights: current value is false",
  ],
  "a list that is not one": [
    { masterWeights: true, masterWeightList: new Float32Array(1) },
    "masterWeightList must be an array",
  ],
  "a list of another length": [
    { masterWeights: true, masterWeightList: [null, null] },
    "masterWeightList must have 1 entries, like params: it has 2",
  ],
  "a correction where there are copies": [
    { masterWeights: true, masterWeightList: [new Int16Array(100)] },
    "Cannot use master weight of parameter 0 as it must be float32, as all master weights",
  ],
  "a correction of 8 bits with split": [
    { masterWeights: "split", masterWeightList: [new Int8Array(100)] },
    "Cannot use correction of parameter 0 as it must be an Int16Array",
  ],
  "a correction of 16 bits with split24": [
    { masterWeights: "split24", masterWeightList: [new Int16Array(100)] },
    "Cannot use correction of parameter 0 as it must be an Int8Array",
  ],
  "a correction of another length": [
    { masterWeights: "split", masterWeightList: [new Int16Array(99)] },
    "its length must be 100, like its data: current length is 99",
  ],
  "a master weight of float32": [
    { masterWeights: true, masterWeightList: [new Float32Array(100)] },
    "Cannot use master weight of parameter 0 as it must be null, as float32 has none",
    noise(100, 1),
  ],
  "split of float16": [
    { masterWeights: "split", masterWeightList: [null] },
    'masterWeights "split" needs an array of bfloat16',
    new Float16Array(100),
  ],
  "split with stochastic rounding": [
    { masterWeights: "split", masterWeightList: [null], rounding: "stochastic" },
    'Cannot set masterWeights "split" as it needs rounding "nearest"',
  ],
};

for (const [name, [options, text, data = half()]] of Object.entries(REFUSED)) {
  testOnBackends(`sgd refuses, and nothing has changed: ${name}`, (backend) => {
    const [before, entries] = [data.slice(), [null]];
    const all = { ...OPTIONS, ...options, backend } as SgdFunctionOptions;
    assertThrows(() => sgd([data], [data.slice()], entries, all), Error, text);
    assertEquals([data, entries], [before, [null]]);
  });
}

testOnBackends("a correction that shares memory with the parameter is refused", (backend) => {
  const data = half();
  const before = data.slice();
  const masterWeightList = [new Int16Array(data.buffer, data.byteOffset, 100)];
  const options = { ...OPTIONS, backend, masterWeights: "split", masterWeightList } as const;
  assertThrows(() => sgd([data], [half()], [null], options), RangeError, "share memory");
  assertEquals(data, before);
});

testOnBackends("a correction that shares memory with foreign momentum is refused", (backend) => {
  const data = BFloat16Array.from(noise(4096, 1));
  const before = data.slice();
  const values = new Int8Array(4096);
  const entries = [{ values, scales: new Uint8Array(128) }];
  const masterWeightList = [new Int8Array(values.buffer)];
  const precision = { masterWeights: "split24", momentumBits: 8 } as const;
  const options = { ...OPTIONS, ...precision, backend, masterWeightList };
  assertThrows(() => sgd([data], [data.slice()], entries, options), RangeError, "share memory");
  assertEquals(data, before);
});

testOnBackends("momentum and master weights are filled in all or none", (backend) => {
  const run = (backend: BackendName, list: Master[], text: string) => {
    const [data, entries] = [half(), [null]];
    const options = { ...OPTIONS, backend, masterWeights: true, masterWeightList: list } as const;
    assertThrows(() => sgd([data], [half()], entries, options), Error, text);
    assertEquals([data, entries, [...list]], [half(), [null], [null]]);
  };
  const closed = new Proxy<Master[]>([null], {
    set() {
      throw new Error("not now");
    },
  });
  run(backend, closed, "not now");
  const frozen = Object.freeze([null]) as unknown as Master[];
  run(backend, frozen, "entry 0 of masterWeightList must be writable");
});
