/** Asynchronous steps of more buffers than one call can keep alive: they have the bits of `step`. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { SGD } from "@descent/sgd";
import type { Parameter, SparseParameter } from "@descent/sgd";
import { testOnBackends } from "../../support/backends.ts";
import { generate } from "../../support/golden.ts";
import { ATTEMPTS, run } from "./attempts.ts";

function createParameters(count: number): Parameter[] {
  return Array.from({ length: count }, (_, i) => {
    const data = generate("float32", "ordinary", [1, i, 0], 4);
    const dense = generate("float32", "ordinary", [1, i, 1], 4);
    const sparse = {
      indices: new Uint32Array([1]),
      values: dense.slice(2),
      shape: [2, 2] as const,
    };
    const parameter: Parameter | SparseParameter = { data, grad: i % 50 === 7 ? sparse : dense };
    return parameter as Parameter;
  });
}

testOnBackends("a step of any number of buffers has the bits of step", async (backend) => {
  for (const count of [1, 2, 3, 21, 22, 190, 600, 2100, 5000]) {
    for (const foreach of [true, false]) {
      if (!foreach && count > 600) continue;
      const [a, b] = [createParameters(count), createParameters(count)];
      const options = { lr: 0.1, momentum: 0.9, backend, foreach };
      const [first, second] = [new SGD(a, options), new SGD(b, options)];
      for (let i = 0; i < 2; i++) {
        await first.stepAsync();
        second.step();
      }
      assertEquals(a.map(({ data }) => data), b.map(({ data }) => data), `${count}`);
      const dense = a.map((p, i) => i % 50 === 7 ? { ...p, grad: null } : p);
      const others = dense.map(({ data, grad }) => ({ data: data.slice(), grad }));
      const [third, fourth] = [new SGD(dense, options), new SGD(others, options)];
      fourth.step({ maxNorm: 0.5 });
      assertEquals(await third.stepAsync({ maxNorm: 0.5 }), fourth.lastStep);
      assertEquals(dense.map(({ data }) => data), others.map(({ data }) => data), `${count}`);
    }
  }
});

testOnBackends("a step of several calls is taken whole or not at all", async (backend) => {
  for (const options of [{}, { maxNorm: 1 }]) {
    const params = createParameters(5000).filter((_, i) => i % 50 !== 7);
    const before = params.map(({ data }) => data.slice());
    const optimizer = new SGD(params, { lr: 0.1, backend });
    const running = optimizer.stepAsync(options);
    const { data } = params.at(-1)!;
    const { length } = params;
    (data.buffer as ArrayBuffer).transfer(8);
    await assertRejects(() => running, Error, `data of parameter ${length - 1} was detached`);
    const left = params.slice(0, -1);
    const changed = left.filter(({ data }, i) => data.some((x, j) => x !== before[i][j])).length;
    assert(changed === 0 || changed === left.length, `${changed} of ${left.length} have changed`);
  }
});

Deno.test("a permission may be revoked after the first step", async () => {
  for (let i = 0; i < ATTEMPTS; i++) {
    const { code, out, err } = await run("revoked.ts", [], 2);
    assertEquals([code, out], [0, "true\n"], err);
  }
});
