/** `stepAsync` in a world leaves the event loop free, has the bits of `step`, and fails in words. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { ENGINES, runJob, testOn } from "./jobs.ts";

const MAKE = `
  const { rank } = world;
  const make = (length = 300_001) => ({
    data: Float32Array.from({ length }, (_, i) => i % 13),
    grad: Float32Array.from({ length }, (_, i) => (i % 11) / (rank + 3)),
  });
  const hash = (array) => {
    let h = 0;
    for (const bits of new Uint32Array(array.buffer)) h = Math.imul(h ^ bits, 16777619) >>> 0;
    return h;
  };
`;

/** What happens on the others while a rank's `stepAsync` is exchanging, and that rank throws. */
const FAILURES: Readonly<Record<string, { open: string; fail: string; text: RegExp }>> = {
  "throws with using": {
    ...{ open: "using world = openWorld();", fail: 'throw new Error("no data");' },
    text: /Cannot (step|complete the step) as rank 1 has ended (at step 1|before its first step)/,
  },
  "throws without using": {
    ...{ open: "const world = openWorld();", fail: 'throw new Error("no data");' },
    text:
      /Cannot (step|complete the step) as rank 1 has failed (at step 1|before its first step): Error: no data/,
  },
  "throws in a timer": {
    open: "const world = openWorld();",
    fail: 'setTimeout(() => { throw new Error("no data"); }); await pause(10_000);',
    text: /as rank 1 has failed (at step \d|before its first step): Error: no data/,
  },
  "calls Deno.exit": {
    ...{ open: "const world = openWorld();", fail: "Deno.exit(0);" },
    text: /as rank 1 has ended (at step 1|before its first step)/,
  },
};

/** What `stepAsync` does on the calling thread, and what comes with it on another one. */
const KINDS: Readonly<Record<string, { array: string; options: string; isAveraged?: boolean }>> = {
  "votes": { array: "new Float32Array(length)", options: '{ sign: true, exchange: "signs" }' },
  "shared arrays": {
    array: 'world.zeros(length, "float32")',
    options: '{ momentum: 0.9, exchange: "shards" }',
  },
  "averages": {
    ...{ array: "new Float32Array(length)", options: "{ momentum: 0.9 }", isAveraged: true },
  },
};

