/** A jump has the bits of the steps, and leaves out those at which nothing changes. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  chainedScheduler,
  constantLR,
  cosineAnnealingLR,
  cosineAnnealingWarmRestarts,
  cyclicLR,
  exponentialLR,
  linearLR,
  LRScheduler,
  multiplicativeLR,
  multiStepLR,
  oneCycleLR,
  polynomialLR,
  type Schedule,
  sequentialLR,
  stepLR,
  swaLR,
} from "@descent/sgd/schedules";
import { courses, optimizerOf, schedulesOf } from "./golden.ts";

const restarts = cosineAnnealingWarmRestarts({ t0: 3, tMult: 2 });

/** Schedules by what they are; each is made again for each use, because they remember where they were. */
const SCHEDULES: Record<string, () => Schedule> = {
  constant: () => constantLR({ factor: 0.3, totalIters: 7 }),
  linear: () => linearLR({ startFactor: 0.1, endFactor: 0.7, totalIters: 13 }),
  "linear to 0": () => linearLR({ startFactor: 0.3, endFactor: 0, totalIters: 13 }),
  polynomial: () => polynomialLR({ totalIters: 50, power: 0.9 }),
  steps: () => stepLR({ stepSize: 3, gamma: 0.97 }),
  "steps until nothing is left": () => stepLR({ stepSize: 2, gamma: 0.1 }),
  "steps that stay": () => stepLR({ stepSize: 2, gamma: 1 }),
  milestones: () => multiStepLR({ milestones: [30, 7, 0, 30, 411], gamma: 0.3 }),
  exponential: () => exponentialLR({ gamma: 0.999 }),
  "exponential until nothing is left": () => exponentialLR({ gamma: 0.4 }),
  "exponential that grows beyond all numbers": () => exponentialLR({ gamma: 4 }),
  ...Object.fromEntries(
    [1, 2, 3, 7, 100, 333].map((tMax) => [
      `a cosine of ${tMax}`,
      () => cosineAnnealingLR({ tMax, etaMin: tMax % 2 === 0 ? 0 : 0.013 }),
    ]),
  ),
  "a warm-up and a cosine": () =>
    sequentialLR([linearLR({ totalIters: 5 }), cosineAnnealingLR({ tMax: 20 })], [5]),
  "a sequence from step 0": () =>
    sequentialLR([stepLR({ stepSize: 1 }), exponentialLR({ gamma: 0.99 }), restarts], [0, 300]),
  "a sequence of sequences": () =>
    sequentialLR([
      sequentialLR([constantLR(), stepLR({ stepSize: 4 })], [9]),
      chainedScheduler([linearLR({ totalIters: 40 }), cosineAnnealingLR({ tMax: 11 })]),
    ], [100]),
  "a chain": () =>
    chainedScheduler([
      linearLR({ totalIters: 30 }),
      stepLR({ stepSize: 50, gamma: 0.9 }),
      multiStepLR({ milestones: [3, 200] }),
    ]),
  "a chain with a cosine in the middle": () =>
    chainedScheduler([
      exponentialLR({ gamma: 0.99 }),
      cosineAnnealingLR({ tMax: 10, etaMin: 0.01 }),
      stepLR({ stepSize: 3, gamma: 0.9 }),
    ]),
  "a chain with an own function": () =>
    chainedScheduler([
      exponentialLR({ gamma: 0.9 }),
      (step, baseLr) => baseLr / (1 + step),
      constantLR({ totalIters: 90 }),
      multiStepLR({ milestones: [10, 20] }),
    ]),
  ...Object.fromEntries(
    [0, 1, 9].flatMap((annealEpochs) => [
      [`weight averaging in ${annealEpochs} steps`, () => swaLR({ swaLr: 0.02, annealEpochs })],
      [
        `a sequence that goes on to weight averaging in ${annealEpochs} steps`,
        () =>
          sequentialLR([
            stepLR({ stepSize: 5, gamma: 0.9 }),
            swaLR({ swaLr: 0.02, annealEpochs, annealStrategy: "linear" }),
            multiplicativeLR((step) => step % 7 === 0 ? 0.9 : 1),
            cosineAnnealingLR({ tMax: 11 }),
          ], [40, 50, 50 + annealEpochs]),
      ],
    ]),
  ),
  "linear from 0": () => linearLR({ startFactor: 0, endFactor: 0.7, totalIters: 13 }),
  "a chain of linear from 0": () =>
    chainedScheduler([
      exponentialLR({ gamma: 0.99 }),
      linearLR({ startFactor: 0, totalIters: 30 }),
      stepLR({ stepSize: 7, gamma: 0.9 }),
    ]),
  "own factors": () => multiplicativeLR((step) => step % 7 === 0 ? 0.9 : 1),
  cycles: () => cyclicLR({ baseLr: 0.1, maxLr: 0.7, stepSizeUp: 5, stepSizeDown: 8 }),
  "a chain of a sequence with weight averaging": () =>
    chainedScheduler([
      sequentialLR([cosineAnnealingLR({ tMax: 20 }), swaLR({ swaLr: 0.3 })], [15]),
      multiplicativeLR((step) => 1 - 1 / (10 + step)),
    ]),
  "a chain of a sequence": () =>
    chainedScheduler([
      sequentialLR([linearLR({ totalIters: 5 }), cosineAnnealingLR({ tMax: 20 })], [5]),
      exponentialLR({ gamma: 0.9999 }),
    ]),
};

