/** Steps on a GPU that are skipped there, before the host knows: what is a first step afterwards. */

import { assertEquals } from "@std/assert";
import { loadState, saveState } from "@descent/sgd";
import type { Parameter, SGD, StepOptions, StepReport } from "@descent/sgd";
import type { GpuTensor } from "@descent/sgd/gpu";
import { gpuTest, values } from "./gpu.ts";
import { assertBits } from "./reference.ts";
import { DAMPED, spoiled, Twins } from "./twins.ts";

gpuTest(
  "skipped steps leave everything as it was, although the host does not know",
  async (gpu) => {
    // Which steps are skipped; the host asks in the end, or after a step.
    for (const skips of [[true], [true, false], [true, true, false, false], [false, true, false]]) {
      for (const asks of [-1, 0, 1]) {
        const twins = new Twins(gpu, [DAMPED]);
        skips.forEach((skipped, k) => {
          twins.setGrads((n, i) => skipped ? spoiled(n, i) : values(n, i + k));
          const options: StepOptions = { checkFinite: true, zeroGrad: true, gradScale: 2 };
          twins.optimizer.step(options);
          assertEquals(twins.optimizer.lastStep, null);
          const report = { skipped, gradNorm: null, groupNorms: null, clipCoefficients: null };
          twins.follow(options, report);
          if (asks === k) twins.assertSame(`${skips} asked after ${k}`);
        });
        if (asks < 0) twins.optimizer.step(); // without gradients that skip it: they are zeros
        if (asks < 0) twins.follow({}, { skipped: false, clipCoefficients: null } as StepReport);
        twins.assertSame(`${skips}`);
        const found = await twins.optimizer.stepAsync({ maxNorm: 1 });
        twins.follow({ maxNorm: 1 }, found);
        twins.assertSame(`${skips} and then a report`);
      }
    }
  },
);

gpuTest("a gradient that comes late and is skipped at first is first afterwards", async (gpu) => {
  const twins = new Twins(gpu, [DAMPED], [5, 6]);
  const options: StepOptions = { maxNorm: 1 };
  const [, late] = twins.params;
  const { grad } = late;
  (late as Parameter<GpuTensor>).grad = null;
  const [hostLate] = twins.host.splice(1);
  twins.follow(options, await twins.optimizer.stepAsync(options));
  twins.host.push(hostLate);
  late.grad = grad;
  twins.setGrads(spoiled);
  twins.optimizer.step(options);
  twins.setGrads(values);
  twins.follow(options, await twins.optimizer.stepAsync(options));
  twins.assertSame("late");
});

gpuTest("a state dict and a checkpoint know which first steps were skipped", async (gpu) => {
  const path = await Deno.makeTempFile();
  try {
    for (const skipped of [true, false]) {
      for (const how of ["stateDict", "saveState", "state"] as const) {
        const twins = new Twins(gpu, [DAMPED], [4, 9]);
        if (skipped) twins.setGrads(spoiled);
        twins.optimizer.step({ maxNorm: 1 });
        const { optimizer, params } = twins;
        const count = how === "state"
          ? params.filter((p) => optimizer.state.get(p)!.momentumBuffer !== null).length
          : Object.keys(
            (how === "stateDict" ? optimizer.stateDict() : await saved(path, optimizer)).state,
          ).length;
        assertEquals(count, skipped ? 0 : 2, how);
      }
    }
  } finally {
    await Deno.remove(path);
  }
});

async function saved(path: string, optimizer: SGD<GpuTensor>) {
  await saveState(path, optimizer);
  return await loadState(path);
}

gpuTest("there may be more unsure momentum buffers than there was room for", async (gpu) => {
  const make = () => Array.from({ length: 1500 }, () => 1);
  const [a, b] = [new Twins(gpu, [DAMPED], [3, 5]), new Twins(gpu, [DAMPED], make())];
  a.optimizer.step({ maxNorm: 1 });
  b.setGrads(spoiled);
  b.optimizer.step({ maxNorm: 1 }); // more words than the device had
  b.setGrads((n) => values(n, 7));
  for (const twins of [a, b]) twins.optimizer.step({ checkFinite: true });
  const first = new Twins(gpu, [DAMPED], [3, 5]);
  first.follow({ maxNorm: 1 }, await first.optimizer.stepAsync({ maxNorm: 1 }));
  first.follow({}, await first.optimizer.stepAsync({ checkFinite: true }));
  a.host.splice(0, 2, ...first.host);
  a.assertSame("the ones that were there");
  const taken = { skipped: false, clipCoefficients: null } as StepReport;
  b.follow({}, taken);
  b.assertSame("the many");
  for (const { data, grad } of b.params) for (const each of [data, grad]) each[Symbol.dispose]();
});

gpuTest("words of buffers that are gone are used again, and nothing is left in them", (gpu) => {
  for (let round = 0; round < 5; round++) {
    const twins = new Twins(gpu, [DAMPED], [7]);
    twins.optimizer.step({ maxNorm: 1e9 });
    const buffer = twins.optimizer.state.get(twins.params[0])!.momentumBuffer as GpuTensor;
    assertBits(
      buffer.readSync(),
      twins.host[0].grad.map((g, i) => g + 0.125 * twins.host[0].data[i]),
      "first",
    );
    for (const each of [buffer, twins.params[0].data, twins.params[0].grad]) each[Symbol.dispose]();
  }
});
