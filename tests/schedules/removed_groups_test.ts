/** Schedulers keep the schedule, the base and the floor of each group when others are removed. */

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { decodeStateDict, encodeStateDict, SGD } from "@descent/sgd";
import {
  cosineAnnealingWarmRestarts,
  exponentialLR,
  LRScheduler,
  oneCycleLR,
  ReduceLROnPlateau,
  stepLR,
} from "@descent/sgd/schedules";
import type { Schedule } from "@descent/sgd/schedules";
import { optimizerOf } from "./golden.ts";

const lrs = ({ paramGroups }: SGD) => paramGroups.map(({ lr }) => lr);
const ONE = () => ({ data: new Float32Array(1), grad: new Float32Array(1) });
const own: Schedule = (step, baseLr) => baseLr / (1 + step);

function step(optimizer: SGD, scheduler: LRScheduler, count: number): void {
  for (let i = 0; i < count; i++) {
    optimizer.step();
    scheduler.step();
  }
}

const SCHEDULES: Record<string, Schedule> = {
  "a multiplying schedule": exponentialLR({ gamma: 0.5 }),
  "an own function": own,
  "warm restarts": cosineAnnealingWarmRestarts({ t0: 3 }),
  "a cycle": oneCycleLR({ maxLr: 1, totalSteps: 20 }),
};

for (const [what, schedule] of Object.entries(SCHEDULES)) {
  Deno.test(`groups that stay are scheduled as before: ${what}`, () => {
    const { optimizer } = optimizerOf([0.1, 1, 3]);
    const twin = optimizerOf([0.1, 1, 3]).optimizer;
    const [scheduler, other] = [optimizer, twin].map((each) =>
      new LRScheduler(each, schedule, { warn: false })
    );
    step(optimizer, scheduler, 2);
    step(twin, other, 2);
    optimizer.removeParamGroup(1);
    assertEquals(scheduler.lastLr, [0, 2].map((i) => other.lastLr[i]));
    assertEquals(scheduler.baseLrs, [0, 2].map((i) => other.baseLrs[i]));
    step(optimizer, scheduler, 3);
    step(twin, other, 3);
    assertEquals(lrs(optimizer), [0, 2].map((i) => lrs(twin)[i]));
    assertEquals(scheduler.stateDict(), {
      last_epoch: 5,
      base_lrs: scheduler.baseLrs,
      _last_lr: scheduler.lastLr,
    });
    scheduler.stepTo(1);
    other.stepTo(1);
    assertEquals(lrs(optimizer), [0, 2].map((i) => lrs(twin)[i]));
  });
}

Deno.test("each group keeps its own schedule, and one that is added gets one", () => {
  const { optimizer } = optimizerOf([1, 1, 1]);
  const [halve, third, stay] = [0.5, 0.25, 1].map((gamma) => exponentialLR({ gamma }));
  const scheduler = new LRScheduler(optimizer, [halve, third, stay], { warn: false });
  step(optimizer, scheduler, 1);
  optimizer.removeParamGroup(0);
  step(optimizer, scheduler, 1);
  assertEquals(lrs(optimizer), [1 / 16, 1]);
  optimizer.addParamGroup({ params: [{ data: new Float32Array(1), grad: null }], lr: 8 });
  const message = "there are 3 groups and 2 schedules";
  assertThrows(() => scheduler.step(), RangeError, message);
  scheduler.addSchedule(halve);
  assertThrows(() => scheduler.addSchedule(halve), RangeError, "3 groups and 3 schedules");
  optimizer.removeParamGroup(0);
  scheduler.step();
  assertEquals([lrs(optimizer), scheduler.lastLr, scheduler.baseLrs], [[1, 4], [1, 4], [1, 8]]);
});

Deno.test("a plateau keeps the floor of each group", () => {
  const { optimizer } = optimizerOf([1, 1, 1]);
  const scheduler = new ReduceLROnPlateau(optimizer, {
    ...{ patience: 0, factor: 0.25, minLr: [0.1, 0.5, 0.75] },
  });
  assertEquals(scheduler.lastLr, [1, 1, 1]);
  optimizer.removeParamGroup(1);
  assertEquals(scheduler.lastLr, [1, 1]);
  assertStringIncludes(Deno.inspect(scheduler), "minLr: [ 0.1, 0.75 ]");
  scheduler.step(NaN);
  assertEquals([lrs(optimizer), scheduler.lastLr], [[0.25, 0.75], [0.25, 0.75]]);
  optimizer.addParamGroup({ params: [{ data: new Float32Array(1), grad: null }], lr: 1 });
  scheduler.addMinLr(0.5);
  assertStringIncludes(Deno.inspect(scheduler), "minLr: [ 0.1, 0.75, 0.5 ]");
  optimizer.removeParamGroup(0);
  scheduler.step(NaN);
  assertEquals(lrs(optimizer), [0.75, 0.5]);
});

