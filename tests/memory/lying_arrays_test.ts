/** Arrays that lie about themselves, also only now and then: memory next to them stays as it is. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { clipGradNorm, GradScaler, SGD, sgd, sgdVjp } from "@descent/sgd";
import type { BackendName, FloatArray, Parameter, SparseGrad } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { array, detach } from "../support/faults.ts";
import { guarded } from "../support/guarded.ts";

const LENGTH = 5;
const options = {
  ...{ lr: 1, momentum: 0.5, dampening: 0, weightDecay: 0 },
  ...{ nesterov: false, maximize: false },
};

/** Lies that are told from the n-th time on that somebody asks; before it, the truth. */
const LIES: Record<string, (array: FloatArray) => unknown> = {
  length: ({ length }) => length + 7,
  byteLength: ({ byteLength }) => byteLength + 28,
  byteOffset: ({ byteOffset }) => byteOffset + 16,
  buffer: () => new ArrayBuffer(1024),
};

function lie(array: FloatArray, name: string, honestReads: number): FloatArray {
  const truth = array[name as "length"];
  const lie = LIES[name](array);
  let reads = 0;
  return Object.defineProperty(array, name, { get: () => reads++ < honestReads ? truth : lie });
}

const ones = () => new Float32Array(LENGTH).fill(1);
const indices = () => new Int32Array([0, 3]);

/** What takes an array from the user: the array lies, and may be used or refused, but as it is. */
const USES: Record<string, (array: FloatArray, backend: BackendName) => void> = {
  "data of a step": (data, backend) => {
    const optimizer = new SGD([{ data, grad: ones() }], { ...options, backend });
    for (let i = 0; i < 2; i++) optimizer.step();
  },
  "a gradient": (grad, backend) => {
    const optimizer = new SGD([{ data: ones(), grad }], { ...options, backend });
    for (let i = 0; i < 2; i++) optimizer.step({ maxNorm: 1, zeroGrad: true });
  },
  "a gradient that is zeroed": (grad, backend) => {
    new SGD([{ data: ones(), grad }], { ...options, backend }).zeroGrad();
  },
  "a gradient that is clipped": (grad, backend) => {
    clipGradNorm([grad, ones()], 0.5, { backend });
  },
  "data of sgd": (data, backend) => sgd([data], [ones()], [null], { ...options, backend }),
  "a momentum buffer of sgd": (buffer, backend) => {
    sgd([ones()], [ones()], [buffer], { ...options, backend });
  },
  "a momentum buffer that is assigned": (momentumBuffer, backend) => {
    const w = { data: ones(), grad: ones() };
    const optimizer = new SGD([w], { ...options, backend });
    Object.assign(optimizer.state.get(w)!, { momentumBuffer });
    optimizer.step();
  },
  "data of sgdVjp": (data, backend) => {
    sgdVjp([data], [ones()], [ones()], { params: [ones()] }, { ...options, backend });
  },
  "a cotangent of sgdVjp": (array, backend) => {
    sgdVjp([ones()], [ones()], [ones()], { params: [array] }, { ...options, backend });
  },
  "values of a sparse gradient": (values, backend) => {
    const shape = [LENGTH, 1] as const;
    const grad: SparseGrad = { indices: new Int32Array([0, 1, 2, 3, 4]), values, shape };
    new SGD([{ data: ones(), grad }], { ...options, backend }).step();
  },
  "data of a sparse gradient": (data, backend) => {
    const grad: SparseGrad = { indices: indices(), values: array(1, 1), shape: [LENGTH, 1] };
    new SGD([{ data, grad }], { ...options, backend }).step();
  },
  "values that are loaded": (data, backend) => {
    const optimizer = new SGD([{ data, grad: null }], { ...options, backend });
    optimizer.loadStateDict(optimizer.stateDict({ parameters: true }), { parameters: true });
  },
};

for (const [what, use] of Object.entries(USES)) {
  testOnBackends(`memory around ${what} that lies now and then stays as it is`, (backend) => {
    for (const name of Object.keys(LIES)) {
      for (let honest = 0; honest < 12; honest++) {
        const { array, intact } = guarded(ones(), 0);
        try {
          use(lie(array, name, honest), backend);
        } catch (error) {
          assert(error instanceof TypeError || error instanceof RangeError, String(error));
        }
        assert(intact(), `${name}, after ${honest} reads`);
      }
    }
  });
}

testOnBackends(
  "data and gradients that agree on a lie are stepped as they are, or refused",
  (backend) => {
    for (let honestData = 0; honestData < 8; honestData++) {
      for (let honestGrad = 0; honestGrad < 8; honestGrad++) {
        const [p, g] = [guarded(ones(), 0), guarded(ones(), 0)];
        const data = lie(p.array, "length", honestData);
        const grad = lie(g.array, "length", honestGrad);
        try {
          const optimizer = new SGD([{ data, grad }], { ...options, backend });
          for (let i = 0; i < 2; i++) optimizer.step({ zeroGrad: true });
        } catch (error) {
          assert(error instanceof TypeError || error instanceof RangeError, String(error));
        }
        assert(p.intact() && g.intact(), `after ${honestData} and ${honestGrad} reads`);
      }
    }
  },
);

