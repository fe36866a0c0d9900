/** What goes with a step of ranks: scalers, schedules, and the comparison of what they have. */

import { assertEquals, assertThrows } from "@std/assert";
import { openWorld } from "@descent/sgd/mpi";
import { ENGINES, runJob, testOn } from "./jobs.ts";

const IMPORTS = `
import { GradScaler } from "${new URL("../../mod.ts", import.meta.url)}";
import { LRScheduler, stepLR } from "${new URL("../../schedules.ts", import.meta.url)}";
`;

for (const engine of ENGINES) {
  for (const exchange of ["gradients", "shards"]) {
    const name = `an infinite gradient on one rank: all skip and halve the scale (${exchange})`;
    testOn(engine, name, async () => {
      const ending = await runJob(
        engine,
        2,
        `
        ${IMPORTS}
        using world = openWorld();
        const w = { data: Float32Array.of(1, 2), grad: new Float32Array(2) };
        const optimizer = new SGD([w], { lr: 1, momentum: 0.5, world, exchange: "${exchange}" });
        const scaler = new GradScaler({ initScale: 8, growthInterval: 2 });
        const wrong = { 1: NaN, 3: Infinity };
        for (let i = 0; i < 6; i++) {
          w.grad.fill(scaler.scale(world.rank + 1));
          if (world.rank === 1 && i in wrong) w.grad[1] = wrong[i];
          const step = i % 2 === 0
            ? scaler.step(optimizer, { zeroGrad: true })
            : await scaler.stepAsync(optimizer, { zeroGrad: true });
          scaler.update();
          say(step.skipped + " " + scaler.getScale() + " " + w.data.join() + " " + w.grad.join());
        }
        world.verify(optimizer);
        `,
      );
      assertEquals(ending.code, 0, ending.err);
      // The average gradient is 1.5: steps of 1.5, 2.25, 2.625 and 2.8125.
      const expected = [
        "false 8 -0.5,0.5 0,0",
        "true 4 -0.5,0.5 0,0",
        "false 4 -2.75,-1.75 0,0",
        "true 2 -2.75,-1.75 0,0",
        "false 2 -5.375,-4.375 0,0",
        "false 4 -8.1875,-7.1875 0,0",
      ].join("\n");
      assertEquals(ending.out, [expected, expected]);
    });
  }

  for (const exchange of ["gradients", "shards", "signs"]) {
    const name = `what unscale finds on one rank is found on all (${exchange})`;
    testOn(engine, name, async () => {
      const ending = await runJob(
        engine,
        2,
        `
        ${IMPORTS}
        using world = openWorld();
        const w = { data: Float32Array.of(1, 2), grad: new Float32Array(2) };
        const options = { lr: 1, sign: true, world, exchange: "${exchange}" };
        const optimizer = new SGD([w], options);
        const scaler = new GradScaler({ initScale: 8, growthInterval: 2 });
        const wrong = { 1: NaN, 2: Infinity };
        for (let i = 0; i < 5; i++) {
          w.grad.fill(scaler.scale(world.rank + 1));
          if (world.rank === 1 && i in wrong) w.grad[1] = wrong[i];
          scaler.unscale(optimizer);
          const unscaled = w.grad[0];
          const step = i % 2 === 0
            ? scaler.step(optimizer, { zeroGrad: true })
            : await scaler.stepAsync(optimizer, { zeroGrad: true });
          scaler.update();
          say([unscaled - world.rank, step.skipped, scaler.getScale(), w.data, w.grad].join(" "));
        }
        world.verify(optimizer);
        `,
      );
      assertEquals(ending.code, 0, ending.err);
      const expected = [
        "1 false 8 0,1 0,0",
        "1 true 4 0,1 0,0",
        "1 true 2 0,1 0,0",
        "1 false 2 -1,0 0,0",
        "1 false 4 -2,-1 0,0",
      ].join("\n");
      assertEquals(ending.out, [expected, expected]);
    });
  }

  testOn(engine, "sums that are not finite skip the step, although each gradient is", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      using world = openWorld();
      const w = { data: Float32Array.of(1, 2), grad: new Float32Array(2) };
      const optimizer = new SGD([w], { lr: 1, world });
      const largest = 3.4028234663852886e38;
      for (const grad of [[largest, largest], [Infinity, -Infinity], [1, 1]]) {
        w.grad.fill(grad[world.rank]);
        optimizer.step({ checkFinite: true });
        say(optimizer.lastStep.skipped + " " + w.data.join());
      }
      `,
    );
    const expected = "true 1,2\ntrue 1,2\nfalse 0,1";
    assertEquals(ending.out, [expected, expected], ending.err);
  });

  testOn(
    engine,
    "parts of other sizes, and micro-batches of a rank, make up the whole batch",
    async () => {
      const ending = await runJob(
        engine,
        3,
        `
      using world = openWorld();
      const { rank, size } = world;
      const train = (batch, micro) => {
        const w = { data: new Float32Array(1), grad: new Float32Array(1) };
        const optimizer = new SGD([w], { lr: 0.25, momentum: 0.5, world });
        for (let step = 0; step < 100; step++) {
          for (let part = 0; part < micro; part++) {
            for (let i = rank; i < batch.length; i += size) {
              w.grad[0] += (w.data[0] - batch[i]) * (size / batch.length);
            }
          }
          optimizer.step({ zeroGrad: true, gradScale: micro });
        }
        return w.data[0].toFixed(4);
      };
      say([train([3, 5, 4, 4], 1), train([1, 4], 1), train([3, 5, 4, 8], 4)].join(" "));
      `,
      );
      assertEquals(ending.out, Array(3).fill("4.0000 2.5000 5.0000"), ending.err);
    },
  );

  for (const exchange of ["gradients", "shards"]) {
    testOn(engine, `schedules run on all ranks, and groups come and go (${exchange})`, async () => {
      const ending = await runJob(
        engine,
        2,
        `
      ${IMPORTS}
      using world = openWorld();
      const make = (value) => ({ data: Float32Array.of(value), grad: Float32Array.of(world.rank + 1) });
      const [w, v] = [make(0), make(10)];
      const optimizer = new SGD([w], { lr: 1, world, exchange: "${exchange}" });
      const scheduler = new LRScheduler(optimizer, stepLR({ stepSize: 1, gamma: 0.5 }));
      optimizer.step();
      scheduler.step();
      optimizer.addParamGroup({ params: [v], lr: 4 });
      optimizer.step();
      say(w.data[0] + " " + v.data[0]);
      world.verify(optimizer);
      if (world.rank === 1) scheduler.step();
      try { optimizer.step(); } catch (error) { say(error.message); }
      `,
      );
      const expected = [
        "-2.25 4",
        "Cannot step as the hyperparameters differ between the ranks: " +
        "lr of group 0 is 0.5 on rank 0 and 0.25 on rank 1",
      ].join("\n");
      assertEquals(ending.out, [expected, expected], ending.err);
    });
  }

  testOn(engine, "verify finds the first array that differs, and names it", async () => {
    const ending = await runJob(
      engine,
      3,
      `
      using world = openWorld();
      const make = (name) => ({ name, data: new Float32Array(9), grad: new Float32Array(9).fill(1) });
      const params = [make("w"), make("v")];
      const optimizer = new SGD(params, { lr: 1, momentum: 0.5, world });
      const verify = () => {
        try { world.verify(optimizer); say("equal"); }
        catch (error) { say(error.name + ": " + error.message.replace(/hash \\w+|\\w{16}/g, "hash")); }
      };
      optimizer.step();
      verify();
      optimizer.state.get(params[0]).momentumBuffer[8] += world.rank === 2 ? 1 : 0;
      verify();
      params[1].data[3] = world.rank === 1 ? -0 : 0;
      verify();
      `,
    );
    const differ = "WorldError: Cannot verify as the values differ between the ranks: ";
    const expected = [
      "equal",
      `${differ}momentum_buffer of parameter 0 has the hash on rank 0 and hash on rank 2`,
      `${differ}data of parameter 1 ("v") has the hash on rank 0 and hash on rank 1`,
    ].join("\n");
    assertEquals(ending.out, [expected, expected, expected], ending.err);
  });
}

Deno.test("verify refuses what is not an optimizer", () => {
  using world = openWorld();
  const message = "Cannot verify as there must be an SGD: current value is an object";
  assertThrows(() => world.verify({}), TypeError, message);
});
