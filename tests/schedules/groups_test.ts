/** What schedulers make of groups: their base, groups that are added, and states of other groups. */

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  decodeStateDict,
  encodeStateDict,
  loadState,
  saveState,
  SGD,
  type StateDict,
} from "@descent/sgd";
import {
  cosineAnnealingLR,
  cosineAnnealingWarmRestarts,
  exponentialLR,
  linearLR,
  LRScheduler,
  oneCycleLR,
  ReduceLROnPlateau,
  type Schedule,
  sequentialLR,
  stepLR,
} from "@descent/sgd/schedules";
import { optimizerOf } from "./golden.ts";

const halve = exponentialLR({ gamma: 0.5 });
const own: Schedule = (step, baseLr) => baseLr / (1 + step);

function group(name: string, lr: number) {
  return { params: [{ data: Float32Array.of(1, 2), grad: Float32Array.of(1, 0.5), name }], lr };
}

const lrs = ({ paramGroups }: SGD) => paramGroups.map(({ lr }) => lr);
const initialLrs = ({ paramGroups }: SGD) => paramGroups.map(({ initialLr }) => initialLr);
const savedBases = (optimizer: SGD) => optimizer.stateDict().param_groups.map((g) => g.initial_lr);

Deno.test("the base is the learning rate until there is a scheduler, and then stays", () => {
  const { optimizer } = optimizerOf([1]);
  const [group] = optimizer.paramGroups;
  assertEquals([group.initialLr, savedBases(optimizer)], [1, [undefined]]);
  group.lr = 4;
  new ReduceLROnPlateau(optimizer, { patience: 0, factor: 0.5 }).step(NaN);
  assertEquals([group.initialLr, savedBases(optimizer)], [2, [undefined]]);
  const scheduler = new LRScheduler(optimizer, halve, { warn: false });
  scheduler.step();
  group.lr = 9;
  assertEquals([group.initialLr, scheduler.baseLrs, savedBases(optimizer)], [2, [2], [2]]);
  assertThrows(() => Object.assign(group, { initialLr: 3 }), TypeError);
  const { params: _, ...options } = group;
  assertEquals(new SGD(optimizerOf([1]).params, options).paramGroups[0].lr, 9);
});

Deno.test("a base may be given with a group", () => {
  const optimizer = new SGD([{ ...group("a", 0.25), initialLr: 1 }, group("b", 0.5)], { lr: 1 });
  const scheduler = new LRScheduler(optimizer, own, { warn: false });
  optimizer.addParamGroup({ ...group("c", 0.5), initialLr: 8 });
  assertEquals(scheduler.baseLrs, [1, 0.5, 8]);
  scheduler.step();
  assertEquals(lrs(optimizer), [0.5, 0.25, 4]);
  assertThrows(() => new SGD([group("a", 1)], { lr: 1, initialLr: 1 } as never), TypeError);
});

Deno.test("the base is torch's initial_lr in dicts and files, and lr where there is none", () => {
  const dict = optimizerOf([0.25, 0.5]).optimizer.stateDict();
  Object.assign(dict.param_groups[0], { initial_lr: 1, fused: null });
  const { optimizer } = optimizerOf([7, 7]);
  optimizer.loadStateDict(decodeStateDict(encodeStateDict(dict)));
  assertEquals([initialLrs(optimizer), savedBases(optimizer)], [[1, 0.5], [1, undefined]]);
  optimizer.paramGroups[1].lr = 2;
  new LRScheduler(optimizer, own, { warn: false });
  assertEquals([lrs(optimizer), initialLrs(optimizer)], [[1, 2], [1, 2]]);
  optimizer.loadStateDict(dict);
  optimizer.paramGroups[1].lr = 3;
  assertEquals(initialLrs(optimizer), [1, 0.5], "there is a scheduler");
});

