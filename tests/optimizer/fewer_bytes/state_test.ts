/** What `optimizer.state` shows of momentum in 8 bits and of corrections, and what may be done with it. */

import { assert, assertEquals, assertRejects, assertStrictEquals, assertThrows } from "@std/assert";
import { BFloat16Array, SGD } from "@descent/sgd";
import type { BackendName, HostArray, Parameter, SGDOptions } from "@descent/sgd";
import { decode } from "../../../src/core/momentum8.ts";
import { cpuMissing, testOnBackends } from "../../support/backends.ts";
import { changeGrads, createParams, masterOf, noise } from "./twin.ts";

const OPTIONS: SGDOptions = { lr: 0.01, momentum: 0.9, weightDecay: 0.001, seed: 3 };
const SPLIT: SGDOptions = { ...OPTIONS, momentumBits: 8, masterWeights: "split24" };

function create(options: SGDOptions) {
  const params = createParams("bfloat16");
  return { params, optimizer: new SGD<HostArray>(params, options) };
}

testOnBackends("momentum of 4,096 elements and more is values and scales", (backend) => {
  const params: Parameter[] = [4095, 4096].map((length) => {
    return { data: noise(length, 0), grad: noise(length, 1) };
  });
  const optimizer = new SGD(params, { ...OPTIONS, momentumBits: 8, backend });
  const [small, large] = params.map((w) => optimizer.state.get(w)!);
  assertEquals([large.momentum8, large.momentumBuffer, large.readMomentum()], [null, null, null]);
  optimizer.step();
  assertEquals(small.momentum8, null);
  assert(small.momentumBuffer instanceof Float32Array);
  const copy = small.readMomentum()!;
  assertEquals(copy, small.momentumBuffer);
  assert(copy !== small.momentumBuffer);
  const { values, scales } = large.momentum8!;
  assertEquals([values.length, scales.length, large.momentumBuffer], [4096, 128, null]);
  const decoded = new Float32Array(4096);
  decode(values, scales, decoded);
  assertEquals(large.readMomentum(), decoded);
  const { momentum8 } = large;
  optimizer.step();
  assertStrictEquals(optimizer.state.get(params[1])!.momentum8, momentum8);
  assertStrictEquals(momentum8!.values, values);
});

testOnBackends("corrections have 16 or 8 bits, and only bfloat16 has them", (backend) => {
  for (const [masterWeights, type] of [["split", Int16Array], ["split24", Int8Array]] as const) {
    const half: Parameter<HostArray> = {
      data: BFloat16Array.of(1, 2),
      grad: BFloat16Array.of(1, 1),
    };
    const wide: Parameter<HostArray> = { data: new Float32Array(2), grad: new Float32Array(2) };
    const optimizer = new SGD<HostArray>([half, wide], { ...OPTIONS, masterWeights, backend });
    assertEquals(optimizer.state.get(half)!.correction, null);
    optimizer.step();
    assert(optimizer.state.get(half)!.correction instanceof type);
    assertEquals(optimizer.state.get(half)!.masterWeight, null);
    assertEquals(optimizer.state.get(wide)!.correction, null);
  }
});

testOnBackends("state that nobody looks at has the bits of state that is shown", (backend) => {
  const run = (isShown: boolean) => {
    const { params, optimizer } = create({ ...SPLIT, backend });
    if (isShown) assertEquals(optimizer.state.size, 3);
    for (let i = 0; i < 3; i++) {
      changeGrads(params, i);
      optimizer.step();
    }
    return params.map((w) => {
      const { momentum8, momentumBuffer, correction } = optimizer.state.get(w)!;
      return [w.data, momentum8?.values, momentum8?.scales, momentumBuffer, correction];
    });
  };
  assertEquals(run(false), run(true));
});

