/** Which rows are in use, and how a momentum buffer began, survive state dicts and files. */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CheckpointError, decodeStateDict, encodeStateDict, SGD } from "@descent/sgd";
import type { BackendName, FloatArray, SparseParameter, StateDict } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";

const SHAPE = [5, 2] as const;

function gradOf(...rows: number[]) {
  const values = Float32Array.from({ length: 2 * rows.length }, (_, i) => i + 1);
  return { indices: Int32Array.from(rows), values, shape: SHAPE };
}

const dense = () => new Float32Array(10).fill(1);

function make(backend: BackendName, options = {}, data: FloatArray = new Float32Array(10)) {
  const w: SparseParameter = { data, grad: null, shape: SHAPE };
  return { w, optimizer: new SGD([w], { lr: 1, momentum: 0.5, ...options, backend }) };
}

/** An optimizer whose momentum buffer has begun with this gradient. */
function begun(backend: BackendName, grad: SparseParameter["grad"], options = {}) {
  const made = make(backend, options);
  made.w.grad = grad;
  made.optimizer.step();
  return made;
}

/** The same run in another optimizer, by a dict or by a file. */
function resumed(backend: BackendName, run: ReturnType<typeof make>, way: "dict" | "file") {
  const made = make(backend, {}, run.w.data.slice());
  const dict = run.optimizer.stateDict();
  made.optimizer.loadStateDict(way === "dict" ? dict : decodeStateDict(encodeStateDict(dict)));
  return made;
}

const bufferOf = ({ w, optimizer }: ReturnType<typeof make>) =>
  optimizer.state.get(w)!.momentumBuffer as Float32Array;

for (const way of ["dict", "file"] as const) {
  testOnBackends(
    `a run that resumes from a ${way} steps the rows in use, and no others`,
    (backend) => {
      const whole = begun(backend, gradOf(3, 1));
      const rest = resumed(backend, whole, way);
      for (const run of [whole, rest]) {
        bufferOf(run).fill(NaN, 0, 2); // of row 0, which is not in use
        run.w.grad = gradOf(4, 3);
        run.optimizer.step();
        run.w.grad = gradOf();
        run.optimizer.step();
      }
      assertEquals(rest.w.data, whole.w.data);
      assertEquals([...rest.w.data.subarray(0, 2)], [0, 0]);
      assertEquals(bufferOf(rest), bufferOf(whole));
      assertEquals(rest.optimizer.stateDict(), whole.optimizer.stateDict());
    },
  );

  testOnBackends(
    `a run that resumes from a ${way} refuses what the whole run refuses`,
    (backend) => {
      const sparse = begun(backend, gradOf(2));
      for (const run of [sparse, resumed(backend, sparse, way)]) {
        run.w.grad = dense();
        assertThrows(() => run.optimizer.step(), TypeError, "it must be sparse");
      }
      const nesterov = begun(backend, dense(), { nesterov: true });
      for (const run of [nesterov, resumed(backend, nesterov, way)]) {
        run.w.grad = gradOf(2);
        assertThrows(() => run.optimizer.step(), TypeError, "must be an array with nesterov");
      }
    },
  );
}

testOnBackends("a dict has rows in use where a buffer began with a sparse gradient", (backend) => {
  const { w, optimizer } = begun(backend, gradOf(3, 1));
  assertEquals(optimizer.stateDict().state[0].rows_in_use, Uint8Array.of(0, 1, 0, 1, 0));
  w.grad = gradOf(0);
  optimizer.step();
  assertEquals(optimizer.stateDict().state[0].rows_in_use, Uint8Array.of(1, 1, 0, 1, 0));
  const keys = Object.keys(begun(backend, dense()).optimizer.stateDict().state[0]);
  assertEquals(keys.sort(), ["momentum_buffer", "shape"]);
  const without = begun(backend, gradOf(1), { momentum: 0 });
  assertEquals(without.optimizer.stateDict().state, {});
});

testOnBackends("every row of a buffer without rows in use is stepped", (backend) => {
  const { optimizer } = begun(backend, gradOf(1));
  const dict = optimizer.stateDict();
  delete dict.state[0].rows_in_use;
  dict.state[0].momentum_buffer!.fill(4, 8);
  const { w, optimizer: other } = make(backend);
  other.loadStateDict(dict);
  w.grad = gradOf(0);
  other.step();
  assertEquals([...w.data], [-1, -2, -0.5, -1, 0, 0, 0, 0, -2, -2]);
  w.grad = dense(); // as in torch, where the buffer of such a dict is dense
  other.step();
});

testOnBackends("a row of a dict's buffer that is not zero is in use", (backend) => {
  const dict = begun(backend, gradOf(1)).optimizer.stateDict();
  dict.state[0].momentum_buffer!.set([0, 4], 6);
  const { w, optimizer } = make(backend);
  optimizer.loadStateDict(dict);
  assertEquals(optimizer.stateDict().state[0].rows_in_use, Uint8Array.of(0, 1, 0, 1, 0));
  w.grad = gradOf(0);
  optimizer.step();
  assertEquals([...w.data], [-1, -2, -0.5, -1, 0, 0, 0, -2, 0, 0]);
});

testOnBackends("rows in use that torch has cast to the parameter's dtype are read", (backend) => {
  for (const kind of [Float32Array, Float64Array]) {
    const dict = begun(backend, gradOf(4, 2)).optimizer.stateDict();
    dict.state[0].rows_in_use = kind.from(dict.state[0].rows_in_use!);
    for (const from of [dict, decodeStateDict(encodeStateDict(dict))]) {
      const { optimizer } = make(backend);
      optimizer.loadStateDict(from);
      assertEquals(optimizer.stateDict().state[0].rows_in_use, Uint8Array.of(0, 0, 1, 0, 1));
    }
  }
});

