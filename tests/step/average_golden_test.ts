/** Averages have the bits of torch's, update by update. */

import { assertEquals } from "@std/assert";
import { SGD, WeightAverage } from "@descent/sgd";
import type { BackendName, FloatArray, Parameter } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { digest, generate, toHex } from "../support/golden.ts";
import type { DtypeName, Result } from "../support/golden.ts";

interface Case {
  readonly dtype: DtypeName;
  readonly values: "ordinary" | "wide" | "special";
  readonly decay: number | "mean";
  readonly seed: number;
  readonly size: number;
  readonly digests: readonly string[];
  readonly last: Result;
}

const [header, ...cases] = Deno
  .readTextFileSync(new URL("../golden/average.jsonl", import.meta.url))
  .trim().split("\n").map((line) => JSON.parse(line));

const golden = cases as Case[];

function valuesOf({ dtype, values, seed, size }: Case, step: number): FloatArray {
  return generate(dtype, values, [seed, 0, step], size);
}

/** The average after each update. */
function run(
  it: Case,
  backend: BackendName,
  update: (average: WeightAverage, w: { data: FloatArray; grad: FloatArray | null }) => void,
): FloatArray[] {
  const w = { data: valuesOf(it, 0), grad: null as FloatArray | null };
  const average = new WeightAverage([w], { decay: it.decay, backend });
  return Array.from({ length: header.updates }, (_, i) => {
    w.data.set(valuesOf(it, i + 1));
    update(average, w);
    return average.stateDict().averages[0].data as FloatArray;
  });
}

function check(it: Case, steps: readonly FloatArray[]): void {
  const name = `${it.dtype} ${it.values} decay ${it.decay} size ${it.size}`;
  if (typeof it.last === "string") assertEquals(toHex(steps.at(-1)!), it.last, name);
  assertEquals(steps.map((step) => digest([step])), it.digests, name);
}

/** `js` rounds the products of float64, which torch fuses; a mean has none. */
function isExact({ dtype, decay }: Case, backend: BackendName): boolean {
  return backend === "cpu" || dtype === "float32" || decay === "mean";
}

testOnBackends("an average has torch's bits after every update", (backend) => {
  for (const it of golden.filter((it) => isExact(it, backend))) {
    check(it, run(it, backend, (average) => average.update()));
  }
});

testOnBackends("an average that a step updates has torch's bits", (backend) => {
  for (const it of golden.filter((it) => isExact(it, backend) && it.values === "ordinary")) {
    const optimizers = new WeakMap<object, SGD>();
    check(
      it,
      run(it, backend, (average, w) => {
        w.grad ??= w.data.slice().fill(0);
        const optimizer = optimizers.get(w) ??
          new SGD<FloatArray>([w as Parameter], { lr: 0, backend });
        optimizers.set(w, optimizer);
        optimizer.step({ average });
      }),
    );
  }
});
