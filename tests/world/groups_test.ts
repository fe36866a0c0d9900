/** Groups that come and go between steps of ranks, of which each may have a part of the state only. */

import { assertEquals } from "@std/assert";
import { BFloat16Array, SGD } from "@descent/sgd";
import { ENGINES, runJob, testOn } from "./jobs.ts";

const TRAINING = `
function trainGroups(SGD, settings, gradientOf, { step, ...more }) {
  const { isSixteenBit, ...options } = settings;
  const valuesOf = (length, next) => {
    const values = Float32Array.from({ length }, next);
    return isSixteenBit ? BFloat16Array.from(values) : values;
  };
  const make = (i, length) => ({ name: "p" + i, i, data: valuesOf(length, (_, k) => (k * (i + 3) % 11 - 5) / 8), grad: null });
  const params = [5000, 9001, 10, 4097, 20_000].map((length, i) => make(i, length));
  const groups = [params.slice(0, 2), params.slice(2)].map((params, i) => ({ params, lr: 0.1 + i / 10 }));
  const optimizer = new SGD(groups, { lr: 0.1, momentum: 0.9, ...options, ...more });
  const stepAll = () => {
    for (const { params } of optimizer.paramGroups) {
      for (const p of params) p.grad = valuesOf(p.data.length, (_, k) => gradientOf(p.i, k));
    }
    optimizer.step(step);
  };
  const loaded = () => { // of one parameter that stays
    const p = make(1, 9001);
    const one = new SGD([p], { lr: 0.1, momentum: 0.9, ...options });
    p.grad = valuesOf(9001, (_, k) => k % 5 / 4);
    one.step();
    return one.stateDict();
  };
  const changes = [
    () => {},
    () => optimizer.loadStateDict(loaded(), { strict: false }),
    () => optimizer.addParamGroup({ params: [make(5, 7000)], lr: 0.3 }),
    () => optimizer.moveParameter(params[0], 1),
    () => optimizer.removeParamGroup(0),
  ];
  for (const change of changes) {
    change();
    stepAll();
    stepAll();
  }
  const state = Object.values(optimizer.stateDict().state).flatMap((entry) =>
    Object.keys(entry).sort().map((key) => entry[key]?.data ?? entry[key]).filter(ArrayBuffer.isView)
  );
  const datas = optimizer.paramGroups.flatMap(({ params }) => params.map(({ data }) => data));
  return [datas, state].map((arrays) => {
    let h = 0;
    for (const { buffer, byteOffset, byteLength } of arrays) {
      for (const b of new Uint8Array(buffer, byteOffset, byteLength)) h = Math.imul(h ^ b, 16777619) >>> 0;
    }
    return h;
  }).join();
}`;

const SETTINGS = [
  {},
  { momentumBits: 8 },
  { isSixteenBit: true, masterWeights: true },
  { isSixteenBit: true, masterWeights: "split", momentumBits: 8 },
];

const trainGroups = new Function(
  "BFloat16Array",
  `${TRAINING}; return trainGroups;`,
)(BFloat16Array);

for (const engine of ENGINES) {
  for (const exchange of ["gradients", "shards"]) {
    const name = `groups come and go with the state of one process (${exchange})`;
    testOn(engine, name, async () => {
      const ending = await runJob(
        engine,
        2,
        `import { BFloat16Array } from "@descent/sgd";
        ${TRAINING}
        using world = openWorld();
        for (const settings of ${JSON.stringify(SETTINGS)}) {
          const gradientOf = (i, k) => (1 + 2 * world.rank) * (k * (i + 5) % 13 - 6) / 16;
          say(trainGroups(SGD, settings, gradientOf, { world, exchange: "${exchange}" }));
        }`,
      );
      assertEquals(ending.code, 0, ending.err);
      const gradientOf = (i: number, k: number) => 4 * (k * (i + 5) % 13 - 6) / 16; // 1 + 3
      const step = { gradScale: 2, checkFinite: false };
      const expected = SETTINGS
        .map((settings) => trainGroups(SGD, settings, gradientOf, { step })).join("\n");
      assertEquals(ending.out, [expected, expected], ending.err);
    });
  }
}