testOnBackends("a matrix without elements keeps how its buffer began", (backend) => {
  for (const shape of [[0, 3], [3, 0]] as const) {
    const run = () => {
      const w: SparseParameter = { data: new Float32Array(0), grad: null, shape };
      return { w, optimizer: new SGD([w], { lr: 1, momentum: 0.5, backend }) };
    };
    const [whole, rest] = [run(), run()];
    whole.w.grad = { indices: new Int32Array(0), values: new Float32Array(0), shape };
    whole.optimizer.step();
    rest.optimizer.loadStateDict(
      decodeStateDict(encodeStateDict(whole.optimizer.stateDict())),
    );
    for (const { w, optimizer } of [whole, rest]) {
      w.grad = new Float32Array(0);
      assertThrows(() => optimizer.step(), TypeError, "it must be sparse");
    }
  }
});

type Spoil = (entry: StateDict["state"][string]) => void;

const hostile: [what: string, spoil: Spoil, kind: ErrorConstructor, text: string][] = [
  ["too few", (e) => e.rows_in_use = new Uint8Array(4), RangeError, "each row"],
  ["too many", (e) => e.rows_in_use = new Uint8Array(10), RangeError, "each row"],
  ["none", (e) => e.rows_in_use = new Uint8Array(0), RangeError, "length is 0"],
  ["a flag of 2", (e) => e.rows_in_use = Uint8Array.of(0, 1, 2, 0, 0), RangeError, "2 at 2"],
  ["NaN", (e) => e.rows_in_use = Float32Array.of(0, 1, 0, NaN, 0), RangeError, "NaN at 3"],
  ["-1", (e) => e.rows_in_use = Float32Array.of(-1, 1, 0, 0, 0), RangeError, "-1 at 0"],
  ["no buffer", (e) => delete e.momentum_buffer, TypeError, "as there is rows_in_use"],
  [
    "a buffer of 16 bits",
    (e) => e.momentum_buffer = new Uint16Array(10) as never,
    TypeError,
    "momentum_buffer",
  ],
];

testOnBackends("rows in use that do not fit are refused, and nothing changes", (backend) => {
  for (const [what, spoil, kind, text] of hostile) {
    const dict = begun(backend, gradOf(1)).optimizer.stateDict();
    spoil(dict.state[0]);
    const { w, optimizer } = begun(backend, gradOf(2));
    const before = optimizer.stateDict();
    assertStringIncludes(
      assertThrows(() => optimizer.loadStateDict(dict), kind).message,
      text,
      what,
    );
    assertThrows(() => encodeStateDict(dict), kind, text, what);
    assertEquals(optimizer.stateDict(), before, what);
    assertEquals([...w.data], [0, 0, 0, 0, -1, -2, 0, 0, 0, 0]);
  }
  const wrong = begun(backend, gradOf(1)).optimizer.stateDict();
  for (const rows of [[1, 0, 0, 0, 0], new Int32Array(5), new Uint16Array(5), "1"]) {
    Object.assign(wrong.state[0], { rows_in_use: rows });
    assertThrows(() => make(backend).optimizer.loadStateDict(wrong), TypeError, "rows_in_use");
  }
});

testOnBackends("rows in use of a matrix of another shape are a mismatch", (backend) => {
  const dict = begun(backend, gradOf(1)).optimizer.stateDict();
  delete (dict.state[0] as { shape?: unknown }).shape;
  for (const shape of [[2, 5], [10], [5, 2, 1]]) {
    const w = { data: new Float32Array(10), grad: null, shape };
    const optimizer = new SGD([w], { lr: 1, momentum: 0.5, backend });
    assertThrows(() => optimizer.loadStateDict(dict), RangeError, "rows in the dict: 5");
  }
});

/** The bytes of a file in which some text of the header is another one of the same length. */
function spoilHeader(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = new TextDecoder().decode(bytes.subarray(8, 8 + length));
  assertStringIncludes(header, from);
  assertEquals(to.length, from.length);
  const spoiled = bytes.slice();
  spoiled.set(new TextEncoder().encode(header.replace(from, to)), 8);
  return spoiled;
}

Deno.test("a hostile file's rows in use are refused", () => {
  const bytes = encodeStateDict(begun("js", gradOf(1)).optimizer.stateDict());
  const flags = bytes.slice();
  flags[flags.length - 1] = 7; // bytes come after floats
  const files: [Uint8Array, string][] = [
    [flags, "7 at 4"],
    [spoilHeader(bytes, '"U8","shape":[5]', '"I8","shape":[5]'), "rows_in_use"],
    [spoilHeader(bytes, "momentum_buffer", "momentum_buffet"), "belongs to no parameter"],
    [spoilHeader(bytes, "state.0.rows_in_use", "state.1.rows_in_use"), "belongs to no parameter"],
    [spoilHeader(bytes, '"shape":[5,2]', '"shape":[2,5]'), "each row"],
  ];
  for (const [file, text] of files) {
    assertThrows(() => decodeStateDict(file), CheckpointError, text);
  }
});

testOnBackends("an iterator that rows in use have of the user's own is not called", (backend) => {
  const dict = begun(backend, gradOf(3, 1)).optimizer.stateDict();
  const rows = dict.state[0].rows_in_use as Uint8Array;
  Object.defineProperty(rows, Symbol.iterator, { value: () => assert(false, "it was called") });
  const { optimizer } = make(backend);
  optimizer.loadStateDict(dict);
  assertEquals([...optimizer.stateDict().state[0].rows_in_use!], [0, 1, 0, 1, 0]);
});
