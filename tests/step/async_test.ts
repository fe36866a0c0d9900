/** `stepAsync`: the bits of `step`, without blocking the event loop, and what it refuses while it runs. */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { clipGradNorm, GradScaler, saveState, SGD, sgd } from "@descent/sgd";
import type { BackendName, FloatArray, Parameter, SparseParameter } from "@descent/sgd";
import { cpuMissing, testOnBackends } from "../support/backends.ts";
import { digest, generate } from "../support/golden.ts";

const array = (...values: number[]) => new Float32Array(values);

function make(backend: BackendName, options: { foreach?: boolean; size?: number } = {}) {
  const { foreach = null, size = 5 } = options;
  const params = [0, 1].map((i): Parameter => ({
    data: generate("float32", "ordinary", [3, i, 0], size),
    grad: generate("float32", "ordinary", [3, i, 1], size),
    name: `p${i}`,
  }));
  const group = { params, lr: 0.1, momentum: 0.9, nesterov: true, foreach };
  return { params, optimizer: new SGD([group], { lr: 1, backend }) };
}

const shown = (params: readonly { data: FloatArray }[]) => params.map(({ data }) => digest([data]));

testOnBackends("stepAsync has the bits of step", async (backend) => {
  for (const foreach of [true, false]) {
    for (const options of [undefined, {}, { gradScale: 3, maxNorm: 1, maxValue: 0.01 }]) {
      const [a, b] = [
        make(backend, { foreach, size: 50_000 }),
        make(backend, { foreach, size: 50_000 }),
      ];
      for (let i = 0; i < 3; i++) {
        const report = await a.optimizer.stepAsync(options);
        b.optimizer.step(options);
        assertEquals(report, a.optimizer.lastStep);
        assertEquals(a.optimizer.lastStep, b.optimizer.lastStep);
      }
      assertEquals(shown(a.params), shown(b.params));
    }
  }
});

testOnBackends(
  "sparse and differentiable steps are taken asynchronously as well",
  async (backend) => {
    const run = async (step: (optimizer: SGD) => unknown) => {
      const grad = { indices: new Int32Array([1]), values: array(2, 3), shape: [2, 2] as const };
      const s: SparseParameter = { data: array(1, 2, 3, 4), grad };
      const w = { data: array(1), grad: array(2) };
      const groups = [{ params: [s] }, { params: [w], differentiable: true }];
      const optimizer = new SGD(groups, { lr: 0.5, momentum: 0.5, backend });
      await step(optimizer);
      await step(optimizer);
      return [s.data, w.data, optimizer.recordedSteps];
    };
    assertEquals(await run((o) => o.stepAsync()), await run((o) => o.step()));
  },
);

testOnBackends("what would meet a running step is refused, and goes after it", async (backend) => {
  const { params, optimizer } = make(backend);
  const dict = optimizer.stateDict();
  const scaler = new GradScaler();
  const calls: Record<string, () => unknown> = {
    "step": () => optimizer.step(),
    "step with options": () => optimizer.step({ maxNorm: 1 }),
    "stepAsync": () => optimizer.stepAsync(),
    "a scaler's step": () => scaler.step(optimizer),
    "zeroGrad": () => optimizer.zeroGrad(),
    "addParamGroup": () => optimizer.addParamGroup({ params: [{ data: array(1), grad: null }] }),
    "stateDict": () => optimizer.stateDict(),
    "loadStateDict": () => optimizer.loadStateDict(dict),
    "backward": () => optimizer.backward(new Map()),
    "saveState": () => saveState("no/such/folder", optimizer),
  };
  const expected = make(backend);
  expected.optimizer.step();
  const running = optimizer.stepAsync();
  const results = Object.values(calls).map((call) => Promise.try(call).catch((error) => error));
  for (const [i, name] of Object.keys(calls).entries()) {
    const error = await results[i] as Error;
    assertEquals(error?.constructor, Error, name);
    assert(/as a step is running: await the promise of stepAsync first$/.test(error.message), name);
  }
  await running;
  assertEquals(shown(params), shown(expected.params));
  optimizer.step();
  optimizer.zeroGrad();
});