Deno.test("two schedulers keep their base through a file in which one of them is", async () => {
  const start = () => {
    const { optimizer } = optimizerOf([0.3]);
    const first = new LRScheduler(optimizer, linearLR({ totalIters: 2 }), { warn: false });
    return [optimizer, first, new LRScheduler(optimizer, own, { warn: false })] as const;
  };
  const train = ([optimizer, ...schedulers]: ReturnType<typeof start>) =>
    [1, 2, 3].map(() => (schedulers.forEach((each) => each.step()), lrs(optimizer)[0]));
  const whole = start();
  train(whole);
  const path = await Deno.makeTempFile();
  await saveState(path, whole[0], { scheduler: whole[1] });
  const dict = await loadState(path);
  await Deno.remove(path);
  const resumed = start();
  resumed[0].paramGroups[0].lr = 5;
  resumed[0].loadStateDict(dict);
  resumed[1].loadStateDict(dict.lr_scheduler!);
  resumed[2].loadStateDict(whole[2].stateDict());
  assertEquals(train(resumed), train(whole));
});

const cycle = oneCycleLR({ maxLr: 1, totalSteps: 20 });
const restarts = cosineAnnealingWarmRestarts({ t0: 4 });
const sequence = sequentialLR([halve, own], [3]);

for (
  const [what, schedule, next] of [
    ["a multiplying schedule", halve, (_step, lr) => lr / 2],
    ["warm restarts", restarts, (step) => restarts(step, 3)],
    ["an own function", own, (step) => own(step, 3)],
    ["a cycle", cycle, (step) => cycle(step, 3)],
    ["a sequence", sequence, (step, lr) => step < 3 ? lr / 2 : own(step - 3, 3)],
    [
      "a cosine from its lowest point",
      cosineAnnealingLR({ tMax: 1 }),
      (step) => step % 2 === 0 ? 3 : 0,
    ],
  ] as [string, Schedule, (step: number, lr: number) => number][]
) {
  Deno.test(`a group that is added follows from the lr that it is added with: ${what}`, () => {
    const { optimizer } = optimizerOf([1]);
    const scheduler = new LRScheduler(optimizer, schedule, { warn: false });
    scheduler.step();
    scheduler.step();
    optimizer.addParamGroup(group("added", 3));
    assertEquals([optimizer.paramGroups[1].initialLr, scheduler.lastLr.length], [3, 1]);
    optimizer.paramGroups[1].lr = 5;
    let lr = 5;
    for (let step = 3; step < 7; step++) {
      scheduler.step();
      lr = next(step, lr);
      assertEquals(lrs(optimizer), [optimizer.paramGroups[0].lr, lr], `at step ${step}`);
    }
    assertEquals([scheduler.baseLrs[1], scheduler.stateDict().base_lrs![1]], [3, 3]);
    assertEquals(optimizer.paramGroups[1].momentum, cycle === schedule ? cycle.momentum!(6) : 0.9);
    scheduler.stepTo(3);
    assertEquals(lrs(optimizer)[1], schedule(3, 3));
  });
}

Deno.test("a cycle makes its first learning rate the base, as torch's does", () => {
  const { optimizer } = optimizerOf([1]);
  const scheduler = new LRScheduler(optimizer, cycle, { warn: false });
  assertEquals([initialLrs(optimizer), scheduler.baseLrs], [[0.04], [0.04]]);
  assertEquals(new LRScheduler(optimizer, own, { warn: false }).lastLr, [0.04]);
});

Deno.test("a scheduler of one schedule per group needs one for a group that is added", () => {
  const { optimizer } = optimizerOf([1]);
  const scheduler = new LRScheduler(optimizer, [halve], { warn: false });
  optimizer.addParamGroup(group("added", 3));
  const before = JSON.stringify([optimizer.stateDict(), scheduler.stateDict()]);
  for (const use of [() => scheduler.step(), () => scheduler.stepTo(3)]) {
    const { message } = assertThrows(use, RangeError);
    assertStringIncludes(
      message,
      "each group must have a schedule: there are 2 groups and 1 sched",
    );
    assertStringIncludes(message, "addSchedule(schedule)");
  }
  assertEquals(JSON.stringify([optimizer.stateDict(), scheduler.stateDict()]), before);
  scheduler.loadStateDict(scheduler.stateDict());
  scheduler.addSchedule(own);
  scheduler.step();
  assertEquals(lrs(optimizer), [0.5, 1.5]);
  scheduler.stepTo(2);
  assertEquals(lrs(optimizer), [0.25, 1]);
});