testOnBackends(
  "what is written into values, scales and corrections is what the next step reads",
  (backend) => {
    const w: Parameter<HostArray> = {
      data: BFloat16Array.from(new Float32Array(4096).fill(1)),
      grad: new BFloat16Array(4096),
    };
    const options = {
      lr: 1,
      momentum: 0.5,
      momentumBits: 8,
      masterWeights: "split",
      backend,
    } as const;
    const optimizer = new SGD<HostArray>([w], options);
    optimizer.step();
    const { momentum8, correction } = optimizer.state.get(w)!;
    momentum8!.values.fill(64);
    momentum8!.scales.fill(127 - 14); // 2^-8 each
    correction!.fill(16); // 16 units of the last place of 1
    optimizer.step();
    const master = masterOf(w.data, correction!);
    assertEquals([...new Set(master)], [1 + 2 ** -19 - 2 ** -9]);
    assertEquals(optimizer.state.get(w)!.readMomentum()![0], 2 ** -9);
  },
);

testOnBackends(
  "readMasterWeight is a float32 copy, whatever form master weights have",
  (backend) => {
    for (const masterWeights of [false, true, "split", "split24"] as const) {
      const { params, optimizer } = create({ ...OPTIONS, masterWeights, backend });
      const [w] = params;
      const state = optimizer.state.get(w)!;
      assertEquals(state.readMasterWeight(), null, "before the first step");
      optimizer.step();
      const { masterWeight, correction } = state;
      const expected = correction === null ? masterWeight?.slice() : masterOf(w.data, correction);
      assertEquals(state.readMasterWeight(), expected ?? null);
      state.readMasterWeight()?.fill(7);
      assertEquals(state.readMasterWeight(), expected ?? null, "what is written into a copy");
      if (correction === null) continue;
      const other = (w.data as BFloat16Array).slice();
      w.data = other;
      assertEquals(
        state.readMasterWeight(),
        other.toFloat32Array(),
        "other data have no correction",
      );
      optimizer.addParamGroup({
        params: [{ data: BFloat16Array.of(1), grad: BFloat16Array.of(1) }],
      });
      optimizer.step();
      const [added] = optimizer.paramGroups[1].params;
      const { correction: bits, readMasterWeight } = optimizer.state.get(added)!;
      assertEquals(readMasterWeight(), masterOf(added.data as HostArray, bits!));
    }
  },
);

testOnBackends("other data of the same kind begin without a correction", (backend) => {
  for (const masterWeights of ["split", "split24"] as const) {
    for (const isShown of [true, false]) {
      const make = () => {
        const { params, optimizer } = create({ ...OPTIONS, masterWeights, backend });
        optimizer.step();
        if (isShown) assert(optimizer.state.get(params[0])!.correction!.some((c) => c !== 0));
        return { params, optimizer };
      };
      const [a, b] = [make(), make()];
      const other = noise(4096 + 37, 5);
      a.params[0].data = BFloat16Array.from(other);
      b.params[0].data = BFloat16Array.from(other);
      b.optimizer.state.get(b.params[0])!.correction!.fill(0);
      a.optimizer.step();
      b.optimizer.step();
      assertEquals(a.params[0].data, b.params[0].data);
      const corrections = [a, b].map(({ params, optimizer }) =>
        params.map((w) => optimizer.state.get(w)!.correction)
      );
      assertEquals(corrections[0], corrections[1]);
    }
  }
});

testOnBackends(
  "a step that is refused or skipped leaves corrections of replaced data alone",
  (backend) => {
    const { params, optimizer } = create({ ...OPTIONS, masterWeights: "split", backend });
    optimizer.step();
    const { correction } = optimizer.state.get(params[0])!;
    const before = correction!.slice();
    const { data } = params[0];
    params[0].data = BFloat16Array.from(noise(data.length, 8));
    const { grad } = params[1];
    params[1].grad = new BFloat16Array(3);
    assertThrows(() => optimizer.step(), RangeError, "length");
    params[1].grad = BFloat16Array.from(new Float32Array(100).fill(NaN));
    optimizer.step({ checkFinite: true });
    assertEquals(correction, before);
    params[0].data = data;
    params[1].grad = grad;
    optimizer.step({ checkFinite: true });
    assert(correction!.some((value, i) => value !== before[i]));
  },
);

