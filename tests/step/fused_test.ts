/**
 * Steps that unscale, check, clip and zero gradients: torch's numbers, on every backend, for every value of
 * foreach, in `step`, in `stepAsync`, and by `clipGradNorm` before a plain step.
 *
 * Where the coefficient that clips a norm reaches a result torch's bits cannot be expected: it
 * sums up squares in float32 (for float32) and in an order of its own. Those results, and all of
 * float64 on `js`, are held to torch's within `tolerance`.
 */

import { assert, assertEquals } from "@std/assert";
import { clipGradNorm, GradScaler, SGD } from "@descent/sgd";
import type { BackendName, FloatArray, Parameter, StepOptions, StepReport } from "@descent/sgd";
import { testOnBackends } from "../support/backends.ts";
import { fused, inputOf } from "../support/fused_golden.ts";
import type { Fused } from "../support/fused_golden.ts";
import { digest, fromHex, samples, toHex } from "../support/golden.ts";
import type { Result } from "../support/golden.ts";
import { guarded } from "../support/guarded.ts";

type Foreach = boolean | null;

/** Takes one step of a case, and returns what came of it. */
type Take = (
  optimizer: SGD,
  options: StepOptions,
  scaler: GradScaler | null,
) => Promise<StepReport>;

const TAKES: Record<string, Take> = {
  step: (optimizer, options, scaler) => {
    if (scaler !== null) return Promise.resolve(scaler.step(optimizer, options));
    optimizer.step(options);
    return Promise.resolve(optimizer.lastStep!);
  },
  stepAsync: (optimizer, options, scaler) =>
    scaler === null ? optimizer.stepAsync(options) : scaler.stepAsync(optimizer, options),
};

function optionsOf(f: Fused): StepOptions {
  const { maxNorm, maxNormPer, maxValue, unchecked } = f;
  return {
    ...(maxNorm === undefined ? {} : { maxNorm, maxNormPer }),
    ...(maxValue === undefined ? {} : { maxValue }),
    ...(unchecked ? { checkFinite: false } : {}),
    zeroGrad: true,
  };
}

function tolerance(f: Fused, size: number): number {
  const slack = Math.max(...f.told.map(({ slack }) => slack));
  return (slack + (f.dtype === "float32" ? 1e-6 : 1e-12)) * Math.max(1, size);
}

function assertResult(f: Fused, exact: boolean, actual: FloatArray | null, golden: Result | null) {
  if (golden === null || actual === null) return assertEquals(actual, golden);
  const bits = typeof golden === "string" ? golden : golden.samples;
  const few = typeof golden === "string" ? actual : samples(actual);
  if (exact) {
    assertEquals(toHex(few), bits);
    if (typeof golden !== "string") assertEquals(digest([actual]), golden.digest);
    return;
  }
  fromHex(f.dtype, bits).forEach((x, i) => {
    const close = Object.is(x, few[i]) || Math.abs(x - few[i]) <= tolerance(f, Math.abs(x));
    assert(close, `element ${i} is ${few[i]}: torch's is ${x}`);
  });
}

function assertTold(f: Fused, n: number, report: StepReport): void {
  const { norms, skipped } = f.told[n - 1];
  assertEquals(report.skipped, skipped, `skipped at step ${n}`);
  const own = f.maxNormPer === "group" ? report.groupNorms! : [report.gradNorm!];
  norms.forEach((norm, i) => {
    const close = norm === null
      ? !Number.isFinite(own[i])
      : Math.abs(norm - own[i]) <= 1e-12 * norm;
    assert(close, `norm ${i} at step ${n} is ${own[i]}: torch's is ${norm}`);
  });
}

async function assertCase(f: Fused, backend: BackendName, foreach: Foreach, take: Take) {
  const exact = f.exact && (f.dtype === "float32" || backend === "cpu");
  const data = f.tensors.map((_, i) => guarded(inputOf(f, i, 0)!, i % 5));
  const params = data.map(({ array }): Parameter => ({ data: array, grad: null }));
  const groups = f.groups.map(({ options, tensors }) => ({
    ...options,
    params: tensors.map((i) => params[i]),
  }));
  const optimizer = new SGD(groups, { lr: 1, foreach, backend });
  const scaler = f.scaler === undefined ? null : new GradScaler(f.scaler);
  const buffers = () => params.map((p) => optimizer.state.get(p)!.momentumBuffer);
  for (let n = 1; n <= f.steps; n++) {
    const grads = f.tensors.map((_, i) => {
      const values = inputOf(f, i, n);
      return values && guarded(values, (i + n) % 5);
    });
    params.forEach((p, i) => p.grad = grads[i]?.array ?? null);
    assertEquals(scaler?.getScale() ?? null, f.told[n - 1].scale, `the scale before step ${n}`);
    const report = await take(optimizer, optionsOf(f), scaler);
    scaler?.update();
    assertTold(f, n, report);
    for (const grad of grads) {
      assert(grad === null || grad.array.every((x) => Object.is(x, 0)), "a gradient is not zeros");
    }
    assert([...data, ...grads].every((each) => each?.intact() ?? true), "written past an end");
    if (!exact || f.digests === undefined) continue;
    const all = params.flatMap((p, i) => [p.data, buffers()[i]]).filter((a) => a !== null);
    assertEquals(digest(all), f.digests[n - 1], `bits after step ${n}`);
  }
  f.results.forEach(({ data, buffer }, i) => {
    assertResult(f, exact, params[i].data, data);
    assertResult(f, exact, buffers()[i], buffer);
  });
  if (f.state !== undefined) assertEquals<unknown>(scaler!.stateDict(), f.state);
}

for (const [name, take] of Object.entries(TAKES)) {
  testOnBackends(
    `torch's numbers of unscaling, clipping and zeroing in ${name}`,
    async (backend) => {
      for (const f of fused) {
        for (const foreach of [true, false, null]) {
          try {
            await assertCase(f, backend, foreach, take);
          } catch (error) {
            const how = `${f.case}, foreach ${foreach}`;
            throw new Error(`${how}: ${(error as Error).message}`, { cause: error });
          }
        }
      }
    },
  );
}

testOnBackends(
  "clipGradNorm and a plain step are a step that clips, to the bit",
  async (backend) => {
    for (const f of fused.filter(({ maxNorm, scaler }) => maxNorm !== undefined && !scaler)) {
      await assertCase(f, backend, null, (optimizer, { maxNorm }) => {
        const sets = f.maxNormPer === "group"
          ? optimizer.paramGroups.map(({ params }) => params)
          : [optimizer.paramGroups.flatMap(({ params }) => params)];
        const norms = sets.map((params) => clipGradNorm(params, maxNorm!, { backend }));
        optimizer.step();
        optimizer.zeroGrad();
        const report = { skipped: false, gradNorm: norms[0], groupNorms: norms };
        return Promise.resolve({ ...report, clipCoefficients: null });
      });
    }
  },
);