testOnBackends("others refuse the arrays of a running step until it is done", async (backend) => {
  const { params, optimizer } = make(backend);
  const [{ data, grad }] = params;
  const other = { data: array(1), grad: data.subarray(4) };
  const apart = { data: data.subarray(0, 0), grad: data.subarray(0, 0) };
  const off = { momentum: 0, dampening: 0, weightDecay: 0, nesterov: false, maximize: false };
  const plain = { ...off, lr: 1, backend };
  const loaded = new SGD([{ data, grad: null }], { lr: 1, backend });
  const dict = loaded.stateDict({ parameters: true });
  const calls: [string, () => unknown][] = [
    ["grad of parameter 1", () => new SGD([apart, other], { lr: 1, backend }).step()],
    ["grad of parameter 0", () => new SGD([other], { lr: 1, backend }).zeroGrad()],
    ["gradient 0", () => clipGradNorm([grad!], 1, { backend })],
    ["data of parameter 0", () => sgd([data], [array(1, 2, 3, 4, 5)], [null], plain)],
    ["data of parameter 0", () => loaded.loadStateDict(dict, { parameters: true })],
    ["data of parameter 0", () => loaded.stateDict({ parameters: true })],
  ];
  const running = optimizer.stepAsync();
  for (const [name, call] of calls) {
    assertThrows(call, Error, `Cannot use ${name} as a step that is running uses its memory`);
  }
  await running;
  for (const [, call] of calls) call();
});

testOnBackends("a step goes by the hyperparameters that it began with", async (backend) => {
  for (const before of [0, 0.9]) {
    const [a, b] = [make(backend), make(backend)];
    for (const { optimizer } of [a, b]) optimizer.paramGroups[0].nesterov = false;
    for (const { optimizer } of [a, b]) optimizer.paramGroups[0].momentum = before;
    const running = a.optimizer.stepAsync({ maxNorm: 1e9 });
    Object.assign(a.optimizer.paramGroups[0], { lr: 0, momentum: 0.9 - before });
    await running;
    b.optimizer.step({ maxNorm: 1e9 });
    assertEquals(shown(a.params), shown(b.params));
    const buffers = [a, b].map(({ params, optimizer }) =>
      params.map((p) => optimizer.state.get(p)!.momentumBuffer)
    );
    assertEquals(buffers[0], buffers[1]);
  }
});

testOnBackends("a getter that throws ends the step and nothing else", async (backend) => {
  let reads = 0;
  const w: Parameter = {
    data: array(1),
    get grad() {
      if (++reads === 2) throw new Error("read twice");
      return array(1);
    },
    set grad(_) {
      throw new Error("nobody sets it here");
    },
  };
  const optimizer = new SGD([w], { lr: 1, backend });
  await assertRejects(() => optimizer.stepAsync(), Error, "read twice");
  optimizer.step();
  assertEquals(w.data, array(0));
});

testOnBackends("a getter that gives another array while a step begins ends it", async (backend) => {
  const [first, second] = [array(1), array(2)];
  let left = Infinity;
  const w: Parameter = {
    get data() {
      return left-- > 0 ? first : second;
    },
    set data(_) {
      throw new Error("nobody sets it here");
    },
    grad: array(1),
  };
  const optimizer = new SGD([w], { lr: 1, backend });
  left = 1;
  await assertRejects(() => optimizer.stepAsync(), Error, "data of parameter 0 was replaced");
  assertEquals([first, second], [array(1), array(2)]);
});

testOnBackends("a closure cannot start a second step under the first", async (backend) => {
  const { optimizer } = make(backend);
  let inner: Promise<unknown> | undefined;
  assertThrows(
    () => optimizer.step(() => void (inner = optimizer.stepAsync())),
    Error,
    "is running",
  );
  await inner;
});

const transfer = (array: FloatArray) =>
  structuredClone(array, { transfer: [array.buffer as ArrayBuffer] });

testOnBackends("an array that changes while a step runs rejects it, by name", async (backend) => {
  const changes: [string, (p: Parameter, optimizer: SGD<FloatArray>) => unknown][] = [
    ['data of parameter 1 ("p1") was replaced', (p) => p.data = p.data.slice()],
    ['grad of parameter 1 ("p1") was replaced', (p) => p.grad = p.grad!.slice()],
    ['grad of parameter 1 ("p1") was replaced', (p) => p.grad = null],
    ['data of parameter 1 ("p1") was detached or resized', (p) => transfer(p.data)],
    ['grad of parameter 1 ("p1") was detached or resized', (p) => transfer(p.grad!)],
    [ // momentum buffers share memory: all of them are detached, and the first is named
      'momentum buffer of parameter 0 ("p0") was detached or resized',
      (p, optimizer) => transfer(optimizer.state.get(p)!.momentumBuffer!),
    ],
  ];
  for (const [text, change] of changes) {
    const { params: [first, p], optimizer } = make(backend);
    optimizer.step();
    const before = first.data.slice();
    const running = optimizer.stepAsync();
    const kept = change(p, optimizer); // what was transferred stays alive
    await assertRejects(() => running, Error, text);
    assert(kept !== undefined);
    assert(first.data.some((x, i) => x !== before[i]), "the step has been taken");
    first.grad!.fill(0);
    if (p.data.length === 0 || p.grad?.length === 0 || /buffer/.test(text)) continue;
    optimizer.step(); // nothing is running any more, and the new arrays are stepped
  }
});

