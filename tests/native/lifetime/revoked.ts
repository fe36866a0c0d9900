/** A program that gives up its permissions once it has an optimizer. */

import { SGD } from "@descent/sgd";

const params = Array.from({ length: 300 }, () => ({
  data: new Float32Array(10),
  grad: new Float32Array(10).fill(1),
}));
const optimizer = new SGD(params, { lr: 1, momentum: 0.9 });
Deno.permissions.revokeSync({ name: "ffi" });
await optimizer.stepAsync({ maxNorm: Infinity });
console.log(params.every(({ data }) => data.every((x) => x === -1)));
