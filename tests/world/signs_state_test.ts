/** Options of steps of ranks that vote on signs, what they refuse, and their files. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import { openWorld } from "@descent/sgd/mpi";
import { ENGINES, runJob, testOn } from "./jobs.ts";

/** Trains with gradients of which all ranks have the same. */
const SAME = `
function trainSame(SGD, more) {
  const make = (length, i) => ({
    data: Float32Array.from({ length }, (_, k) => (k * (i + 3) % 11 - 5) / 7),
    grad: Float32Array.from({ length }, (_, k) => (k * (i + 5) % 13 - 6) / 3),
  });
  const params = [5000, 17].map(make);
  const groups = params.map((param, i) => ({ params: [param], lr: 0.1 + i / 10 }));
  const optimizer = new SGD(groups, { lr: 0.1, momentum: 0.9, sign: true, ...more });
  const reports = [];
  for (const step of [{ maxNorm: 1 }, { maxNorm: 0.5, maxNormPer: "group", gradScale: 4 },
    { checkFinite: true, maxValue: 0.1, zeroGrad: true }]) {
    optimizer.step(step);
    reports.push(optimizer.lastStep);
  }
  const state = params.map((param) => optimizer.state.get(param).momentumBuffer.slice(0, 5).join());
  let h = 0; // launchers tear long lines apart
  for (const { data, grad } of params) {
    for (const byte of [data, grad].flatMap(({ buffer }) => [...new Uint8Array(buffer)])) {
      h = Math.imul(h ^ byte, 16777619) >>> 0;
    }
  }
  return JSON.stringify([reports, state, h]);
}`;

const trainSame = new Function(`${SAME}; return trainSame;`)();

