/** Models that are saved while some of their layers are frozen, or have options of their own. */

import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { DescentOptimizer } from "@descent/sgd/tfjs";
import type { LayersModel } from "@tensorflow/tfjs";
import { testAll, testOn } from "./libraries.ts";
import type { Tf } from "./libraries.ts";
import { createData, createModel, FIT, save, weightsOf } from "./models.ts";

/** A model and its training: fits are of two epochs, with the optimizer that the model has. */
interface Run {
  readonly model: LayersModel;
  readonly optimizer: DescentOptimizer;
}

const RULE = { lr: 0.05, momentum: 0.9 };

function start(tf: Tf, memory: "copy" | "view"): Run {
  DescentOptimizer.register(tf);
  return { model: createModel(tf), optimizer: new DescentOptimizer(tf, { ...RULE, memory }) };
}

/** Loads what is saved of a run. */
async function resume(tf: Tf, { model }: Run): Promise<Run> {
  const again = await tf.loadLayersModel(await save(tf, model));
  return { model: again, optimizer: again.optimizer as unknown as DescentOptimizer };
}

/** Trains on, with the first layer frozen or not. */
async function fit(tf: Tf, { model, optimizer }: Run, isFrozen: boolean): Promise<unknown> {
  const { x, y } = createData(tf);
  model.layers[0].trainable = !isFrozen;
  model.compile({ optimizer: optimizer as never, loss: "categoricalCrossentropy" });
  const { history } = await model.fit(x, y, { ...FIT, epochs: 2 });
  return history.loss;
}

/** The phases before a model is saved, and after it: whether the first layer is frozen in each. */
const PHASES: readonly [before: readonly boolean[], after: readonly boolean[]][] = [
  [[true], [false]],
  [[true], [true, false]],
  [[false, true], [true, false]],
  [[false, true], [false]],
  [[true, false, true], [true, false, true]],
];

const describe = (phases: readonly boolean[]) =>
  phases.map((isFrozen) => isFrozen ? "frozen" : "all").join(", ");

for (const [before, after] of PHASES) {
  testAll(
    `a model that is saved after ${describe(before)} resumes with ${describe(after)}`,
    async (tf, memory) => {
      const run = start(tf, memory);
      for (const isFrozen of before) await fit(tf, run, isFrozen);
      // The second is saved again before the variables of its frozen layer have come.
      const again = await resume(tf, run);
      const runs = [run, again, await resume(tf, again)];
      for (const isFrozen of after) {
        const losses: unknown[] = [];
        for (const each of runs) losses.push(await fit(tf, each, isFrozen));
        assertEquals(losses, losses.map(() => losses[0]));
        runs.push(await resume(tf, runs[1]));
      }
      for (const { model } of runs) {
        assertEquals(await weightsOf(model), await weightsOf(run.model));
      }
    },
  );
}

testAll("groups keep options of their own, also those of frozen layers", async (tf, memory) => {
  const run = start(tf, memory);
  for (const isFrozen of [true, false]) await fit(tf, run, isFrozen);
  Object.assign(run.optimizer.sgd!.paramGroups[1], { lr: 0.001, momentum: 0.5, nesterov: true });
  await fit(tf, run, true);
  const again = await resume(tf, run);
  const others = await resume(tf, run);
  others.optimizer.setLearningRate(0.01);
  const runs = [run, again];
  for (const isFrozen of [true, false]) {
    const losses: unknown[] = [];
    for (const each of runs) losses.push(await fit(tf, each, isFrozen));
    assertEquals(losses[1], losses[0]);
  }
  const rulesOf = ({ optimizer }: Run) =>
    optimizer.sgd!.paramGroups.map(({ lr, momentum, nesterov, params }) =>
      [lr, momentum, nesterov, params.length].join()
    );
  assertEquals(rulesOf(again), rulesOf(run));
  assertEquals(rulesOf(run), ["0.05,0.9,false,3", "0.001,0.5,true,2"]);
  assertEquals(await weightsOf(again.model), await weightsOf(run.model));
  await fit(tf, others, true);
  await fit(tf, others, false);
  assertEquals(rulesOf(others), ["0.01,0.9,false,3", "0.01,0.5,true,2"]);
});

testAll("groups keep options of their own where that of the first comes last", async (
  tf,
  memory,
) => {
  const run = start(tf, memory);
  for (const isFrozen of [true, false]) await fit(tf, run, isFrozen);
  run.optimizer.sgd!.paramGroups[1].lr = 0.001;
  const runs = [run, await resume(tf, run)];
  for (const others of [false, true]) {
    for (const { model } of runs) {
      model.layers.slice(1).forEach((layer) => layer.trainable = others);
    }
    const losses = [];
    for (const each of runs) losses.push(await fit(tf, each, false));
    assertEquals(losses[1], losses[0]);
  }
  const rates = runs.map(({ optimizer }) => optimizer.sgd!.paramGroups.map(({ lr }) => lr));
  assertEquals(rates, [[0.05, 0.001], [0.001, 0.05]]);
  assertEquals(await weightsOf(runs[1].model), await weightsOf(run.model));
});

