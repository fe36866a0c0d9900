/** States of schedulers for groups that the optimizer has matched, or not, in the same dict. */

import { assertEquals } from "@std/assert";
import { SGD } from "@descent/sgd";
import { exponentialLR, LRScheduler, oneCycleLR, ReduceLROnPlateau } from "@descent/sgd/schedules";
import type { Parameter, StateDict } from "@descent/sgd";
import type { Schedule } from "@descent/sgd/schedules";

const halve = exponentialLR({ gamma: 0.5 });
const own: Schedule = (step, baseLr) => baseLr * 0.9 ** step;

type Scheduler = LRScheduler | ReduceLROnPlateau;
type Groups = [names: string, lr: number][];

/** An optimizer with a group per word, whose parameters are called by the letters. */
function optimizerOf(groups: Groups): SGD {
  const params = (names: string): Parameter[] =>
    [...names].map((name) => ({ data: new Float32Array(1), grad: null, name }));
  return new SGD(groups.map(([names, lr]) => ({ params: params(names), lr })), { lr: 1 });
}

const lrs = ({ paramGroups }: SGD) => paramGroups.map(({ lr }) => lr);
const initialLrs = ({ paramGroups }: SGD) => paramGroups.map(({ initialLr }) => initialLr);

const MAKERS: Record<string, (optimizer: SGD) => Scheduler> = {
  "a schedule": (optimizer) => new LRScheduler(optimizer, halve, { warn: false }),
  "a plateau": (optimizer) => new ReduceLROnPlateau(optimizer, { patience: 0, factor: 0.5 }),
};

/** A dict of groups after a step that has halved their learning rates. */
function saved(groups: Groups, make: (optimizer: SGD) => Scheduler): StateDict {
  const optimizer = optimizerOf(groups);
  const scheduler = make(optimizer);
  (scheduler as ReduceLROnPlateau).step(NaN);
  return { ...optimizer.stateDict(), lr_scheduler: scheduler.stateDict() };
}

/** Groups of the dict and of the optimizer, and the learning rates and bases of these then. */
const CASES: [string, Groups, Groups, number[], number[]][] = [
  ["no group is the same", [["ax", 1], ["by", 10]], [["b", 30], ["a", 40]], [30, 40], [30, 40]],
  ["groups were merged", [["a", 1], ["b", 10]], [["ba", 3]], [3], [3]],
  ["a group was split", [["ab", 8], ["c", 10]], [["a", 3], ["b", 4], ["c", 7]], [3, 4, 5], [
    3,
    4,
    10,
  ]],
  ["one of two is the same", [["ax", 1], ["b", 10]], [["b", 30], ["a", 40]], [5, 40], [10, 40]],
  ["all are the same, in another order", [["a", 1], ["b", 10]], [["b", 3], ["a", 4]], [5, 0.5], [
    10,
    1,
  ]],
];

for (const [what, there, here, expected, bases] of CASES) {
  for (const [kind, make] of Object.entries(MAKERS)) {
    for (const order of ["optimizer first", "scheduler first"]) {
      Deno.test(`groups that were not matched keep theirs: ${what}, ${kind}, ${order}`, () => {
        const dict = saved(there, make);
        const optimizer = optimizerOf(here);
        const scheduler = make(optimizer);
        const load = [
          () => optimizer.loadStateDict(dict, { strict: false }),
          () => scheduler.loadStateDict(dict.lr_scheduler!),
        ];
        for (const each of order === "optimizer first" ? load : load.toReversed()) each();
        assertEquals(lrs(optimizer), expected);
        assertEquals([scheduler.lastLr, scheduler.lastEpoch], [expected, 1]);
        if (scheduler instanceof ReduceLROnPlateau) return;
        assertEquals([scheduler.baseLrs, initialLrs(optimizer)], [bases, bases]);
        scheduler.stepTo(0);
        assertEquals(lrs(optimizer), bases);
      });
    }
  }
}

Deno.test("a state that several schedulers have loaded waits for the optimizer of each", () => {
  const dict = saved([["a", 1], ["b", 10]], MAKERS["a schedule"]);
  const optimizers = [1, 2].map(() => optimizerOf([["b", 3], ["a", 4]]));
  const schedulers = optimizers.map((optimizer) =>
    new LRScheduler(optimizer, halve, { warn: false })
  );
  for (const scheduler of schedulers) scheduler.loadStateDict(dict.lr_scheduler!);
  for (const optimizer of optimizers) optimizer.loadStateDict(dict);
  for (const scheduler of schedulers) {
    assertEquals([scheduler.lastLr, scheduler.baseLrs], [[5, 0.5], [10, 1]]);
  }
});

Deno.test("what was set after a scheduler's state was loaded stays when the optimizer loads its own", () => {
  const dict = saved([["ax", 8], ["by", 10]], MAKERS["a schedule"]);
  const optimizer = optimizerOf([["b", 30], ["a", 40]]);
  const scheduler = new LRScheduler(optimizer, halve, { warn: false });
  scheduler.loadStateDict(dict.lr_scheduler!);
  optimizer.paramGroups[0].lr = 7;
  optimizer.addParamGroup({ params: [{ data: new Float32Array(1), grad: null }], lr: 2 });
  optimizer.loadStateDict(dict, { strict: false });
  assertEquals([lrs(optimizer), scheduler.baseLrs], [[7, 40, 2], [30, 40, 2]]);
  scheduler.loadStateDict(structuredClone(dict.lr_scheduler!));
  scheduler.step();
  optimizer.loadStateDict(dict, { strict: false });
  assertEquals([lrs(optimizer), scheduler.baseLrs], [[2, 2.5, 1], [8, 10, 2]]);
});

Deno.test("a scheduler keeps its bases when another makes others, or only the optimizer loads", () => {
  const optimizer = optimizerOf([["a", 1]]);
  const first = new LRScheduler(optimizer, own, { warn: false });
  const cycle = new LRScheduler(
    optimizer,
    oneCycleLR({ maxLr: 0.5, totalSteps: 10, cycleMomentum: false }),
    { warn: false },
  );
  assertEquals([first.baseLrs, cycle.baseLrs, initialLrs(optimizer)], [[1], [0.02], [0.02]]);
  cycle.step();
  first.step();
  assertEquals(lrs(optimizer), [0.9]);
  const dict = optimizer.stateDict();
  Object.assign(dict.param_groups[0], { lr: 0.01, initial_lr: 0.1 });
  optimizer.loadStateDict(dict);
  assertEquals([first.baseLrs, initialLrs(optimizer), lrs(optimizer)], [[1], [0.1], [0.01]]);
  first.step();
  assertEquals(lrs(optimizer), [0.9 ** 2]);
  first.stepTo(1);
  assertEquals([lrs(optimizer), new LRScheduler(optimizer, own, { warn: false }).baseLrs], [[0.9], [
    0.1,
  ]]);
});

Deno.test("a group that was added starts from its lr for a later scheduler, as torch's does", () => {
  const optimizer = optimizerOf([["a", 1]]);
  const earlier = new LRScheduler(optimizer, halve, { warn: false });
  optimizer.addParamGroup({ params: [{ data: new Float32Array(1), grad: null }], lr: 8 });
  assertEquals(optimizer.stateDict().param_groups[1].initial_lr, undefined);
  earlier.step();
  const later = new LRScheduler(optimizer, own, { warn: false });
  assertEquals([earlier.baseLrs, later.baseLrs, initialLrs(optimizer)], [[1, 8], [1, 4], [1, 4]]);
  assertEquals(optimizer.stateDict().param_groups[1].initial_lr, 4);
});
