/** What ranks do that differ: all of them throw the same error, and nothing is written. */

import { assertEquals } from "@std/assert";
import { ENGINES, runJob, testOn } from "./jobs.ts";

/** What ranks do that differ; `w` has master weights. */
const DIFFERENCES: Readonly<Record<string, { body: string; message: string }>> = {
  "norms of different types": {
    body: "optimizer.step({ maxNorm: 1, normType: 1 + rank });",
    message: "Cannot step as the options differ between the ranks: " +
      "normType is 1 on rank 0 and 2 on rank 1",
  },
  "a gradient that one rank has something added to": {
    body: "optimizer.step({ addGradients: [[rank === 0 ? w.grad.slice() : null, null]] });",
    message: "Cannot step as the gradients differ between the ranks: " +
      'what is added to grad of parameter 0 ("w") is an array on rank 0 and null on rank 1: ' +
      "use zeros where there is no gradient",
  },
  "an average of sharded masters that one rank has": {
    body: "optimizer.step(rank === 0 ? { average: new WeightAverage([w], { decay: 0.5 }) } : {});",
    message: "Cannot step as the options differ between the ranks: " +
      "average is given on rank 0 and not given on rank 1",
  },
  "scales that differ": {
    body: "new GradScaler({ initScale: 4 + 4 * rank }).unscale(optimizer);",
    message: "Cannot unscale the gradients as the scale is 4 on rank 0 and 8 on rank 1",
  },
  "unscale on one rank, and a step on the other": {
    body: "rank === 0 ? new GradScaler().unscale(optimizer) : optimizer.step();",
    message: "Cannot unscale the gradients as " +
      "rank 0 unscales the gradients while rank 1 steps",
  },
  "a group that one rank removes": {
    body: "rank === 0 ? optimizer.removeParamGroup(1) : optimizer.step();",
    message: "Cannot rearrange the parameters as " +
      "rank 0 rearranges the parameters while rank 1 steps",
  },
  "different groups that are removed": {
    body: "optimizer.removeParamGroup(rank);",
    message: "Cannot rearrange the parameters as " +
      "the new order of parameters is [1] on rank 0 and [0] on rank 1",
  },
};

for (const engine of ENGINES) {
  for (const [name, { body, message }] of Object.entries(DIFFERENCES)) {
    testOn(engine, `${name}: the same error on all ranks, and nothing is written`, async () => {
      const ending = await runJob(
        engine,
        2,
        `
        import { BFloat16Array, GradScaler, WeightAverage } from "@descent/sgd";
        using world = openWorld();
        const { rank } = world;
        const make = (name) => ({ name, data: new BFloat16Array(2), grad: BFloat16Array.of(1, 1) });
        const [w, v] = [make("w"), { ...make("v"), grad: null }];
        const options = { lr: 1, masterWeights: true, world, exchange: "shards" };
        const optimizer = new SGD([{ params: [w] }, { params: [v] }], options);
        try {
          ${body}
        } catch (error) {
          say(error.name + ": " + error.message);
        }
        say([w.data.join(), w.grad.join(), optimizer.paramGroups.length].join(" "));
        `,
      );
      const expected = `WorldError: ${message}\n0,0 1,1 2`;
      assertEquals(ending.out, [expected, expected], ending.err);
    });
  }
}