Deno.test("a plateau with one floor per group needs one for a group that is added", () => {
  const { optimizer } = optimizerOf([1]);
  const scheduler = new ReduceLROnPlateau(optimizer, { patience: 0, minLr: [0.2] });
  optimizer.addParamGroup(group("added", 3));
  const { message } = assertThrows(() => scheduler.step(NaN), RangeError);
  assertStringIncludes(message, "addMinLr(minLr)");
  assertEquals([scheduler.lastEpoch, lrs(optimizer)], [0, [1, 3]]);
  scheduler.addMinLr(2);
  scheduler.step(NaN);
  assertEquals(lrs(optimizer), [0.2, 2]);
});

Deno.test("a floor for all groups holds for one that is added", () => {
  const { optimizer } = optimizerOf([1]);
  const scheduler = new ReduceLROnPlateau(optimizer, { patience: 0, minLr: 0.5 });
  optimizer.addParamGroup(group("added", 3));
  scheduler.step(NaN);
  assertEquals([lrs(optimizer), scheduler.lastLr], [[0.5, 0.5], [0.5, 0.5]]);
});

/** A run that unfreezes a layer before its fourth epoch. */
const KINDS: Record<string, (optimizer: SGD) => LRScheduler | ReduceLROnPlateau> = {
  "steps": (optimizer) => new LRScheduler(optimizer, stepLR({ stepSize: 2 }), { warn: false }),
  "warm restarts": (optimizer) => new LRScheduler(optimizer, restarts, { warn: false }),
  "a cycle": (optimizer) => new LRScheduler(optimizer, cycle, { warn: false }),
  "a sequence": (optimizer) => new LRScheduler(optimizer, sequence, { warn: false }),
  "a plateau": (optimizer) => new ReduceLROnPlateau(optimizer, { patience: 1, factor: 0.5 }),
};

function epochs(optimizer: SGD, scheduler: LRScheduler | ReduceLROnPlateau, count: number) {
  return Array.from({ length: count }, () => {
    optimizer.step();
    (scheduler as ReduceLROnPlateau).step(1);
    const weights = optimizer.paramGroups.map((
      { params: [{ data }] },
    ) => [...data as Float32Array]);
    return [weights, lrs(optimizer), initialLrs(optimizer), scheduler.stateDict()];
  });
}

const start = () => new SGD([group("a", 0.1)], { lr: 1, momentum: 0.9, backend: "js" });

for (const [what, make] of Object.entries(KINDS)) {
  for (const order of ["optimizer first", "scheduler first", "scheduler before the group"]) {
    Deno.test(`a file resumes a run to which a group was added: ${what}, ${order}`, async () => {
      const optimizer = start();
      const scheduler = make(optimizer);
      epochs(optimizer, scheduler, 3);
      optimizer.addParamGroup(group("b", 0.7));
      epochs(optimizer, scheduler, 2);
      const path = await Deno.makeTempFile();
      await saveState(path, optimizer, { parameters: true, scheduler });
      const dict = await loadState(path);
      await Deno.remove(path);

      const again = start();
      const resumed = make(again);
      const load = [
        () => again.addParamGroup(group("b", 9)),
        () => again.loadStateDict(dict, { parameters: true }),
        () => resumed.loadStateDict(dict.lr_scheduler!),
      ];
      if (order !== "optimizer first") load.splice(1, 0, load.pop()!);
      if (order === "scheduler before the group") load.unshift(load.splice(1, 1)[0]);
      for (const each of load) each();
      assertEquals(epochs(again, resumed, 5), epochs(optimizer, scheduler, 5));
    });
  }

  Deno.test(`a state from before a group was added leaves the group as it is: ${what}`, () => {
    const optimizer = start();
    const scheduler = make(optimizer);
    epochs(optimizer, scheduler, 3);
    const dict = scheduler.stateDict();
    optimizer.addParamGroup(group("b", 0.7));
    epochs(optimizer, scheduler, 1);
    const [, lr] = lrs(optimizer);
    scheduler.loadStateDict(dict);
    assertEquals(scheduler.lastEpoch, 3);
    assertEquals(lrs(optimizer), [dict._last_lr[0], lr]);
    assertEquals(scheduler.stateDict()._last_lr, lrs(optimizer));
  });
}

