/** What schedulers set, when, and how they resume from a checkpoint. */

import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { decodeStateDict, encodeStateDict, loadState, saveState } from "@descent/sgd";
import {
  chainedScheduler,
  constantLR,
  cosineAnnealingLR,
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

const LRS = [0.1, 0.3];
const halve = exponentialLR({ gamma: 0.5 });

Deno.test("each group follows its own schedule from its own learning rate", () => {
  const { optimizer } = optimizerOf([1, 4, 8]);
  const keep: Schedule = (_, baseLr) => baseLr;
  const scheduler = new LRScheduler(optimizer, [halve, keep, constantLR({ factor: 0.25 })], {
    warn: false,
  });
  assertEquals(optimizer.paramGroups.map(({ lr }) => lr), [1, 4, 2]);
  scheduler.step();
  assertEquals(optimizer.paramGroups.map(({ lr }) => lr), [0.5, 4, 2]);
  assertEquals([scheduler.lastLr, scheduler.baseLrs], [[0.5, 4, 2], [1, 4, 8]]);
});

Deno.test("the optimizer steps with the learning rate that was set", () => {
  const { optimizer, params: [w] } = optimizerOf([1]);
  w.data.fill(0);
  w.grad!.fill(1);
  optimizer.paramGroups[0].momentum = 0;
  const scheduler = new LRScheduler(optimizer, halve, { warn: false });
  for (let i = 0; i < 3; i++) {
    optimizer.step();
    scheduler.step();
  }
  assertEquals(w.data[0], -1.75);
});

Deno.test("only a schedule that moves momentum sets it", () => {
  const { optimizer } = optimizerOf([1, 1]);
  const cycle = oneCycleLR({ maxLr: 1, totalSteps: 10 });
  const scheduler = new LRScheduler(optimizer, [cycle, halve], { warn: false });
  assertEquals(optimizer.paramGroups.map(({ momentum }) => momentum), [0.95, 0.9]);
  scheduler.step();
  assertEquals(optimizer.paramGroups.map(({ momentum }) => momentum), [cycle.momentum!(1), 0.9]);
  assertNotEquals(cycle.momentum!(1), 0.95);
});

Deno.test("an own schedule may move momentum too", () => {
  const { optimizer } = optimizerOf([1]);
  const own = Object.assign((step: number) => step, { momentum: (step: number) => step / 4 });
  new LRScheduler(optimizer, own, { warn: false }).step();
  assertEquals([optimizer.paramGroups[0].lr, optimizer.paramGroups[0].momentum], [1, 0.25]);
});

Deno.test("schedules that multiply keep an assigned learning rate, as in torch", () => {
  const { optimizer } = optimizerOf([1, 1]);
  const scheduler = new LRScheduler(optimizer, [halve, (step) => step], { warn: false });
  for (const group of optimizer.paramGroups) group.lr = 8;
  scheduler.step();
  assertEquals(scheduler.lastLr, [4, 1]);
});

Deno.test("a phase of a cycle without a length is at its end, where torch divides by zero", () => {
  const options = { maxLr: 1, totalSteps: 10, baseMomentum: 0.5 };
  const schedules = [0.1, 1].map((pctStart) => oneCycleLR({ ...options, pctStart }));
  assertEquals([schedules[0](0, 1), schedules[0].momentum!(0)], [1, 0.5]);
  assertEquals(schedules[1](10, 1), 1 / 25 / 1e4);
});

Deno.test("a plain function in a chain overrides what is in front of it", () => {
  const schedule = chainedScheduler([
    halve,
    (step, baseLr) => baseLr + step,
    stepLR({ stepSize: 2 }),
  ]);
  assertEquals([0, 1, 2].map((step) => schedule(step, 1)), [1, 2, 3 * 0.1]);
});

/** Where torch 2.13 leaves out the first step of a chain or a sequence, or raises. */
const NESTED: [string, Schedule, number[]][] = [
  ["a chain first", sequentialLR([chainedScheduler([halve]), constantLR()], [3]), [1, 0.5, 0.25]],
  ["a chain later", sequentialLR([constantLR(), chainedScheduler([halve])], [1]), [
    1 / 3,
    1,
    0.5,
    0.25,
  ]],
  [
    "a sequence first",
    sequentialLR([sequentialLR([halve, constantLR({ factor: 0.5 })], [2]), halve], [4]),
    [1, 0.5, 0.5, 0.5, 1],
  ],
  ["a sequence later", sequentialLR([halve, sequentialLR([halve, halve], [2])], [2]), [
    ...[1, 0.5],
    ...[1, 0.5],
    ...[1, 0.5, 0.25],
  ]],
];

for (const [what, schedule, lrs] of NESTED) {
  Deno.test(`what a sequence is made of begins at its own step 0: ${what}`, () => {
    const { optimizer } = optimizerOf([1]);
    const scheduler = new LRScheduler(optimizer, schedule, { warn: false });
    const found = lrs.map((_, step) => (step > 0 && scheduler.step(), scheduler.lastLr[0]));
    assertEquals(found, lrs);
  });
}

Deno.test("what was handed out is not the scheduler's own", () => {
  const { optimizer } = optimizerOf([1]);
  const scheduler = new LRScheduler(optimizer, halve, { warn: false });
  const plateau = new ReduceLROnPlateau(optimizer, {});
  const dict = scheduler.stateDict();
  for (const list of [scheduler.lastLr, scheduler.baseLrs, plateau.lastLr]) list[0] = 9;
  scheduler.loadStateDict(dict);
  dict.base_lrs![0] = dict._last_lr[0] = 9;
  assertEquals([scheduler.lastLr, scheduler.baseLrs, plateau.lastLr], [[1], [1], [1]]);
});

Deno.test("a step that fails changes nothing", () => {
  const { optimizer } = optimizerOf([1, 1]);
  const fails: Schedule = (step) => step < 2 ? 1 : NaN;
  const scheduler = new LRScheduler(optimizer, [halve, fails], { warn: false });
  scheduler.step();
  for (let attempt = 0; attempt < 2; attempt++) {
    assertThrows(() => scheduler.step(), RangeError, "Cannot set lr as it must be finite and >= 0");
    assertEquals(optimizer.paramGroups.map(({ lr }) => lr), [0.5, 1]);
    assertEquals([scheduler.lastEpoch, scheduler.lastLr], [1, [0.5, 1]]);
  }
});

Deno.test("a momentum that is out of range leaves the learning rate too", () => {
  const { optimizer } = optimizerOf([1]);
  const own = Object.assign((step: number) => step, { momentum: (step: number) => -step });
  const scheduler = new LRScheduler(optimizer, own, { warn: false });
  assertThrows(() => scheduler.step(), RangeError, "Cannot set momentum");
  assertEquals(optimizer.paramGroups.map(({ lr, momentum }) => [lr, momentum]), [[0, 0]]);
});

/** Something that is trained by steps, and can be saved and resumed. */
interface Run {
  readonly optimizer: ReturnType<typeof optimizerOf>["optimizer"];
  readonly params: ReturnType<typeof optimizerOf>["params"];
  readonly scheduler: LRScheduler | ReduceLROnPlateau;
}

const SCHEDULERS: [string, (optimizer: Run["optimizer"]) => Run["scheduler"]][] = [
  [
    "a cosine",
    (optimizer) => new LRScheduler(optimizer, cosineAnnealingLR({ tMax: 7 }), { warn: false }),
  ],
  [
    "a warm-up and a chain",
    (optimizer) =>
      new LRScheduler(
        optimizer,
        sequentialLR([linearLR(), chainedScheduler([halve, stepLR({ stepSize: 3 })])], [5]),
        { warn: false },
      ),
  ],
  [
    "one cycle per group",
    (optimizer) =>
      new LRScheduler(optimizer, LRS.map((maxLr) => oneCycleLR({ maxLr, totalSteps: 20 })), {
        warn: false,
      }),
  ],
  [
    "a plateau",
    (optimizer) => new ReduceLROnPlateau(optimizer, { patience: 1, cooldown: 1, factor: 0.5 }),
  ],
];

function start(make: (optimizer: Run["optimizer"]) => Run["scheduler"]): Run {
  const { optimizer, params } = optimizerOf(LRS);
  return { optimizer, params, scheduler: make(optimizer) };
}

/** Trains, and gives every bit of every step. */
function train({ optimizer, params, scheduler }: Run, from: number, to: number): unknown[] {
  return Array.from({ length: to - from }, (_, i) => {
    optimizer.step();
    if (scheduler instanceof LRScheduler) scheduler.step();
    else scheduler.step((from + i) % 5 === 0 ? 2 : 1);
    const bits = params.map(({ data }) => [...new Uint32Array(data.buffer)]);
    const groups = optimizer.paramGroups.map(({ lr, momentum }) => ({ lr, momentum }));
    return { bits, groups, state: scheduler.stateDict() };
  });
}

for (const [name, make] of SCHEDULERS) {
  for (const stop of [0, 1, 4, 6, 11]) {
    for (const order of ["optimizer first", "scheduler first", "scheduler made last"]) {
      Deno.test(`a file resumes ${name} after ${stop} steps to the same bits: ${order}`, async () => {
        const whole = train(start(make), 0, 17);
        const stopped = start(make);
        train(stopped, 0, stop);
        const path = await Deno.makeTempFile();
        const { scheduler } = stopped;
        await saveState(path, stopped.optimizer, { parameters: true, scheduler });
        const dict = await loadState(path);
        await Deno.remove(path);

        const { optimizer, params } = optimizerOf([7, 9]);
        const load = () => optimizer.loadStateDict(dict, { parameters: true });
        if (order === "scheduler made last") load();
        const resumed = { optimizer, params, scheduler: make(optimizer) };
        if (order === "optimizer first") load();
        resumed.scheduler.loadStateDict(dict.lr_scheduler!);
        if (order === "scheduler first") load();
        assertEquals(resumed.scheduler.lastLr, stopped.scheduler.lastLr);
        assertEquals(train(resumed, stop, 17), whole.slice(stop));
      });
    }
  }
}

Deno.test("the state of a scheduler is torch's, and survives a file exactly", () => {
  const { optimizer } = optimizerOf(LRS);
  const scheduler = new LRScheduler(optimizer, halve, { warn: false });
  scheduler.step();
  optimizer.paramGroups[1].lr = 5e-324;
  const lr_scheduler = scheduler.stateDict();
  assertEquals(lr_scheduler, { last_epoch: 1, base_lrs: [0.1, 0.3], _last_lr: [0.05, 5e-324] });
  const dict = { ...optimizer.stateDict(), lr_scheduler };
  assertEquals(decodeStateDict(encodeStateDict(dict)), dict);
});

Deno.test("keys that only torch has are kept in a file and left out by loading", () => {
  const { optimizer } = optimizerOf([1]);
  const torchs = {
    gamma: 0.5,
    base_lrs: [1],
    last_epoch: 3,
    _step_count: 4,
    _is_initial: false,
    _last_lr: [0.125],
  };
  const dict = { ...optimizer.stateDict(), lr_scheduler: torchs };
  assertEquals(decodeStateDict(encodeStateDict(dict)).lr_scheduler, torchs);
  const scheduler = new LRScheduler(optimizer, halve, { warn: false });
  scheduler.loadStateDict(torchs);
  assertEquals(optimizer.paramGroups[0].lr, 0.125);
  scheduler.step();
  assertEquals(scheduler.stateDict(), { last_epoch: 4, base_lrs: [1], _last_lr: [0.0625] });
});

/** What torch gives of a plateau before its first metric. */
const FRESH = {
  ...{ factor: 0.1, default_min_lr: 0, min_lrs: [0], patience: 10, cooldown: 0, eps: 1e-8 },
  ...{ last_epoch: 0, _last_lr: [0.1], mode: "min", threshold: 1e-4, threshold_mode: "rel" },
  ...{ mode_worse: Infinity, best: Infinity, cooldown_counter: 0, num_bad_epochs: 0 },
};

for (const mode of ["min", "max"] as const) {
  Deno.test(`a plateau with mode "${mode}" resumes from torch's state before the first metric`, () => {
    const { optimizer } = optimizerOf([1]);
    const plateau = new ReduceLROnPlateau(optimizer, { mode, patience: 0 });
    plateau.step(0);
    const best = mode === "min" ? Infinity : -Infinity;
    plateau.loadStateDict({ ...FRESH, mode, mode_worse: best, best });
    assertEquals([plateau.lastEpoch, plateau.lastLr, "best" in plateau.stateDict()], [
      0,
      [0.1],
      false,
    ]);
    plateau.step(mode === "min" ? 1e300 : -1e300); // better than none
    assertEquals(optimizer.paramGroups[0].lr, 0.1);
  });
}

Deno.test("an infinite best goes into a file as none, and one that Python wrote comes out", () => {
  const { optimizer } = optimizerOf([0.1]);
  const lr_scheduler = {
    ...{ last_epoch: 0, _last_lr: [0.1], best: Infinity },
    ...{ num_bad_epochs: 0, cooldown_counter: 0 },
  };
  const bytes = encodeStateDict({ ...optimizer.stateDict(), lr_scheduler });
  const { best: _, ...others } = lr_scheduler;
  assertEquals(decodeStateDict(bytes).lr_scheduler, others);
  for (const best of ["Infinity", "-Infinity"]) {
    const text = new TextDecoder("latin1").decode(bytes);
    const written = text.replace('\\"num_bad_epochs', `\\"best\\":${best},\\"num_bad_epochs`);
    const file = Uint8Array.from(written, (char) => char.charCodeAt(0));
    new DataView(file.buffer).setUint32(0, file.length - 8, true);
    assertEquals(decodeStateDict(file).lr_scheduler!.best, Number(best));
  }
});

Deno.test("learning rates just below 0, as torch's lines end, become 0", () => {
  const { optimizer } = optimizerOf(LRS);
  const lr = -8.56457761853692e-18; // torch 2.13: LinearLR(optimizer, 0.9, 0, 7) at its end
  const scheduler = new LRScheduler(optimizer, halve, { warn: false });
  scheduler.loadStateDict({ last_epoch: 7, base_lrs: LRS, _last_lr: [lr, 0.1] });
  assertEquals([scheduler.lastLr, optimizer.paramGroups.map(({ lr }) => lr)], [[0, 0.1], [0, 0.1]]);
  const plateau = new ReduceLROnPlateau(optimizer);
  plateau.loadStateDict({ ...FRESH, _last_lr: [0.1, lr] });
  assertEquals(plateau.lastLr, [0.1, 0]);
});
