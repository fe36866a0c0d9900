/** What one rank does alone, what is refused, what takes another way, and a world of one rank. */

import { assertEquals } from "@std/assert";
import { clipGradNorm, GradScaler, SGD, WeightAverage } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import { ENGINES, runJob, testOn } from "./jobs.ts";

for (const engine of ENGINES) {
  testOn(engine, "stepAsync of more buffers than a call can keep alive", async () => {
    const ending = await runJob(
      engine,
      2,
      `using world = openWorld();
      const COUNT = 2100; // gradients and data have a buffer each on rank 0, and one on rank 1
      const make = () => {
        const all = new Float32Array(4 * COUNT);
        const at = (i) => world.rank === 0 ? new Float32Array(2) : all.subarray(2 * i, 2 * i + 2);
        return Array.from({ length: COUNT }, (_, i) => {
          const [data, grad] = [at(2 * i), at(2 * i + 1)];
          grad.set([i % 7 + world.rank, 1]);
          return { data, grad };
        });
      };
      const [now, later] = [make(), make()];
      const [a, b] = [now, later].map((params) => new SGD(params, { lr: 0.1, momentum: 0.9, world }));
      for (const step of [undefined, { maxNorm: 1, zeroGrad: true }]) {
        a.step(step);
        const report = await b.stepAsync(step);
        say(JSON.stringify(a.lastStep) === JSON.stringify(report));
        say(now.every(({ data, grad }, i) =>
          data.join() === later[i].data.join() && grad.join() === later[i].grad.join()));
      }
      world.verify(b);`,
    );
    const expected = "true\n".repeat(4).trim();
    assertEquals(ending.out, [expected, expected], ending.err);
  });

  testOn(engine, "what is local: clipGradNorm, and with gradients the state", async () => {
    const ending = await runJob(
      engine,
      2,
      `import { clipGradNorm, saveState } from "@descent/sgd";
      using world = openWorld();
      const w = { data: new Float32Array(2), grad: Float32Array.of(3, 4 * (1 + world.rank)) };
      const optimizer = new SGD([w], { lr: 1, momentum: 0.5, world });
      say(clipGradNorm([w], 5).toFixed(3));
      optimizer.step();
      if (world.rank === 0) {
        const file = await Deno.makeTempFile();
        await saveState(file, optimizer);
        await Deno.remove(file);
        say(optimizer.state.get(w).momentumBuffer.join() === optimizer.stateDict().state[0].momentum_buffer.join());
      }
      optimizer.step();
      say(w.data.every((x) => x < 0));
      const voter = new SGD([w], { lr: 1, momentum: 0.5, sign: true, world, exchange: "signs" });
      voter.step();
      if (world.rank === 0) say(voter.stateDict().state[0].momentum_buffer[0] === w.grad[0]);
      voter.step();`,
    );
    assertEquals(ending.out, ["5.000\ntrue\ntrue\ntrue", "8.544\ntrue"], ending.err);
  });

  testOn(engine, "an average of sharded masters outside of their step is refused", async () => {
    const ending = await runJob(
      engine,
      2,
      `import { BFloat16Array, WeightAverage } from "@descent/sgd";
      using world = openWorld();
      const make = (name) => ({ name, data: BFloat16Array.of(1, 2), grad: BFloat16Array.of(1, 1) });
      const [w, v] = [make("w"), make("v")];
      const [one, other] = [[w], [v]].map((params) =>
        new SGD(params, { lr: 0.5, masterWeights: true, world, exchange: "shards" }));
      const average = new WeightAverage([w, v], { decay: 0.5 });
      one.step();
      for (const update of [() => average.update(), () => other.step({ average })]) {
        try { update(); } catch (error) { say(error.name + ": " + error.message); }
      }
      say(average.count + " " + [...v.data].join());
      new WeightAverage([v], { decay: 0.5 }).update(); // it has none yet
      say("on");`,
    );
    const refused =
      'TypeError: Cannot average data of parameter 0 ("w") as with exchange "shards" ' +
      "each rank has a part of its master weights: use the option average of its optimizer's step";
    const expected = [refused, refused, "0 1,2", "on"].join("\n");
    assertEquals(ending.out, [expected, expected], ending.err);
  });

  testOn(engine, "a length that changes while ranks have parts of the state", async () => {
    const ending = await runJob(
      engine,
      2,
      `using world = openWorld();
      const make = (momentum) => ({ params: [{ data: new Float32Array(3), grad: new Float32Array(3).fill(1) }], momentum });
      const groups = [make(0), make(0.9)];
      const optimizer = new SGD(groups, { lr: 1, world, exchange: "shards" });
      optimizer.step();
      const [w] = groups[0].params;
      [w.data, w.grad] = [new Float32Array(5), new Float32Array(5)];
      try { optimizer.step(); } catch (error) { say(error.name + ": " + error.message); }
      optimizer.removeParamGroup(1);
      optimizer.step();
      say(w.data.join());`,
    );
    const expected = "RangeError: Cannot use data of parameter 0 as " +
      'with exchange "shards" its length must stay 3: current length is 5\n0,0,0,0,0';
    assertEquals(ending.out, [expected, expected], ending.err);
  });

  testOn(engine, "a length that changes once a save has given state back", async () => {
    const ending = await runJob(
      engine,
      2,
      `import { saveState } from "@descent/sgd";
      using world = openWorld();
      const make = (momentum) => ({ params: [{ data: new Float32Array(3), grad: new Float32Array(3).fill(1) }], momentum });
      const groups = [make(0), make(0.9)];
      const optimizer = new SGD(groups, { lr: 1, world, exchange: "shards" });
      optimizer.step();
      optimizer.loadStateDict(optimizer.stateDict());
      await saveState(new URL("state", import.meta.url), optimizer);
      const [w] = groups[0].params;
      [w.data, w.grad] = [new Float32Array(5), new Float32Array(5)];
      try { optimizer.step(); } catch (error) { say(error.name + ": " + error.message); }`,
    );
    const expected = "RangeError: Cannot use data of parameter 0 as " +
      'with exchange "shards" its length must stay 3: current length is 5';
    assertEquals(ending.out, [expected, expected], ending.err);
  });
}

Deno.test("a world of one rank adds gradients, clips and unscales as without one", () => {
  using world = openWorld();
  const train = (more: { world?: typeof world; exchange?: "shards" }) => {
    const w = { data: Float32Array.of(1, 2), grad: Float32Array.of(3, -4) };
    const optimizer = new SGD([w], { lr: 0.5, momentum: 0.5, ...more });
    const average = new WeightAverage([w], { decay: 0.5 });
    const addGradients = [[Float32Array.of(1, 1)]];
    optimizer.step({ maxNorm: 2, normType: 1, addGradients, average, zeroGrad: true });
    const reports = [optimizer.lastStep, clipGradNorm([w], 1)];
    const scaler = new GradScaler({ initScale: 4 });
    w.grad[1] = Infinity;
    scaler.unscale(optimizer);
    reports.push(scaler.step(optimizer));
    scaler.update();
    average.swap();
    return [w, addGradients, reports, scaler.getScale(), optimizer.stateDict()];
  };
  assertEquals(train({ world, exchange: "shards" }), train({}));
});