Deno.test("a state of torch's has no base for a group that was added", () => {
  const { optimizer } = optimizerOf([1, 1]);
  const scheduler = new LRScheduler(optimizer, own, { warn: false });
  optimizer.paramGroups[1].lr = 3;
  scheduler.loadStateDict({ last_epoch: 2, base_lrs: [0.5], _last_lr: [0.1, 0.2] });
  assertEquals([lrs(optimizer), scheduler.baseLrs], [[0.1, 0.2], [0.5, 1]]);
});

/** A run of two groups, and what their names will have in the next steps. */
function saveTwo(make: (optimizer: SGD) => LRScheduler): [StateDict, Record<string, number>] {
  const optimizer = new SGD([group("a", 0.1), group("b", 0.7)], { lr: 1 });
  const scheduler = make(optimizer);
  scheduler.step();
  const dict = { ...optimizer.stateDict(), lr_scheduler: scheduler.stateDict() };
  scheduler.step();
  return [dict, Object.fromEntries(["a", "b"].map((name, i) => [name, lrs(optimizer)[i]]))];
}

for (const [what, schedule] of Object.entries({ halve, own, restarts })) {
  for (const order of ["optimizer first", "scheduler first"]) {
    for (const isOld of [false, true]) {
      const file = isOld ? "a file without initial_lr" : "a file";
      Deno.test(`a base goes with the group's name: ${what}, ${order}, ${file}`, () => {
        const [dict, expected] = saveTwo((optimizer) =>
          new LRScheduler(optimizer, schedule, { warn: false })
        );
        if (isOld) { for (const saved of dict.param_groups) delete saved.initial_lr; }
        const optimizer = new SGD([group("b", 5), group("a", 6)], { lr: 1 });
        const scheduler = new LRScheduler(optimizer, schedule, { warn: false });
        if (order === "optimizer first") optimizer.loadStateDict(dict);
        scheduler.loadStateDict(dict.lr_scheduler!);
        if (order === "scheduler first") optimizer.loadStateDict(dict);
        assertEquals(initialLrs(optimizer), [0.7, 0.1]);
        scheduler.step();
        assertEquals(lrs(optimizer), [expected.b, expected.a]);
      });
    }
  }
}

Deno.test("a finished cosine is prolonged by a jump", () => {
  const { optimizer } = optimizerOf([1]);
  const short = new LRScheduler(optimizer, cosineAnnealingLR({ tMax: 4 }), { warn: false });
  short.stepTo(4);
  const long = cosineAnnealingLR({ tMax: 8 });
  const scheduler = new LRScheduler(optimizer, long, { warn: false });
  scheduler.loadStateDict(short.stateDict());
  assertEquals(lrs(optimizer), [0]);
  scheduler.stepTo(scheduler.lastEpoch);
  for (let step = 4; step <= 8; step++) {
    assertEquals(lrs(optimizer), [long(step, 1)]);
    scheduler.step();
  }
});

Deno.test("any groups can be scheduled, and keep their base too", () => {
  const paramGroups = [{ lr: 1, momentum: 0 }, { lr: 1, momentum: 0, initialLr: 4 }];
  const scheduler = new LRScheduler({ paramGroups }, own, { warn: false });
  scheduler.step();
  paramGroups.push({ lr: 9, momentum: 0 });
  scheduler.step();
  assertEquals(paramGroups.map(({ lr }) => lr), [1 / 3, 4 / 3, 3]);
  const second = new LRScheduler({ paramGroups }, own, { warn: false });
  assertEquals([second.baseLrs, scheduler.baseLrs], [[1, 4, 3], [1, 4, 9]]);
});
