/**
 * Clipping and unscaling apart from a step, and steps with sparse gradients that are clipped: torch's
 * numbers, from `golden/make_clipping.py`.
 *
 * Where a coefficient that clips a norm reaches a result, torch's bits cannot be expected, as its sums
 * are of the gradients' type and in an order of its own; `slack` is how far its norm is from that in
 * float64.
 */

import { assert, assertEquals } from "@std/assert";
import { clipGradNorm, clipGradValue, GradScaler, SGD } from "@descent/sgd";
import type {
  FloatArray,
  GradScalerOptions,
  GradScalerStateDict,
  GroupOptions,
  SparseGrad,
  SparseParameter,
  StepOptions,
} from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { digest, fromHex, generate, samples, toHex } from "../support/golden.ts";
import type { DtypeName, Result } from "../support/golden.ts";

type NormType = 1 | 2 | "Infinity";

interface Common {
  readonly dtype: DtypeName;
  readonly seed: number;
  readonly values?: "wide" | "special";
  readonly bad?: readonly {
    readonly step: number;
    readonly tensor: number;
    readonly index: number;
    readonly value: string;
  }[];
}

interface Clip extends Common {
  readonly kind: "clip";
  readonly sizes: readonly number[];
  readonly normType?: NormType;
  readonly maxNorm?: number;
  readonly maxValue?: number;
  readonly norm?: number | string;
  readonly slack?: number;
  readonly grads: readonly Result[];
}

interface Unscale extends Common {
  readonly kind: "unscale";
  readonly sizes: readonly number[];
  readonly steps: number;
  readonly options: GroupOptions & { lr: number };
  readonly scaler: GradScalerOptions;
  readonly maxValue: number;
  /** The steps that are not taken after their gradients have been unscaled. */
  readonly left: readonly number[];
  readonly told: readonly {
    readonly scale: number;
    readonly grads: string;
    readonly data: string;
  }[];
  readonly state: GradScalerStateDict;
}

interface Sparse extends Common {
  readonly kind: "sparse";
  readonly columns: number;
  readonly options: GroupOptions & { lr: number };
  readonly rows: readonly (readonly number[])[];
  readonly gradScale?: number;
  readonly maxNorm?: number;
  readonly normType?: NormType;
  readonly maxValue?: number;
  readonly told: readonly { readonly norm: number | null; readonly slack: number; data: Result }[];
}

const [{ rows: ROWS }, ...goldens] = Deno
  .readTextFileSync(new URL("../golden/clipping.jsonl", import.meta.url))
  .trim().split("\n").map((line) => JSON.parse(line)) as [
    { rows: number },
    ...(Clip | Unscale | Sparse)[],
  ];

const only = <K extends Clip | Unscale | Sparse>(kind: K["kind"]) =>
  goldens.filter((golden) => golden.kind === kind) as K[];

function tensorOf(golden: Common, tensor: number, step: number, size: number): FloatArray {
  const { dtype, values = "ordinary", seed, bad = [] } = golden;
  const array = generate(dtype, values, [seed, tensor, step], size);
  for (const at of bad) {
    if (at.step !== step || at.tensor !== tensor) continue;
    array[at.index] = Number(at.value.replace("inf", "Infinity"));
  }
  return array;
}

/** A number that JSON has as a word where it is not finite. */
const numberOf = (value: number | string) => Number(String(value).replace("inf", "Infinity"));

const orderOf = (normType: NormType | undefined) =>
  normType === undefined ? undefined : Number(normType);

function assertResult(
  actual: FloatArray,
  golden: Result,
  { dtype, tolerance }: { dtype: DtypeName; tolerance: number | null },
): void {
  const bits = typeof golden === "string" ? golden : golden.samples;
  const few = typeof golden === "string" ? actual : samples(actual);
  if (tolerance === null) {
    assertEquals(toHex(few), bits);
    if (typeof golden !== "string") assertEquals(digest([actual]), golden.digest);
    return;
  }
  fromHex(dtype, bits).forEach((x, i) => {
    const isClose = Object.is(x, few[i]) ||
      Math.abs(x - few[i]) <= tolerance * Math.max(1, Math.abs(x));
    assert(isClose, `element ${i} is ${few[i]}: torch's is ${x}`);
  });
}

const toleranceOf = (dtype: DtypeName, slack: number) =>
  slack + (dtype === "float32" ? 1e-6 : 1e-12);

function assertNear(actual: number, expected: number, what: string): void {
  const isNear = Object.is(actual, expected) || Math.abs(actual - expected) <= 1e-12 * expected;
  assert(isNear, `${what} is ${actual}: torch's is ${expected}`);
}