testOnBackends(
  "a step that has begun is taken whole, though a gradient is replaced",
  async (backend) => {
    const { params: [a, b], optimizer } = make(backend, { foreach: false });
    const expected = make(backend, { foreach: false });
    expected.optimizer.step();
    const running = optimizer.stepAsync();
    b.grad = b.grad!.slice();
    await assertRejects(() => running, Error, "replaced");
    assertEquals(shown([a, b]), shown(expected.params));
    assert(
      [a, b].every((p) => optimizer.state.get(p)!.momentumBuffer !== null),
      "first steps count",
    );
  },
);

testOnBackends("what a getter calls cannot step or add a group within a step", (backend) => {
  const calls: ((optimizer: SGD) => unknown)[] = [
    (optimizer) => optimizer.step(),
    (optimizer) => optimizer.addParamGroup({ params: make(backend).params }),
  ];
  for (const call of calls) {
    for (const options of [undefined, { maxNorm: 1 }]) {
      const param = make(backend).params[0];
      const { grad } = param;
      let meddle = (): unknown => null;
      const get = () => {
        meddle();
        return grad;
      };
      Object.defineProperty(param, "grad", { get });
      const optimizer: SGD = new SGD([param], { lr: 1, backend });
      meddle = () => call(optimizer);
      assertThrows(
        () => optimizer.step(options),
        Error,
        "as the optimizer is reading its parameters",
      );
      meddle = () => null;
      optimizer.step(options);
    }
  }
});

testOnBackends("an array that has changed is not stepped after the norm", async (backend) => {
  const { params: [first, second], optimizer } = make(backend);
  const before = first.data.slice();
  const running = optimizer.stepAsync({ maxNorm: 1 });
  const kept = transfer(second.data);
  await assertRejects(() => running, Error, "was detached or resized");
  assertEquals([first.data, kept.length], [before, 5]);
  assertEquals(optimizer.lastStep, null);
});

testOnBackends("a skipped asynchronous step changes nothing but gradients", async (backend) => {
  const { params, optimizer } = make(backend);
  const before = shown(params);
  params[1].grad![3] = NaN;
  const report = await optimizer.stepAsync({ gradScale: 2, zeroGrad: true });
  assertEquals([report.skipped, shown(params)], [true, before]);
  assertEquals(optimizer.state.get(params[0])!.momentumBuffer, null);
  assertEquals(params.map(({ grad }) => grad!.every((x) => x === 0)), [true, true]);
});

testOnBackends(
  "errors that step throws reject stepAsync, and nothing is running then",
  async (backend) => {
    const { params, optimizer } = make(backend);
    const { grad } = params[0];
    params[0].grad = array(1);
    await assertRejects(() => optimizer.stepAsync(), RangeError, "length must be 5");
    params[0].grad = grad;
    optimizer.step();
  },
);

testOnBackends("saving while a step begins is found out", async (backend) => {
  const { optimizer } = make(backend, { size: 3_000_000 });
  const folder = await Deno.makeTempDir();
  const saving = saveState(`${folder}/a`, optimizer, { parameters: true });
  const running = optimizer.stepAsync();
  await assertRejects(() => saving, Error, "has stepped meanwhile");
  await running;
  await Deno.remove(folder, { recursive: true });
});

Deno.test({
  name: "cpu: the event loop is free while a step runs" +
    (cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`),
  ignore: cpuMissing !== null,
  fn: async () => {
    const { optimizer } = make("cpu", { size: 12_000_000 });
    await optimizer.stepAsync();
    let turns = 0;
    let running = true;
    const step = optimizer.stepAsync().finally(() => running = false);
    while (running) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      turns++;
    }
    await step;
    // Going through 240 MB takes many turns; taken in one piece, the step would be over after one.
    assert(turns > 2, `${turns} turns`);
  },
});

Deno.test({
  name: "cpu: two optimizers step at the same time" +
    (cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`),
  ignore: cpuMissing !== null,
  fn: async () => {
    const size = 300_000;
    const [a, b, expected] = [0, 1, 2].map(() => make("cpu", { size }));
    expected.optimizer.step();
    const running = [a.optimizer.stepAsync(), b.optimizer.stepAsync()];
    const { params, optimizer } = make("cpu", { size });
    optimizer.step();
    await Promise.all(running);
    for (const each of [a.params, b.params, params]) {
      assertEquals(shown(each), shown(expected.params));
    }
  },
});

