/** Options of steps of ranks that vote: norms, gradients that are added, averages and schedules. */

import { assertEquals } from "@std/assert";
import { BFloat16Array, SGD, WeightAverage } from "@descent/sgd";
import { LRScheduler, stepLR } from "@descent/sgd/schedules";
import { ENGINES, runJob, testOn } from "./jobs.ts";

for (const engine of ENGINES) {
  testOn(engine, "norms of voters are means over the ranks, or the largest of all", async () => {
    const ending = await runJob(
      engine,
      2,
      `using world = openWorld();
      const w = { data: new Float32Array(2), grad: Float32Array.of(3, world.rank === 0 ? -4 : 9) };
      const options = { lr: 0.5, momentum: 0.5, sign: true, world, exchange: "signs" };
      const optimizer = new SGD([w], options);
      const found = [];
      for (const normType of [1, Infinity]) {
        optimizer.step({ maxNorm: 4.5, normType });
        const { gradNorm, clipCoefficients: [clip] } = optimizer.lastStep;
        found.push(gradNorm, clip.toFixed(4));
      }
      say(found.join(" "));
      if (world.rank === 1) w.grad[0] = NaN;
      optimizer.step({ maxNorm: 1, normType: Infinity });
      say(optimizer.lastStep.skipped);`,
    );
    // Magnitudes are 3 + 4 and 3 + 9.
    const expected = "9.5 0.4737 9 0.5000\ntrue";
    assertEquals(ending.out, [expected, expected], ending.err);
  });

  testOn(engine, "voters add gradients to their own before they vote", async () => {
    const ending = await runJob(
      engine,
      3,
      `import { BFloat16Array } from "@descent/sgd";
      using world = openWorld();
      const LENGTH = 9001;
      const numbers = (seed) => Float32Array.from({ length: LENGTH }, (_, k) =>
        (Math.imul(k + 1, 2654435761 + 40503 * seed) >>> 16) / 65536 - 0.5);
      for (const Type of [Float32Array, BFloat16Array]) {
        const arrays = [1, 2, 3].map((list) => Type.from(numbers(10 * world.rank + list)));
        const [g, a, b] = arrays;
        const wide = arrays.map((array) => Float32Array.from(array));
        const sum = wide[0].map((x, k) => Math.fround(x + wide[1][k]) + wide[2][k]);
        const options = { lr: 0.5, momentum: 0.5, sign: true, world, exchange: "signs" };
        const make = (grad) => ({ data: new Type(LENGTH), grad });
        const [w, v] = [make(g), make(sum)];
        const [one, other] = [w, v].map((p) => new SGD([p], options));
        for (const step of [{}, { maxNorm: 1 }]) {
          one.step({ ...step, addGradients: [[a], [b]] });
          other.step(step);
        }
        const same = (x, y) => x.every((value, k) => value === y[k]);
        const [momentum, expected] = [one, other].map((o) => [...o.state.values()][0].momentumBuffer);
        say(same([...w.data], [...v.data]) && same(momentum, expected) && w.data.some((x) => x !== 0));
        say(one.lastStep.gradNorm === other.lastStep.gradNorm);
      }`,
    );
    const expected = "true\n".repeat(4).trim();
    assertEquals(ending.out, new Array(3).fill(expected), ending.err);
  });

  testOn(engine, "voters with equal gradients average and decay as one process", async () => {
    const program = `
      for (const Type of [Float32Array, BFloat16Array]) {
        const w = { data: Type.from({ length: 5000 }, (_, k) => k % 7 - 3), grad: null };
        const options = { lr: 0.125, momentum: 0.5, weightDecay: 0.1, decoupledWeightDecay: true };
        const masters = { masterWeights: Type === BFloat16Array };
        const optimizer = new SGD([w], { ...options, ...masters, sign: true, ...more });
        const scheduler = new LRScheduler(optimizer, stepLR({ stepSize: 1, gamma: 0.5 }));
        const average = new WeightAverage([w], { decay: 0.5 });
        for (let round = 0; round < 3; round++) {
          w.grad = Type.from({ length: 5000 }, (_, k) => (k * (round + 3)) % 11 - 5);
          optimizer.step({ average, maxValue: 4 });
          scheduler.step();
        }
        const { momentum_buffer } = optimizer.stateDict().state[0];
        const { data } = average.stateDict().averages[0];
        say([[...w.data], [...momentum_buffer], [...data]].map((values) =>
          values.reduce((hash, x, k) => Math.imul(hash ^ x * 2 ** 20, 16777619) >>> 0, 0)).join());
      }`;
    const ending = await runJob(
      engine,
      2,
      `import { BFloat16Array, WeightAverage } from "@descent/sgd";
      import { LRScheduler, stepLR } from "@descent/sgd/schedules";
      using world = openWorld();
      const more = { world, exchange: "signs" };
      ${program}`,
    );
    const said: string[] = [];
    const names = ["SGD", "WeightAverage", "BFloat16Array", "LRScheduler", "stepLR", "more", "say"];
    const say = (text: string) => said.push(text);
    const values = [SGD, WeightAverage, BFloat16Array, LRScheduler, stepLR, {}, say];
    new Function(...names, program)(...values);
    assertEquals(ending.out, new Array(2).fill(said.join("\n")), ending.err);
  });
}