testOnBackends("clipGradNorm takes torch's norms of type 1, 2 and infinity", (backend) => {
  for (const golden of only<Clip>("clip").filter(({ maxNorm }) => maxNorm !== undefined)) {
    const { dtype, maxNorm, slack, sizes } = golden;
    const grads = sizes.map((size, i) => tensorOf(golden, i, 1, size));
    const normType = orderOf(golden.normType)!;
    const before = grads.map((grad) => grad.slice());
    const norm = clipGradNorm(grads, maxNorm!, { normType, backend });
    const expected = numberOf(golden.norm!);
    const what = `norm ${normType} of ${dtype}, at most ${maxNorm}`;
    if (normType === Infinity) assertEquals(norm, expected, what);
    else assertNear(norm, expected, what);
    const isLeft = norm <= maxNorm!;
    if (isLeft) assertEquals(grads, before, what);
    const tolerance = isLeft ? null : toleranceOf(dtype, slack!);
    grads.forEach((grad, i) => assertResult(grad, golden.grads[i], { dtype, tolerance }));
  }
});

testOnBackends("clipGradValue has torch's bits", (backend) => {
  for (const golden of only<Clip>("clip").filter(({ maxValue }) => maxValue !== undefined)) {
    const { dtype, maxValue, sizes } = golden;
    const params = sizes.map((size, i) => ({
      data: new Float32Array(1),
      grad: tensorOf(golden, i, 1, size),
    }));
    clipGradValue(params, maxValue!, { backend });
    params.forEach(({ grad }, i) =>
      assertResult(grad, golden.grads[i], { dtype, tolerance: null })
    );
  }
});

testOnBackends("unscale, clipping of one's own and step have torch's bits", async (backend) => {
  for (const golden of only<Unscale>("unscale")) {
    for (const isAsync of [false, true]) await assertUnscaled(golden, backend, isAsync);
  }
});

async function assertUnscaled(golden: Unscale, backend: "cpu" | "js", isAsync: boolean) {
  const { dtype, sizes, options, told, left, maxValue } = golden;
  const isExact = backend === "cpu" || dtype === "float32";
  const params = sizes.map((size, i) => ({
    data: tensorOf(golden, i, 0, size),
    grad: tensorOf(golden, i, 0, size),
  }));
  const optimizer = new SGD(params, { ...options, backend });
  const scaler = new GradScaler(golden.scaler);
  for (let n = 1; n <= golden.steps; n++) {
    params.forEach((w, i) => w.grad = tensorOf(golden, i, n, sizes[i]));
    const what = `${dtype}, step ${n}`;
    assertEquals(scaler.getScale(), told[n - 1].scale, what);
    scaler.unscale(optimizer);
    assertEquals(digest(params.map(({ grad }) => grad)), told[n - 1].grads, what);
    clipGradValue(params, maxValue, { backend });
    if (!left.includes(n)) {
      if (isAsync) await scaler.stepAsync(optimizer);
      else scaler.step(optimizer);
    }
    scaler.update();
    if (isExact) assertEquals(digest(params.map(({ data }) => data)), told[n - 1].data, what);
  }
  assertEquals(scaler.stateDict(), golden.state);
}

testOnBackends(
  "sparse gradients are summed in their order, then unscaled and clipped",
  async (backend) => {
    for (const golden of only<Sparse>("sparse")) {
      for (const isAsync of [false, true]) await assertSparse(golden, backend, isAsync);
    }
  },
);

function optionsOf({ gradScale, maxNorm, normType, maxValue }: Sparse): StepOptions | undefined {
  const options = { gradScale, maxNorm, normType: orderOf(normType), maxValue };
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

async function assertSparse(golden: Sparse, backend: "cpu" | "js", isAsync: boolean) {
  const { dtype, columns, rows, told } = golden;
  const w: SparseParameter = { data: tensorOf(golden, 0, 0, ROWS * columns), grad: null };
  const optimizer = new SGD([w], { ...golden.options, backend });
  const options = optionsOf(golden);
  let slack = 0;
  for (const [i, { norm, data, slack: own }] of told.entries()) {
    const values = tensorOf(golden, 1, i + 1, rows[i].length * columns);
    const grad: SparseGrad = { indices: Int32Array.from(rows[i]), values, shape: [ROWS, columns] };
    const before = values.slice();
    w.grad = grad;
    if (isAsync) await optimizer.stepAsync(options);
    else optimizer.step(options);
    assertEquals(values, before, "a step leaves the gradient as it is");
    if (norm !== null) assertNear(optimizer.lastStep!.gradNorm!, norm, "the norm of the sums");
    slack = Math.max(slack, own);
    const isExact = norm === null && (backend === "cpu" || dtype === "float32");
    const tolerance = isExact ? null : toleranceOf(dtype, slack);
    assertResult(w.data, data, { dtype, tolerance });
  }
}