for (const engine of ENGINES) {
  testOn(engine, "a rank that leaves while its stepAsync differs from another's", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      const world = openWorld();
      ${MAKE}
      const w = make(9);
      const optimizer = new SGD([w], { lr: 1, world });
      optimizer.paramGroups[0].lr = rank + 1;
      const promise = optimizer.stepAsync({ zeroGrad: true });
      if (rank === 0) world[Symbol.dispose]();
      try { await promise; say("stepped"); } catch (error) { say(error.message); }
      say([w.data[8], w.grad[8] !== 0].join(" "));
      if (rank === 1) world[Symbol.dispose]();
      `,
    );
    const [left, stays] = ending.out;
    assertMatch(left, /^Cannot step as this rank has ended\n8 true$/, ending.err);
    assertMatch(stays, /^Cannot step as rank 0 has ended .*\n8 true$/, ending.err);
  });

  for (const [kind, { array, options, isAveraged = false }] of Object.entries(KINDS)) {
    testOn(engine, `stepAsync of ranks with ${kind} has the bits of step`, async () => {
      const ending = await runJob(
        engine,
        2,
        `
        import { WeightAverage } from "@descent/sgd";
        using world = openWorld();
        ${MAKE}
        const filled = () => {
          const { data, grad } = make();
          const { length } = data;
          const w = { data: ${array}, grad: ${array} };
          w.data.set(data);
          w.grad.set(grad);
          return w;
        };
        const [now, later] = [filled(), filled()];
        const [a, b] = [now, later].map((w) => new SGD([w], { lr: 0.1, world, ...${options} }));
        const averages = [now, later].map((w) => new WeightAverage([w], { decay: 0.5 }));
        // One rank may average alone.
        const isAveraged = ${isAveraged} && rank === 0;
        for (const step of [{}, { maxNorm: 1 }, { checkFinite: true, gradScale: 2 }]) {
          const [first, second] = averages.map((average) => isAveraged ? { ...step, average } : step);
          a.step(first);
          const report = await b.stepAsync(second);
          say(JSON.stringify(a.lastStep) === JSON.stringify(report));
          say(hash(now.data.slice()) === hash(later.data.slice()));
        }
        world.verify(b);
        for (const average of averages) if (isAveraged) average.swap();
        say(hash(now.data.slice()) === hash(later.data.slice()));
        `,
      );
      assertEquals(ending.code, 0, ending.err);
      const expected = new Array(7).fill("true").join("\n");
      assertEquals(ending.out, [expected, expected], ending.err);
    });
  }

  testOn(engine, "stepAsync of ranks has the bits of step, and they go on together", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      using world = openWorld();
      ${MAKE}
      for (const exchange of ["gradients", "shards"]) {
        for (const options of [undefined, { maxNorm: 1, zeroGrad: true }, { checkFinite: true, gradScale: 2 }]) {
          const [now, later] = [make(), make()];
          const settings = { lr: 0.1, momentum: 0.9, world, exchange };
          const [a, b] = [now, later].map((w) => new SGD([w], settings));
          for (let i = 0; i < 3; i++) {
            a.step(options);
            const report = await b.stepAsync(options);
            say(JSON.stringify(a.lastStep) === JSON.stringify(report));
          }
          say(hash(now.data) === hash(later.data) && hash(now.grad) === hash(later.grad));
          later.grad[0] = rank === 1 ? NaN : 1;
          const before = hash(later.data);
          if (options) say((await b.stepAsync(options)).skipped && hash(later.data) === before);
        }
      }
      `,
    );
    assertEquals(ending.code, 0, ending.err);
    for (const out of ending.out) {
      const lines = out.split("\n");
      assertEquals(lines.length, 2 * (3 * 4 + 2));
      assert(lines.every((line) => line === "true"), out);
    }
  });

  testOn(engine, "the event loop runs on while stepAsync waits for other ranks", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      using world = openWorld();
      ${MAKE}
      const optimizer = new SGD([make()], { lr: 0.1, world });
      if (rank === 1) await pause(600);
      let ticks = 0;
      const timer = setInterval(() => ticks++, 10);
      const step = optimizer.stepAsync();
      try { world.barrier(); } catch (error) { say(error.message); }
      await step;
      clearInterval(timer);
      if (rank === 0) say(ticks > 5);
      `,
    );
    const refused = "Cannot wait at a barrier as ranks are exchanging: " +
      "await the promise of stepAsync first";
    assertEquals(ending.out, [`${refused}\ntrue`, refused], ending.err);
  });

  testOn(engine, "step on one rank and stepAsync on another are an error on both", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      using world = openWorld();
      ${MAKE}
      const w = make(3);
      const optimizer = new SGD([w], { lr: 0.1, world });
      try {
        if (rank === 0) optimizer.step(); else await optimizer.stepAsync();
      } catch (error) {
        say(error.name + ": " + error.message);
      }
      say(w.data.join());
      await optimizer.stepAsync();
      say("on");
      `,
    );
    const text = "WorldError: Cannot step as rank 0 calls step and rank 1 calls stepAsync" +
      "\n0,1,2\non";
    assertEquals(ending.out, [text, text], ending.err);
  });

  testOn(engine, "a rank whose stepAsync differs, and that throws before it knows", async () => {
    const ending = await runJob(
      engine,
      2,
      `
      const world = openWorld();
      ${MAKE}
      const optimizer = new SGD([make()], { lr: 0.1, world });
      const step = optimizer.stepAsync({ maxNorm: 1 + rank });
      if (rank === 1) {
        step.catch(() => {});
        throw new Error("no data");
      }
      await step.catch((error) => say(error.name + ": " + error.message));
      `,
    );
    // Where the exchange is faster than the error, rank 1 knows after all.
    const [text, none] = ending.out;
    assertMatch(
      text,
      /^WorldError: Cannot step as (rank 1 has failed before its first step: Error: no data|the options differ between the ranks: maxNorm is 1 on rank 0 and 2 on rank 1)$/,
      ending.err,
    );
    assertEquals(none, "");
    assert(ending.code !== 0);
  });

  for (const [name, { open, fail, text }] of Object.entries(FAILURES)) {
    for (const options of ["", "{ maxNorm: 1 }"]) {
      const how = options === "" ? "" : " that clips";
      testOn(engine, `a rank that ${name} while its stepAsync${how} is exchanging`, async () => {
        const ending = await runJob(
          engine,
          2,
          `
          ${open}
          ${MAKE}
          const optimizer = new SGD([make(3_000_000)], { lr: 0.1, momentum: 0.9, world });
          if (rank === 1) {
            optimizer.stepAsync(${options}).catch(() => {});
            ${fail}
          }
          try {
            for (let i = 0; i < 3; i++) await optimizer.stepAsync(${options});
          } catch (error) {
            say(error.name + ": " + error.message);
            throw error;
          }
          `,
        );
        assert(ending.code !== 0, "the job has exit code 0");
        assertMatch(ending.out[0], /^WorldError: /, ending.err);
        assertMatch(ending.out[0], text);
        assert(ending.milliseconds < 5000, `it took ${ending.milliseconds} ms`);
      });
    }
  }
}