Deno.test({
  name: "cpu: memory is known by address, whatever buffer objects share it" +
    (cpuMissing === null ? "" : ` (skipped: ${cpuMissing})`),
  ignore: cpuMissing !== null,
  fn: async () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 4, shared: true });
    const plain = new WebAssembly.Memory({ initial: 1, maximum: 4 });
    const shared = new SharedArrayBuffer(64);
    const others: [buffer: ArrayBufferLike, again: () => ArrayBufferLike][] = [
      [shared, () => structuredClone(shared)],
      [memory.buffer, () => (memory.grow(1), memory.buffer)],
      [plain.buffer, () => (plain.grow(1), plain.buffer)],
    ];
    for (const [buffer, share] of others) {
      const grad = array(1, 1);
      const first = new SGD([{ data: new Float32Array(buffer, 8, 2), grad }], { lr: 1 });
      const running = first.stepAsync().catch(() => null); // a memory that grows detaches its buffer
      const again = share();
      const part = () => new Float32Array(again, 12, 1);
      const results: Promise<Error | undefined>[] = [];
      for (const backend of ["cpu", "js"] as const) {
        const second = new SGD([{ data: part(), grad: part().slice() }], { lr: 1, backend });
        const third = new SGD([{ data: array(1), grad: part() }], { lr: 1, backend });
        const calls: (() => unknown)[] = [
          () => second.stepAsync(),
          () => second.step(),
          () => second.stateDict({ parameters: true }),
          () => third.step(),
          () => third.zeroGrad(),
          () => clipGradNorm([part()], 1, { backend }),
        ];
        results.push(
          ...calls.map((call) => Promise.try(call).catch((error) => error) as Promise<Error>),
        );
      }
      const next = new Float32Array(again, 16, 1); // the neighbor is free
      new SGD([{ data: next, grad: array(1) }], { lr: 1 }).step();
      await running;
      for (const error of await Promise.all(results)) {
        assert(String(error).includes("as a step that is running uses its memory"), String(error));
      }
      assertEquals([...new Float32Array(again, 8, 3)], [-1, -1, -1]);
      new SGD([{ data: part(), grad: array(1) }], { lr: 1 }).step();
    }
  },
});

testOnBackends("stepAsync says what it takes and what it got", async (backend) => {
  const { params, optimizer } = make(backend);
  const before = shown(params);
  const wrong: [unknown, string][] = [
    [() => 1, "a function"],
    [async () => await 1, "a function"],
    [5, "5"],
    ["maxNorm", '"maxNorm"'],
    [null, "null"],
    [[], "of type Array"],
  ];
  for (const [value, text] of wrong) {
    const { message } = await assertRejects(() => optimizer.stepAsync(value as never), TypeError);
    assert(message.startsWith("Cannot step as stepAsync takes an object with options"), message);
    assert(message.endsWith(`: current value is ${text}`), message);
    assertEquals(message.includes("not a closure"), typeof value === "function");
  }
  assertEquals(shown(params), before);
});

testOnBackends("a rejected step of many tensors has its state remembered", async (backend) => {
  const many = 3000; // with momentum more buffers than one native call keeps alive
  const dense = Array.from(
    { length: many },
    () => ({ data: array(...ones), grad: array(...ones) }),
  );
  const grad = { indices: Int32Array.of(1), values: array(1, 1), shape: [2, 2] as const };
  const matrix: SparseParameter = { data: array(1, 1, 1, 1), grad, shape: [2, 2] };
  const params: (Parameter | SparseParameter)[] = [...dense, matrix];
  const optimizer = new SGD(params, { lr: 1, momentum: 0.5, foreach: false, backend });
  const running = optimizer.stepAsync();
  const { data } = dense[many - 1];
  dense[many - 1].data = array(...ones);
  await assertRejects(() => running, Error, `data of parameter ${many - 1} was replaced`);
  dense[many - 1].data = data;
  assertEquals([dense[0].data[0], data[0], [...matrix.data]], [0, 0, [1, 1, 0, 0]]);
  optimizer.step();
  assertEquals([dense[0].data[0], data[0]], [-1.5, -1.5]);
  assertEquals([...matrix.data], [1, 1, -1.5, -1.5]);
});

/** Large enough for a buffer of their own. */
const ones = new Array<number>(20).fill(1);
