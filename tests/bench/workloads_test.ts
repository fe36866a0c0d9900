/** The benchmarks step what they say they step. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { BFloat16Array, SGD } from "@descent/sgd";
import type { HostArray, Parameter } from "@descent/sgd";
import { allRows, nameOf, optionsOf, quickRows, trafficOf } from "../../bench/rows.ts";
import { findWorkload, sizeOf, WORKLOADS } from "../../bench/workloads.ts";

for (
  const [name, tensors, elements] of [
    ["2 x 10", 2, 20],
    ["161 x 10", 161, 1610],
    ["MLP 784-256-128-10", 6, 235_146],
    ["ResNet-50", 161, 25_557_032],
    ["GPT-2 small", 148, 124_439_808],
  ] as const
) {
  Deno.test(`${name} has ${tensors} tensors with ${elements} elements`, () => {
    const workload = findWorkload(name);
    assertEquals(workload.shapes.length, tensors);
    assertEquals(workload.shapes.map(sizeOf).reduce((a, b) => a + b), elements);
    assertEquals(workload.elements, elements);
  });
}

Deno.test("an unknown workload is refused with the list of the known ones", () => {
  const names = WORKLOADS.map(({ name }) => name).join(", ");
  assertThrows(() => findWorkload("VGG"), RangeError, `"VGG": there are ${names}`);
});

Deno.test("every workload has a row per backend, and one per mode, dtype and foreach on cpu", () => {
  const rows = allRows();
  assertEquals(new Set(rows.map(nameOf)).size, rows.length);
  for (const workload of WORKLOADS) {
    const own = rows.filter((row) => row.workload === workload);
    assert(own.some(({ backend }) => backend === "js"), workload.name);
    const native = own.filter(({ backend }) => backend === "cpu");
    assertEquals(new Set(native.map(({ mode }) => mode)).size, 4);
    const dtypes = workload.name === "ResNet-50" ? 4 : 2;
    assertEquals(new Set(native.map(({ dtype }) => dtype)).size, dtypes);
    assertEquals(new Set(native.map(({ foreach }) => foreach)).size, 2);
  }
});

Deno.test("a quick run has some of the rows, of every workload", () => {
  const names = new Set(allRows().map(nameOf));
  assert(quickRows().every((row) => names.has(nameOf(row))));
  assertEquals(new Set(quickRows().map(({ workload }) => workload)).size, WORKLOADS.length);
  assert(quickRows().length < allRows().length / 3);
});

Deno.test("a step moves 20 bytes per element with momentum, 12 without, twice that in float64", () => {
  const traffic = allRows()
    .filter(({ workload, backend }) => workload.name === "2 x 10" && backend === "cpu")
    .map((row) => [row.mode, row.dtype, trafficOf(row) / 20]);
  assertEquals(traffic, [
    ["plain", "float32", 12],
    ["momentum", "float32", 20],
    ["nesterov + decay", "float32", 20],
    ["sign", "float32", 12],
    ["nesterov + decay", "float32", 20],
    ["nesterov + decay", "float64", 40],
  ]);
});

Deno.test("a step in a 16-bit type moves 14 bytes per element, 8 of them for its float32 buffer", () => {
  const traffic = allRows()
    .filter(({ dtype, format }) => dtype.endsWith("float16") && format === null)
    .map((row) => [row.dtype, trafficOf(row) / row.workload.elements]);
  assertEquals(traffic, [["float16", 14], ["bfloat16", 14]]);
});

Deno.test("formats of fewer bytes have rows, which move what they are for", () => {
  const traffic = allRows()
    .filter(({ format }) => format !== null)
    .map((row) => [nameOf(row), trafficOf(row) / row.workload.elements]);
  assertEquals(traffic, [
    ["ResNet-50: cpu, nesterov + decay, float32, foreach true, momentum8", 14.0625],
    ["ResNet-50: cpu, nesterov + decay, bfloat16, foreach true, split", 18],
    ["ResNet-50: cpu, nesterov + decay, bfloat16, foreach true, split24", 16],
  ]);
});

Deno.test("a step of such a row keeps its state in that format", () => {
  const states = allRows().filter(({ format }) => format !== null).map((row) => {
    const data = row.dtype === "float32" ? new Float32Array(4096) : new BFloat16Array(4096);
    const w: Parameter<HostArray> = { data, grad: data.slice() };
    const optimizer = new SGD<HostArray>([w], { ...optionsOf(row), backend: "js" });
    optimizer.step();
    const { momentum8, momentumBuffer, correction } = optimizer.state.get(w)!;
    const arrays = [momentum8?.values, momentumBuffer, correction];
    return arrays.map((array) => array?.BYTES_PER_ELEMENT);
  });
  assertEquals(states, [[1, undefined, undefined], [undefined, 4, 2], [undefined, 4, 1]]);
});