testOnBackends(
  "a parameter written in place is at most half a unit off, and never NaN",
  (backend) => {
    const special = [0x0000, 0x8000, 0x7f80, 0xff80, 0x3f80, 0x0001, 0x7f7f];
    for (const masterWeights of ["split", "split24"] as const) {
      const data = BFloat16Array.from(noise(4096, 2));
      const w: Parameter<HostArray> = { data, grad: BFloat16Array.from(noise(4096, 3)) };
      const optimizer = new SGD<HostArray>([w], { lr: 0.01, masterWeights, backend });
      optimizer.step();
      for (const bits of special) {
        data.set(new Uint16Array(4096).fill(bits));
        (w.grad as BFloat16Array).fill(0);
        optimizer.step();
        const off = new Set(Array.from(new Uint16Array(data), (value) => value - bits));
        assert([...off].every((value) => value === 0 || value === 1), `${bits}: ${[...off]}`);
        assert(data.toFloat32Array().every((value) => !Number.isNaN(value)));
      }
    }
  },
);

testOnBackends("without its correction a parameter begins from what was written", (backend) => {
  for (const [masterWeights, type] of [["split", Int16Array], ["split24", Int8Array]] as const) {
    const w: Parameter<HostArray> = {
      data: BFloat16Array.from(noise(4096, 2)),
      grad: BFloat16Array.from(noise(4096, 3)),
    };
    const optimizer = new SGD<HostArray>([w], { lr: 0.01, masterWeights, backend });
    optimizer.step();
    const state = optimizer.state.get(w)!;
    const old = state.correction!;
    assert(old.some((value) => value !== 0));
    const written = BFloat16Array.from(noise(4096, 4));
    w.data.set(written);
    state.correction = null;
    (w.grad as BFloat16Array).fill(0);
    optimizer.step();
    const { correction } = optimizer.state.get(w)!;
    assert(correction instanceof type && correction !== old);
    assertEquals(masterOf(w.data, correction!), written.toFloat32Array());
  }
});

testOnBackends("data of another length or type need another state", (backend) => {
  const { params, optimizer } = create({ ...SPLIT, backend });
  optimizer.step();
  const [w] = params;
  w.data = BFloat16Array.from(noise(5000, 0));
  w.grad = BFloat16Array.from(noise(5000, 0));
  const text = "its length must be 5000, like its data: current length is 4133";
  assertThrows(() => optimizer.step(), RangeError, text);
  w.data = BFloat16Array.from(noise(50, 0));
  w.grad = BFloat16Array.from(noise(50, 0));
  assertThrows(() => optimizer.step(), RangeError, "its length must be 50");
  w.data = noise(5000, 0);
  w.grad = noise(5000, 0);
  assertThrows(() => optimizer.step(), RangeError, "8-bit momentum of parameter 0");
});

testOnBackends(
  "momentum and corrections of the user's own are refused if they do not fit",
  (backend) => {
    const { params, optimizer } = create({ ...SPLIT, backend });
    optimizer.step();
    const state = optimizer.state.get(params[0])! as {
      -readonly [K in keyof ReturnType<typeof get>]: unknown;
    };
    function get() {
      return optimizer.state.get(params[0])!;
    }
    const { momentum8, correction } = state;
    const cases: [
      key: "momentum8" | "momentumBuffer" | "correction",
      value: unknown,
      text: string,
    ][] = [
      [
        "momentum8",
        { values: new Int8Array(4133), scales: new Uint8Array(130) },
        "the optimizer's own",
      ],
      ["momentumBuffer", new Float32Array(4133), "it must be null with momentumBits 8"],
      ["correction", new Int16Array(4133), "it must be an Int8Array"],
      ["correction", new Int8Array(4132), "its length must be 4133"],
    ];
    for (const [key, value, text] of cases) {
      const before = state[key];
      state[key] = value;
      assertThrows(() => optimizer.step(), Error, text);
      state[key] = before;
    }
    state.correction = (correction as Int8Array).slice();
    optimizer.step();
    state.momentum8 = null; // a first step once more
    optimizer.step();
    assert(state.momentum8 !== null && state.momentum8 !== momentum8);
  },
);