for (const engine of ENGINES) {
  for (const size of [1, 2, 4]) {
    testOn(engine, `${size} ranks with equal gradients step as one process with sign`, async () => {
      const ending = await runJob(
        engine,
        size,
        `${SAME}
        using world = openWorld();
        say(trainSame(SGD, { world, exchange: "signs" }));`,
      );
      const expected = trainSame(SGD, {});
      assertEquals(ending.out, Array(size).fill(expected), ending.err);
    });
  }

  testOn(engine, "norms of voters are the root of the mean of their squares", async () => {
    const ending = await runJob(
      engine,
      2,
      `using world = openWorld();
      const w = { data: new Float32Array(2), grad: Float32Array.of(3, world.rank === 0 ? 4 : 9) };
      const options = { lr: 0.1, momentum: 0.9, sign: true, world, exchange: "signs" };
      const optimizer = new SGD([w], options);
      optimizer.step({ maxNorm: 1 });
      const { gradNorm, clipCoefficients: [clip] } = optimizer.lastStep;
      say(gradNorm ** 2 + " " + Math.abs(clip - 1 / (gradNorm + 1e-6)));
      say(Math.abs(optimizer.state.get(w).momentumBuffer[0] - 3 * clip) < 1e-6);
      const before = w.data.join();
      if (world.rank === 1) w.grad[0] = NaN;
      optimizer.step({ checkFinite: true, zeroGrad: true });
      say(optimizer.lastStep.skipped + " " + (w.data.join() === before) + " " + w.grad.join());`,
    );
    for (const out of ending.out) {
      const [norms, isClipped, skipped] = out.split("\n");
      const [squares, difference] = norms.split(" ").map(Number);
      assert(Math.abs(squares - 57.5) < 1e-9 && difference < 1e-12, `${norms} ${ending.err}`);
      assertEquals([isClipped, skipped], ["true", "true true 0,0"]);
    }
  });

  testOn(engine, "what voters cannot do is refused in words, on all ranks", async () => {
    const ending = await runJob(
      engine,
      2,
      `using world = openWorld();
      const tell = (body) => { try { body(); } catch (error) { say(error.message); } };
      const make = (more) => new SGD([{ name: "w", data: new Float32Array(2), grad: new Float32Array(2) }],
        { lr: 0.1, sign: true, world, exchange: "signs", ...more });
      tell(() => make({ sign: false }));
      const optimizer = make();
      tell(() => optimizer.addParamGroup({ params: [{ data: new Float32Array(1), grad: null }], sign: false }));
      optimizer.paramGroups[0].sign = false;
      tell(() => optimizer.step());
      optimizer.paramGroups[0].sign = true;
      optimizer.step();
      tell(() => make({ exchange: world.rank === 0 ? "signs" : "gradients" }));
      tell(() => make({ exchange: "votes" }));`,
    );
    const reason = 'as exchange "signs" needs sign true in every group: one has sign false';
    const expected = [
      ...[`Cannot add parameters ${reason}`, `Cannot add parameters ${reason}`],
      `Cannot step ${reason}`,
      'Cannot add parameters as exchange is "signs" on rank 0 and "gradients" on rank 1',
    ].join("\n");
    for (const out of ending.out) {
      assertEquals(out.slice(0, expected.length), expected, ending.err);
      assertMatch(
        out.slice(expected.length),
        /^\nCannot set exchange as it must be .*"signs".*votes/,
      );
    }
  });

  testOn(engine, "each rank saves its momentum, and resumes with it bit for bit", async () => {
    const folder = await Deno.makeTempDir();
    const program = (setting: object, body: string) => `
      import { BFloat16Array, loadState, saveState } from "@descent/sgd";
      using world = openWorld();
      const { Type, length, ...options } = { ...${JSON.stringify(setting)} };
      const create = () => {
        const w = { name: "w", data: new Float32Array(5000).fill(1), grad: new Float32Array(5000) };
        const more = { lr: 0.125, momentum: 0.5, sign: true, world, exchange: "signs" };
        return { w, optimizer: new SGD([w], { ...more, ...options }) };
      };
      const step = ({ w, optimizer }, round) => {
        w.grad.forEach((_, i) => w.grad[i] = (i + round + 2 * world.rank) % 5 - 2);
        optimizer.step();
      };
      const path = "${folder}/state";
      const momentum = ({ w, optimizer }) => optimizer.state.get(w).readMomentum();
      const resume = async () => {
        const one = create();
        one.optimizer.loadStateDict(await loadState(path, { world }), { parameters: true });
        return one;
      };
      ${body}`;
    const save = `
      const one = create();
      step(one, 0); step(one, 1);
      await saveState(path, one.optimizer, { parameters: true, metadata: { epoch: "3" } });
      world.barrier();
      const other = await resume();
      say(momentum(other).join() === momentum(one).join());
      say(momentum(one).slice(0, 5).join());
      step(one, 2); step(other, 2);
      say(other.w.data.join() === one.w.data.join() && momentum(other).join() === momentum(one).join());
      const { metadata } = await loadState(path, { world });
      say(metadata.epoch + " " + metadata["signs.rank"].replace(/save .*/, ""));
      const wrong = create();
      const dict = await loadState(path);
      try { wrong.optimizer.loadStateDict(dict); } catch (error) { say(error.message); }`;
    const mean = `
      const one = await resume();
      say(momentum(one).slice(0, 5).join());
      say(JSON.stringify((await loadState(path, { world })).metadata));`;
    try {
      for (const options of [{}, { momentumBits: 8 }]) {
        const saved = await runJob(engine, 2, program(options, save));
        assertEquals(saved.code, 0, saved.err);
        const [first, second] = saved.out.map((out) => out.split("\n"));
        assertEquals([first[0], first[2], first[3]], ["true", "true", "3 0 of 2, "], saved.err);
        assertEquals([second[0], second[2], second[3]], ["true", "true", "3 1 of 2, "]);
        assertMatch(
          first[4],
          /Cannot load the state as rank 1 reports an error: .* must be that of rank 1 of 2: it is that of rank 0 of 2/,
        );
        assertMatch(second[4], /momentum must be that of rank 1 of 2: it is that of rank 0 of 2/);
        const momenta = [first[1], second[1]].map((text) => text.split(",").map(Number));
        assert(momenta[0].some((value, i) => value !== momenta[1][i]));
        const expected = momenta[0].map((value, i) => (value + momenta[1][i]) / 2);
        for (const size of [1, 3]) {
          const { out, err } = await runJob(engine, size, program(options, mean));
          const found = out[0].split("\n")[0].split(",").map(Number);
          found.forEach((value, i) => assert(Math.abs(value - expected[i]) < 0.02, err));
          assertEquals(out, Array(size).fill(out[0]));
          assertEquals(out[0].split("\n")[1], '{"epoch":"3"}');
        }
      }
      await Deno.rename(`${folder}/state.rank-1`, `${folder}/hidden`);
      const load = "try { await resume(); } catch (error) { say(error.name + error.message); }";
      const missing = await runJob(engine, 1, program({}, load));
      assertMatch(missing.out[0], /CheckpointError.*the file of rank 1 of 2, .*rank-1, is missing/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("a world of one rank refuses votes without sign as well", () => {
  using world = openWorld();
  const params = [{ data: new Float32Array(1), grad: null }];
  const make = () => new SGD(params, { lr: 1, world, exchange: "signs" });
  assertThrows(make, TypeError, 'exchange "signs" needs sign true in every group');
});