for (const order of ["optimizer first", "scheduler first"]) {
  Deno.test(`a dict from before a removal is loaded by name: ${order}`, () => {
    const { optimizer } = optimizerOf([0.1, 1, 3]);
    const scheduler = new LRScheduler(optimizer, own, { warn: false });
    step(optimizer, scheduler, 2);
    const dict = { ...optimizer.stateDict(), lr_scheduler: scheduler.stateDict() };
    const expected = lrs(optimizer);
    step(optimizer, scheduler, 2);
    optimizer.removeParamGroup(1);
    const load = [
      () => void optimizer.loadStateDict(dict, { strict: false }),
      () => scheduler.loadStateDict(dict.lr_scheduler),
    ];
    for (const each of order === "optimizer first" ? load : load.toReversed()) each();
    assertEquals([lrs(optimizer), scheduler.baseLrs], [[expected[0], expected[2]], [0.1, 3]]);
  });
}

Deno.test("a group that is removed between the scheduler's state and the optimizer's is no obstacle", () => {
  const { optimizer } = optimizerOf([0.1, 1, 3]);
  const scheduler = new LRScheduler(optimizer, own, { warn: false });
  step(optimizer, scheduler, 1);
  const dict = { ...optimizer.stateDict(), lr_scheduler: scheduler.stateDict() };
  const expected = lrs(optimizer);
  step(optimizer, scheduler, 2);
  scheduler.loadStateDict(dict.lr_scheduler);
  optimizer.removeParamGroup(0);
  optimizer.loadStateDict(dict, { strict: false });
  assertEquals([lrs(optimizer), scheduler.baseLrs], [expected.slice(1), [1, 3]]);
});

Deno.test("what the optimizer does not match keeps its own when a group was removed meanwhile", () => {
  const source = new SGD([{ params: [{ ...ONE(), name: "w1" }] }], { lr: 8 });
  const saving = new LRScheduler(source, own);
  step(source, saving, 1);
  const dict = { ...source.stateDict(), lr_scheduler: saving.stateDict() };
  const { optimizer } = optimizerOf([0.1, 1, 3]);
  optimizer.paramGroups[1].params[0].data = new Float32Array(1);
  optimizer.paramGroups[1].params[0].grad = new Float32Array(1);
  const scheduler = new LRScheduler(optimizer, own);
  scheduler.loadStateDict(dict.lr_scheduler);
  assertEquals(lrs(optimizer), [4, 1, 3]);
  optimizer.removeParamGroup(0);
  optimizer.loadStateDict(dict, { strict: false });
  assertEquals([lrs(optimizer), scheduler.baseLrs], [[4, 3], [8, 3]]);
});

Deno.test("a group that parameters have left is saved and loaded with its learning rate", () => {
  const make = () => {
    const { optimizer, params } = optimizerOf([0.1, 1, 3]);
    optimizer.moveParameter(params[1], 0);
    return optimizer;
  };
  const optimizer = make();
  const scheduler = new LRScheduler(optimizer, stepLR({ stepSize: 1, gamma: 0.5 }), {
    warn: false,
  });
  step(optimizer, scheduler, 2);
  const dict = decodeStateDict(encodeStateDict(optimizer.stateDict()));
  assertEquals(dict.param_groups.map(({ params }) => params), [[0, 1], [], [2]]);
  const again = make();
  assertEquals(again.loadStateDict(dict), {
    ...{ missing: [], unexpected: [], mismatched: [], regrouped: [] },
  });
  assertEquals(lrs(again), lrs(optimizer));
  again.removeParamGroup(1);
  assertThrows(() => again.loadStateDict(dict), RangeError, "group 1 there has no parameters");
  const { unexpected } = again.loadStateDict(dict, { strict: false });
  assertEquals([unexpected, lrs(again)], [["group 1"], [0.025, 0.75]]);
  assertEquals(make().loadStateDict(again.stateDict(), { strict: false }).missing, ["group 1"]);
});