testOnBackends("state that overlaps what a step uses, or is gone, is refused", (backend) => {
  const { params, optimizer } = create({ ...SPLIT, backend });
  optimizer.step();
  const { momentum8, correction } = optimizer.state.get(params[0])!;
  const { grad } = params[0];
  for (
    const [own, name] of [[momentum8!.values, "8-bit momentum"], [
      correction!,
      "correction",
    ]] as const
  ) {
    params[0].grad = new BFloat16Array(own.buffer, own.byteOffset + own.byteOffset % 2, 4133);
    const { message } = assertThrows(() => optimizer.step(), RangeError, "must not share memory");
    assert(message.includes(name), message);
  }
  params[0].grad = grad;
  optimizer.step();
  if (backend === "js") return; // the memory of WebAssembly cannot be transferred
  (correction!.buffer as ArrayBuffer).transfer();
  assertThrows(() => optimizer.step(), TypeError, "correction of parameter 0");
});

testOnBackends("state is not read while a step writes it", async (backend) => {
  const { params, optimizer } = create({ ...SPLIT, backend });
  optimizer.step();
  const running = optimizer.stepAsync();
  const state = optimizer.state.get(params[0])!;
  const reads = [() => state.readMomentum(), () => state.readMasterWeight()];
  for (const read of reads) {
    assertThrows(read, Error, "a step that is running uses its memory");
  }
  await running;
  for (const read of reads) assert(read() !== null);
});

Deno.test({
  name: `momentum that is detached ends an asynchronous step${
    cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`
  }`,
  ignore: cpuMissing !== null,
  async fn() {
    const { params, optimizer } = create({ ...SPLIT, backend: "cpu" });
    optimizer.step();
    const { values } = optimizer.state.get(params[0])!.momentum8!;
    const running = optimizer.stepAsync();
    (values.buffer as ArrayBuffer).transfer();
    await assertRejects(() => running, Error, "8-bit momentum of parameter 0");
  },
});

testOnBackends("a buffer whose gradients stop reaches 0", (backend: BackendName) => {
  const w: Parameter = { data: noise(4096, 1), grad: noise(4096, 2) };
  const options = { lr: 0, momentum: 0.9, momentumBits: 8, backend } as const;
  const optimizer = new SGD([w], options);
  optimizer.step();
  (w.grad as Float32Array).fill(0);
  for (let i = 0; i < 1500; i++) optimizer.step();
  assertEquals(new Set(optimizer.state.get(w)!.momentum8!.values), new Set([0]));
});

testOnBackends("NaN and infinity in a gradient stay visible in momentum", (backend) => {
  const w: Parameter = { data: noise(4096, 1), grad: noise(4096, 2) };
  const optimizer = new SGD([w], { lr: 0.1, momentum: 0.9, momentumBits: 8, backend });
  (w.grad as Float32Array).set([NaN, Infinity, -Infinity], 40);
  optimizer.step();
  const momentum = optimizer.state.get(w)!.readMomentum()!;
  assertEquals([...momentum.subarray(40, 43)], [NaN, NaN, NaN]);
  assertEquals([...w.data.subarray(40, 43)], [NaN, -Infinity, Infinity]);
  assert(momentum.every((value, i) => Number.isFinite(value) === !(i >= 40 && i < 43)));
});
