/** Shaders of the user: what they see, and what is said of those that do not fit. */

import { assertEquals, assertThrows } from "@std/assert";
import { openGpu } from "@descent/sgd/gpu";
import { DOUBLE, gpuTest, values } from "./gpu.ts";

const main = { entryPoint: "main" };

/** Writes how many elements its binding has. */
const LENGTH = `
@group(0) @binding(0) var<storage, read_write> a: array<f32>;
@compute @workgroup_size(1) fn main() { a[0] = f32(arrayLength(&a)); }`;

gpuTest("a kernel sees exactly its tensors, wherever they lie", (gpu) => {
  const kernel = gpu.kernel({ code: LENGTH, ...main });
  for (const n of [1, 2, 63, 64, 65, 1000]) {
    const [before, tensor, after] = [n, n, n].map((length) => gpu.tensor(length));
    kernel.dispatch([tensor], [1]);
    assertEquals(tensor.readSync()[0], n);
    assertEquals([before, after].map((other) => other.readSync()[0]), [0, 0]);
  }
});

gpuTest("bindings that read and bindings that write may share a block", (gpu) => {
  const [a, b] = [gpu.tensor(values(70)), gpu.tensor(70)];
  gpu.kernel({ code: DOUBLE, ...main }).dispatch([a, b], [2]);
  assertEquals(b.readSync(), values(70).map((x) => 2 * x));
  assertEquals(a.readSync(), values(70));
});

gpuTest("kernels run in the order of their dispatches, in all dimensions of the grid", (gpu) => {
  const code = `
    @group(0) @binding(0) var<storage, read_write> a: array<f32>;
    @compute @workgroup_size(1) fn main(@builtin(workgroup_id) w: vec3<u32>) {
      let i = w.x + 2u * (w.y + 3u * w.z);
      a[i] = a[i] * 3.0 + f32(i);
    }`;
  const kernel = gpu.kernel({ code, ...main });
  const a = gpu.tensor(24);
  for (let k = 0; k < 3; k++) kernel.dispatch([a], [2, 3, 4]);
  assertEquals(a.readSync(), Float32Array.from({ length: 24 }, (_, i) => 13 * i));
});

gpuTest("a view is a range of a tensor", (gpu) => {
  const step = gpu.info.limits.offsetAlignment / 4;
  const a = gpu.tensor(values(4 * step));
  const b = gpu.tensor(4 * step);
  const kernel = gpu.kernel({ code: DOUBLE, ...main });
  kernel.dispatch([{ tensor: a, offset: step }, { tensor: b, offset: 2 * step, length: 3 }], [1]);
  const expected = new Float32Array(4 * step);
  expected.set(values(4 * step).subarray(step, step + 3).map((x) => 2 * x), 2 * step);
  assertEquals(b.readSync(), expected);
});

gpuTest("many different lists of tensors keep their meaning", (gpu) => {
  const kernel = gpu.kernel({ code: DOUBLE, ...main });
  const pairs = Array.from({ length: 200 }, (_, i) => [gpu.tensor(values(4, i)), gpu.tensor(4)]);
  for (const [a, b] of pairs) kernel.dispatch([a, b], [1]);
  pairs.forEach(([, b], i) => assertEquals(b.readSync(), values(4, i).map((x) => 2 * x)));
});

const BROKEN = [
  ["fn main() {\n  let x = ;\n}", "wgsl:2:11"],
  ["@compute @workgroup_size(1) fn main() { let x: f32 = 1u; }", "wgsl:1:45"],
  ["@compute @workgroup_size(1) fn other() {}", "main"],
  [
    "@group(0) @binding(0) var<uniform> a: f32;\n" +
    "@compute @workgroup_size(1) fn main() { let x = a; }",
    "must be var<storage>",
  ],
  [
    "@group(1) @binding(0) var<storage> a: array<f32>;\n" +
    "@compute @workgroup_size(1) fn main() { let x = a[0]; }",
    "@group(0)",
  ],
  [
    "@group(0) @binding(1) var<storage> a: array<f32>;\n" +
    "@compute @workgroup_size(1) fn main() { let x = a[0]; }",
    "0 is missing",
  ],
] as const;

gpuTest("a shader that does not compile is an error that says where", (gpu) => {
  for (const [code, where] of BROKEN) {
    assertThrows(() => gpu.kernel({ code, ...main }), Error, where);
  }
  const good = gpu.kernel({ code: LENGTH, ...main });
  const a = gpu.tensor(5);
  good.dispatch([a], [1]);
  assertEquals(a.readSync()[0], 5);
});

gpuTest("refuses dispatches that do not fit", (gpu) => {
  using other = openGpu();
  const kernel = gpu.kernel({ code: DOUBLE, ...main });
  const [a, b, foreign] = [gpu.tensor(400), gpu.tensor(400), other.tensor(400)];
  const most = gpu.info.limits.maxWorkgroups;
  const cases: [() => void, new () => Error, string][] = [
    [() => kernel.dispatch([a], [1]), Error, "has 2 bindings: 1 tensors were given"],
    [() => kernel.dispatch([a, b, b], [1]), Error, "3 tensors were given"],
    [() => kernel.dispatch([a, foreign], [1]), TypeError, "tensor 1 must be on the kernel's GPU"],
    [() => kernel.dispatch([a, {} as never], [1]), TypeError, "tensor 1 must be a GpuTensor"],
    [() => kernel.dispatch([a, values(3) as never], [1]), TypeError, "of type Float32Array"],
    [() => kernel.dispatch([a, { tensor: b, offset: 399, length: 2 }], [1]), RangeError, "399"],
    [() => kernel.dispatch([a, { tensor: b, length: 0 }], [1]), RangeError, "length 0"],
    [() => kernel.dispatch([a, { tensor: b, offset: 1 }], [1]), Error, "must be a multiple of"],
    [() => kernel.dispatch([a, gpu.tensor(0)], [1]), RangeError, "not empty"],
    [() => kernel.dispatch([a, b], [most + 1]), RangeError, `from 0 to ${most}`],
    [() => kernel.dispatch([a, b], [1, 1, -1]), RangeError, "current value is -1"],
    [() => kernel.dispatch([a, b], [1.5]), RangeError, "current value is 1.5"],
    [() => gpu.kernel({ code: 5 as never, ...main }), TypeError, "code as it must be a string"],
  ];
  for (const [run, kind, text] of cases) assertThrows(run, kind, text);
  kernel[Symbol.dispose]();
  kernel[Symbol.dispose]();
  assertThrows(() => kernel.dispatch([a, b], [1]), TypeError, "kernel as it has been disposed");
  assertEquals(b.readSync(), new Float32Array(400));
});

gpuTest("a tensor that is larger than a binding is seen in views", (gpu) => {
  const most = gpu.info.limits.maxBindingBytes / 4;
  const [a, b] = [gpu.tensor(values(200)), gpu.tensor(200)];
  const kernel = gpu.kernel({ code: DOUBLE, ...main });
  assertThrows(() => kernel.dispatch([a, b], [4]), Error, `at most ${most} elements`);
  for (let offset = 0; offset < 200; offset += most) {
    const length = Math.min(most, 200 - offset);
    kernel.dispatch([{ tensor: a, offset, length }, { tensor: b, offset, length }], [1]);
  }
  assertEquals(b.readSync(), values(200).map((x) => 2 * x));
}, { maxBlockBytes: 256 });