const END = 1500;

/** The learning rates as a scheduler sets them; out of range is what no optimizer may have. */
function walk(schedule: Schedule, baseLr: number): number[] {
  const group = { lr: baseLr, momentum: 0 };
  const scheduler = new LRScheduler({ paramGroups: [group] }, schedule, { warn: false });
  const lrs = [group.lr];
  try {
    for (let step = 1; step <= END; step++) lrs.push((scheduler.step(), group.lr));
  } catch (error) {
    assert(error instanceof RangeError);
  }
  return lrs;
}

for (const [what, create] of Object.entries(SCHEDULES)) {
  Deno.test(`a jump has the bits of the steps: ${what}`, () => {
    for (const baseLr of [0.1, 3, 0]) {
      const walked = walk(create(), baseLr);
      const jumping = create();
      for (const [step, lr] of walked.entries()) {
        assertEquals(create()(step, baseLr), lr, `at step ${step} from ${baseLr}`);
        const other = (step * 7919) % walked.length;
        assertEquals(jumping(other, baseLr), walked[other], `at step ${other} after another jump`);
      }
    }
  });

  Deno.test(`stepTo is the schedule from the group's base, and the next step the one after: ${what}`, () => {
    const walked = walk(create(), 0.1);
    const { optimizer } = optimizerOf([0.1]);
    const scheduler = new LRScheduler(optimizer, create(), { warn: false });
    const [group] = optimizer.paramGroups;
    for (const step of [5, 0, 311, 41, 41, 1, 1203].filter((at) => at + 1 < walked.length)) {
      group.lr = 0.777;
      scheduler.stepTo(step);
      assertEquals([group.lr, group.initialLr], [walked[step], 0.1]);
      assertEquals([scheduler.lastEpoch, scheduler.lastLr], [step, [walked[step]]]);
      scheduler.step();
      assertEquals([group.lr, scheduler.lastEpoch], [walked[step + 1], step + 1]);
    }
  });
}

for (const course of courses) {
  Deno.test(`stepTo sets what torch's steps set: ${JSON.stringify(course.schedule)}`, () => {
    const walked = optimizerOf(course.lrs).optimizer;
    const jumping = optimizerOf(course.lrs).optimizer;
    const steps = new LRScheduler(walked, schedulesOf(course), { warn: false });
    const jumps = new LRScheduler(jumping, schedulesOf(course), { warn: false });
    const momenta = (optimizer: typeof walked) => optimizer.paramGroups.map((g) => g.momentum);
    for (let step = 1; step <= course.at.at(-1)!; step++) {
      steps.step();
      if (!course.at.includes(step)) continue;
      jumps.stepTo(step);
      assertEquals(jumps.stateDict(), steps.stateDict());
      assertEquals(momenta(jumping), momenta(walked));
    }
  });
}

/** Cosines whose highest point is 0; rounding takes torch's below it. */
const FROZEN = [[3, 0.01], [5, 1e-4], [6, 2], [7, 1e-3], [10, 1e-5], [50, 1e-5]];