testOnBackends("a buffer that hides that it can be resized is refused", (backend) => {
  const sizes = { maxByteLength: 64 };
  const hidden: [buffer: ArrayBufferLike, name: string][] = [
    [new ArrayBuffer(8, sizes), "resizable"],
    [new SharedArrayBuffer(8, sizes), "growable"],
  ];
  for (const [buffer, name] of hidden) {
    Object.defineProperty(buffer, name, { value: false });
    Object.defineProperty(buffer, "maxByteLength", { value: 8 });
    const data = new Float32Array(buffer, 0, 2);
    const make = () => new SGD([{ data, grad: array(1, 1) }], { lr: 1, backend });
    assertThrows(make, TypeError, "current buffer can be resized up to 64 bytes");
  }
  const gone = array(1, 2);
  const { buffer } = gone;
  detach(gone);
  Object.defineProperty(buffer, "detached", { value: false });
  const fake = Object.setPrototypeOf(new ArrayBuffer(8, sizes), SharedArrayBuffer.prototype);
  for (const data of [gone, new Float32Array(fake, 0, 2)]) {
    const make = () => new SGD([{ data, grad: null }], { lr: 1, backend });
    assertThrows(make, TypeError, "buffer");
  }
});

testOnBackends("lists of sgd are read once: getters on them move nothing", (backend) => {
  const params = [array(1)];
  const gradList: Float32Array[] = [];
  Object.defineProperty(gradList, 0, {
    get() {
      for (let i = 0; i < 1000; i++) params.push(array(1));
      params[0] = array(7);
      return array(1);
    },
  });
  for (const foreach of [true, false]) {
    const [own] = params.splice(0, params.length, array(1));
    sgd(params, gradList, [null], { ...options, foreach, backend });
    assertEquals([params.length, params[0], own.length], [1001, array(7), 1]);
  }
});

testOnBackends("prototypes that are changed later change nothing", (backend) => {
  const prototype = Object.getPrototypeOf(Float32Array.prototype);
  const lies = [[prototype, "length", 12], [prototype, "byteLength", 48]] as const;
  for (const [target, name, value] of lies) {
    const { array: data, intact } = guarded(ones(), 0);
    const w = { data, grad: ones() };
    const optimizer = new SGD([w], { ...options, backend });
    optimizer.step();
    const original = Object.getOwnPropertyDescriptor(target, name)!;
    Object.defineProperty(target, name, { configurable: true, get: () => value });
    let error: unknown = null;
    try {
      w.grad = new Float32Array(LENGTH);
      optimizer.step();
    } catch (caught) {
      error = caught;
    } finally {
      Object.defineProperty(target, name, original);
    }
    assert(error === null || error instanceof TypeError, String(error));
    assert(intact());
  }
});

testOnBackends("a dtype cannot be added to the prototype of all objects", (backend) => {
  const dtype = { code: 1, bytes: 8, name: "float64", zeros: (n: number) => new Float64Array(n) };
  Object.assign(Object.prototype, { Uint8Array: dtype });
  try {
    const data = new Uint8Array(8) as unknown as Float32Array;
    assertThrows(() => new SGD([{ data, grad: null }], { lr: 1, backend }), TypeError, "must be");
  } finally {
    delete (Object.prototype as Record<string, unknown>).Uint8Array;
  }
});

const METHODS = ["subarray", "slice", "set", "fill", "every", "constructor", Symbol.iterator];

/** An array whose methods throw. */
function stubborn(values: FloatArray): FloatArray {
  for (const name of METHODS) {
    Object.defineProperty(values, name, {
      get: () => {
        throw new Error(`nobody needs ${String(name)}`);
      },
    });
  }
  return values;
}

testOnBackends("methods that an array redefines are not called", (backend) => {
  for (const size of [3, 100, 20_000]) {
    for (const create of [Float32Array, Float64Array]) {
      const run = (make: (values: FloatArray) => FloatArray) => {
        const [data, grad, cotangent] = [1, 0.5, 2].map((x) => make(new create(size).fill(x)));
        const w: Parameter = { data, grad };
        const optimizer = new SGD([w], { ...options, differentiable: true, backend });
        optimizer.step();
        optimizer.backward(new Map([[w, cotangent]]));
        optimizer.paramGroups[0].differentiable = false;
        new GradScaler({ initScale: 2 }).step(optimizer, { maxNorm: 1, maxValue: 0.01 });
        optimizer.step({ zeroGrad: true });
        const dict = optimizer.stateDict({ parameters: true });
        optimizer.step();
        optimizer.loadStateDict(dict, { parameters: true });
        optimizer.zeroGrad();
        clipGradNorm([w], 1, { backend });
        return [data, grad].map((array) => new create(array.buffer as ArrayBuffer));
      };
      assertEquals(run(stubborn), run((values) => values));
    }
  }
});

testOnBackends("sparse gradients whose arrays redefine methods are stepped", (backend) => {
  const run = (make: (values: FloatArray) => FloatArray) => {
    const data = new Float32Array(6).fill(1);
    const values = make(array(1, 2, 3, 4, 5, 6));
    const grad: SparseGrad = { indices: new Int32Array([1, 0, 1]), values, shape: [3, 2] };
    const w = { data: make(data), grad };
    const optimizer = new SGD([w], { ...options, backend });
    for (let i = 0; i < 3; i++) optimizer.step();
    return new Float32Array(data.buffer);
  };
  assertEquals(run(stubborn), run((values) => values));
});