testOn("cpu", "state whose names overlap with those of other variables is refused", async (tf) => {
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) =>
    tf.variable(tf.tensor1d([1]), true, `overlap/${name}`)
  );
  const gradient = tf.tensor1d([1]);
  const rule = { lr: 1, momentum: 0.5 };
  const optimizer = new DescentOptimizer(tf, { ...rule, variables: [a, b] });
  for (const { name } of [a, a, b]) optimizer.applyGradients({ [name]: gradient });
  const weights = await optimizer.getWeights();
  const load = async (...variables: typeof a[]) => {
    const other = new DescentOptimizer(tf, { ...rule, variables });
    await other.setWeights(weights);
    return [...other.sgd!.state.values()].map(({ momentumBuffer }) => momentumBuffer?.[0]);
  };
  await assertRejects(() => load(b, c, d), RangeError, "it must be of 3 variables");
  assertEquals(await load(b, c), [1.5, 1]); // by order, as names do not match
  assertEquals(await load(b, a), [1, 1.5]);
  assertEquals(await load(c, b, a), [undefined, 1, 1.5]);
  assertEquals(await load(b), [1]);
});

testOn("cpu", "weights that are set replace state that still waits", async (tf) => {
  const [a, b] = ["a", "b"].map((name) => tf.variable(tf.tensor1d([1]), true, `replaced/${name}`));
  const gradient = tf.tensor1d([1]);
  const rule = { lr: 1, momentum: 0.5 };
  const both = new DescentOptimizer(tf, { ...rule, variables: [a, b] });
  for (const { name } of [a, b]) both.applyGradients({ [name]: gradient });
  const optimizer = new DescentOptimizer(tf, { ...rule, variables: [a] });
  await optimizer.setWeights(await both.getWeights());
  await optimizer.setWeights(await new DescentOptimizer(tf, rule).getWeights());
  optimizer.applyGradients({ [a.name]: gradient, [b.name]: gradient });
  const momentum = [...optimizer.sgd!.state.values()].map((state) => state.momentumBuffer![0]);
  assertEquals(momentum, [1, 1]);
  assert(optimizer.sgd!.paramGroups.length === 2);
  assertNotEquals(a.dataSync()[0], 1);
});

testAll("a loaded model resumes with an optimizer of its configuration and variables", async (
  tf,
  memory,
) => {
  const run = start(tf, memory);
  run.optimizer.stepOptions = { maxNorm: Infinity };
  await fit(tf, run, false);
  const { model, optimizer: loaded } = await resume(tf, run);
  const variables = model.trainableWeights.map((weight) => weight.read());
  const config = { ...loaded.getConfig(), variables };
  const optimizer = DescentOptimizer.fromConfig(tf, config);
  await optimizer.setWeights(await loaded.getWeights());
  assertEquals(optimizer.sgd!.paramGroups[0].params.length, variables.length);
  assertEquals(optimizer.stepOptions, { maxNorm: Infinity });
  assertEquals(await fit(tf, { model, optimizer }, false), await fit(tf, run, false));
});

testOn(
  "cpu",
  "names that tfjs has numbered are found, also where several are alike",
  async (tf) => {
    const gradient = tf.tensor1d([1]);
    const rule = { lr: 1, momentum: 0.5 };
    let count = 0;
    /** Saves variables whose momentum is 1, 1.5, 1.75 in their order, and loads it into others. */
    const load = async (names: string[], others: string[]) => {
      const folder = `numbered${count++}/`;
      const make = (name: string) => tf.variable(tf.tensor1d([1]), true, folder + name);
      const variables = names.map(make);
      const optimizer = new DescentOptimizer(tf, { ...rule, variables });
      variables.forEach((each, i) => {
        for (let step = 0; step <= i; step++) optimizer.applyGradients({ [each.name]: gradient });
      });
      const weights = await optimizer.getWeights();
      tf.dispose(variables);
      const other = new DescentOptimizer(tf, { ...rule, variables: others.map(make) });
      await other.setWeights(weights);
      return [...other.sgd!.state.values()].map(({ momentumBuffer }) => momentumBuffer?.[0]);
    };
    assertEquals(await load(["a", "b"], ["b_1", "a_1"]), [1.5, 1]);
    assertEquals(await load(["a_1", "b_1"], ["b", "a"]), [1.5, 1]);
    assertEquals(await load(["a_1", "b_1"], ["b_2", "a_2"]), [1.5, 1]);
    assertEquals(await load(["a_1", "a_2"], ["a_2", "a_1"]), [1.5, 1]);
    assertEquals(await load(["a_1", "a_2"], ["a_2_1", "a_1_1"]), [1.5, 1]);
    assertEquals(await load(["b", "a", "a_1"], ["a_2", "a_3", "b_1"]), [1.5, 1.75, 1]);
    assertEquals(await load(["b", "a", "c"], ["a_1", "d", "c_1", "b_1"]), [
      1.5,
      undefined,
      1.75,
      1,
    ]);
  },
);