for (const [tMax, etaMin] of FROZEN) {
  Deno.test(`a cosine of ${tMax} steps from 0 to ${etaMin} never falls below 0, however it is made`, () => {
    const cosine = cosineAnnealingLR({ tMax, etaMin });
    const expected = (step: number) => etaMin * (1 - Math.cos(Math.PI * step / tMax)) / 2;
    const makers: [Schedule, number][] = [
      [cosine, 0],
      [chainedScheduler([cosine, exponentialLR({ gamma: 1 })]), 0],
      [sequentialLR([exponentialLR({ gamma: 0.9 }), cosine], [4]), 4],
    ];
    for (const [schedule, start] of makers) {
      const { optimizer } = optimizerOf([0]);
      const [walking, jumping] = [0, 1].map(() =>
        new LRScheduler(optimizer, schedule, { warn: false })
      );
      for (let step = 1; step <= 10 * tMax + start; step++) {
        walking.step();
        const [{ lr }] = optimizer.paramGroups;
        const want = step < start ? 0 : expected(step - start);
        assert(lr >= 0 && Math.abs(lr - want) <= 1e-11 * etaMin, `${lr} for ${want} at ${step}`);
        jumping.stepTo(step);
        assertEquals([optimizer.paramGroups[0].lr, schedule(step, 0)], [lr, lr]);
      }
    }
  });
}

Deno.test("what is below 0 for another reason than rounding is refused, not hidden", () => {
  const { optimizer } = optimizerOf([1]);
  const scheduler = new LRScheduler(optimizer, cosineAnnealingLR({ tMax: 10, etaMin: 0.5 }), {
    warn: false,
  });
  scheduler.stepTo(13);
  optimizer.paramGroups[0].lr = 0;
  assertThrows(() => scheduler.step(), RangeError, "Cannot set lr as it must be finite and >= 0");
});

/** What would take weeks step by step. */
const FAR: [string, Schedule, number][] = [
  ["constant", constantLR(), 1],
  ["linear", linearLR({ startFactor: 0.5, totalIters: 4 }), 1],
  ["steps", stepLR({ stepSize: 7 }), 0],
  ["milestones", multiStepLR({ milestones: [3, 1e15], gamma: 0.5 }), 0.25],
  ["exponential", exponentialLR({ gamma: 0.5 }), 0],
  ["exponential that stays", exponentialLR({ gamma: 1 }), 1],
  ["polynomial", polynomialLR(), 0],
  ["warm restarts", cosineAnnealingWarmRestarts({ t0: Number.MAX_SAFE_INTEGER }), 1],
  ["one cycle", oneCycleLR({ maxLr: 1, totalSteps: Number.MAX_SAFE_INTEGER }), 1 / 25 / 1e4],
  ["a sequence", sequentialLR([exponentialLR({ gamma: 0.1 }), constantLR()], [1e12]), 1],
  ["linear from 0", linearLR({ startFactor: 0, totalIters: 4 }), 1],
  ["weight averaging", swaLR({ swaLr: 0.05 }), 0.05],
  [
    "weight averaging after steps",
    sequentialLR([stepLR({ stepSize: 7 }), swaLR({ swaLr: 0.05 })], [1e12]),
    0.05,
  ],
  ["cycles", cyclicLR({ baseLr: 0.5, maxLr: 0.5 }), 0.5],
  ["a chain", chainedScheduler([constantLR(), stepLR({ stepSize: 1e15, gamma: 0.5 })]), 0.5 ** 9],
];

for (const [what, schedule, lr] of FAR) {
  Deno.test(`a jump beyond all steps takes no time: ${what}`, () => {
    assertEquals(schedule(Number.MAX_SAFE_INTEGER, 1), lr);
  });
}

Deno.test("a cosine jumps over whole cycles", () => {
  const own = { calls: 0 };
  const cosine = cosineAnnealingLR({ tMax: 95 });
  const counting: Schedule = (step, baseLr) => (own.calls++, cosine(step, baseLr));
  assertEquals(chainedScheduler([exponentialLR({ gamma: 0.9 }), counting])(1e7, 1), cosine(1e7, 1));
  assertEquals(own.calls, 1);
});

Deno.test("a cosine has the bits of the steps after many cycles", () => {
  for (const tMax of [1, 2, 9]) {
    const group = { lr: 0.3, momentum: 0 };
    const create = () => cosineAnnealingLR({ tMax, etaMin: 0.01 });
    const scheduler = new LRScheduler({ paramGroups: [group] }, create(), { warn: false });
    for (let step = 1; step <= 300_000; step++) {
      scheduler.step();
      if (step % 997 === 0 || step > 299_970) assertEquals(create()(step, 0.3), group.lr);
    }
  }
});
