/**
 * A program that transfers the memory of one array to a buffer of another size while a step runs, which
 * frees it. Arguments: which array, elements.
 */

import { SGD } from "@descent/sgd";
import type { FloatArray, Parameter, SparseGrad, SparseParameter } from "@descent/sgd";

const COLUMNS = 1000;

const [which, count] = process.argv.slice(2);
const elements = Number(count);
const isSparse = which === "sparse values";
const isHalf = which === "master weight";

function createParameter(name: string): Parameter | SparseParameter {
  const rows = Math.ceil(elements / COLUMNS);
  const length = rows * COLUMNS;
  const indices = Uint32Array.from({ length: rows }, (_, i) => i);
  const shape = [rows, COLUMNS] as const;
  const make = () => isHalf ? new Float16Array(length) : new Float32Array(length);
  const data = make();
  const grad = isSparse ? { indices, values: make() as Float32Array, shape } : make();
  return { data, grad, name } as Parameter;
}

const params = [createParameter("a"), createParameter("b")];
const optimizer = new SGD(params as Parameter[], {
  ...{ lr: 0.1, momentum: 0.9, backend: "cpu", masterWeights: isHalf },
});
await optimizer.stepAsync();
const states = isSparse ? null : optimizer.state;
const arrays: Record<string, (p: Parameter) => FloatArray> = {
  "data": (p) => p.data,
  "grad": (p) => p.grad!,
  "momentum buffer": (p) => states!.get(p)!.momentumBuffer as FloatArray,
  "master weight": (p) => states!.get(p)!.masterWeight!,
  "sparse values": (p) => (p.grad as unknown as SparseGrad).values as FloatArray,
};

const running = optimizer.stepAsync(isSparse ? {} : { maxNorm: 1 });
const { buffer } = arrays[which](params[1] as Parameter);
if ("transfer" in buffer) buffer.transfer(8);
else structuredClone(null, { transfer: [buffer as unknown as ArrayBuffer] }); // Node.js 20 has no other way
for (let i = 0; i < 3; i++) new Float32Array(elements).fill(1); // what may come to lie there
console.log(await running.then(() => "taken", String));
