/** Bad input to schedules and schedulers is a clear error, and nothing has changed after it. */

import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import * as schedules from "@descent/sgd/schedules";
import {
  LRScheduler,
  oneCycleLR,
  ReduceLROnPlateau,
  sequentialLR,
  stepLR,
} from "@descent/sgd/schedules";
import type { LRSchedulerStateDict } from "@descent/sgd";
import type { ReduceLROnPlateauOptions, Schedule } from "@descent/sgd/schedules";
import { optimizerOf } from "./golden.ts";

type Fault = [what: string, make: () => unknown, kind: ErrorConstructor, message: string];

const plateau = (options: unknown) =>
  new ReduceLROnPlateau(optimizerOf([1, 1]).optimizer, options as ReduceLROnPlateauOptions);

const MAKERS: Record<string, (options: unknown) => unknown> = {
  ...schedules as unknown as Record<string, (options: unknown) => unknown>,
  reduceLROnPlateau: plateau,
};

/** What each function needs. */
const REQUIRED: Record<string, object> = {
  stepLR: { stepSize: 2 },
  multiStepLR: { milestones: [2] },
  exponentialLR: { gamma: 0.5 },
  cosineAnnealingLR: { tMax: 2 },
  cosineAnnealingWarmRestarts: { t0: 2 },
  oneCycleLR: { maxLr: 1, totalSteps: 9 },
  cyclicLR: { baseLr: 0.1, maxLr: 1 },
  swaLR: { swaLr: 0.5 },
  multiplicativeLR: { lrLambda: () => 0.5 },
};

const COUNT: [string, number[]] = ["a whole number >= 1", [0, -1, 1.5, NaN, Infinity]];
const WHOLE: [string, number[]] = ["a whole number >= 0", [-1, 1.5, NaN, Infinity]];
const NOT_NEGATIVE: [string, number[]] = ["finite and >= 0", [-1, NaN, Infinity]];
const POSITIVE: [string, number[]] = ["finite and > 0", [0, -1, NaN, Infinity]];
const SHARE: [string, number[]] = [">= 0 and <= 1", [-0.1, 1.1, NaN]];
const POSITIVE_SHARE: [string, number[]] = ["> 0 and <= 1", [0, 1.1, NaN]];
const BELOW_ONE: [string, number[]] = [">= 0 and < 1", [-0.1, 1, NaN]];

const NUMBERS: [string, Record<string, [string, number[]]>][] = [
  ["stepLR", { stepSize: COUNT, gamma: NOT_NEGATIVE }],
  ["multiStepLR", { gamma: NOT_NEGATIVE }],
  ["exponentialLR", { gamma: NOT_NEGATIVE }],
  ["polynomialLR", { totalIters: COUNT, power: NOT_NEGATIVE }],
  ["constantLR", { factor: POSITIVE_SHARE, totalIters: COUNT }],
  ["linearLR", { startFactor: SHARE, endFactor: SHARE, totalIters: COUNT }],
  ["cosineAnnealingLR", { tMax: COUNT, etaMin: NOT_NEGATIVE }],
  ["cosineAnnealingWarmRestarts", { t0: COUNT, tMult: COUNT, etaMin: NOT_NEGATIVE }],
  [
    "oneCycleLR",
    {
      maxLr: NOT_NEGATIVE,
      totalSteps: COUNT,
      pctStart: SHARE,
      baseMomentum: NOT_NEGATIVE,
      maxMomentum: NOT_NEGATIVE,
      divFactor: POSITIVE,
      finalDivFactor: POSITIVE,
    },
  ],
  ["swaLR", { swaLr: NOT_NEGATIVE, annealEpochs: WHOLE }],
  [
    "cyclicLR",
    {
      baseLr: NOT_NEGATIVE,
      maxLr: NOT_NEGATIVE,
      stepSizeUp: COUNT,
      stepSizeDown: WHOLE,
      gamma: NOT_NEGATIVE,
      baseMomentum: NOT_NEGATIVE,
      maxMomentum: NOT_NEGATIVE,
    },
  ],
  [
    "reduceLROnPlateau",
    {
      factor: BELOW_ONE,
      patience: WHOLE,
      threshold: NOT_NEGATIVE,
      cooldown: WHOLE,
      minLr: NOT_NEGATIVE,
      eps: NOT_NEGATIVE,
    },
  ],
];

const numbers: Fault[] = NUMBERS.flatMap(([name, options]) =>
  Object.entries(options).flatMap(([option, [limit, values]]): Fault[] => {
    const make = (value: unknown) => () => MAKERS[name]({ ...REQUIRED[name], [option]: value });
    return [
      ...values.map((value): Fault => [
        `${name} refuses ${option} ${value}`,
        make(value),
        RangeError,
        `Cannot set ${option} as it must be ${limit}: current value is ${value}`,
      ]),
      [
        `${name} refuses ${option} of another type`,
        make("1"),
        TypeError,
        `Cannot set ${option} as it must be a number: current value is "1"`,
      ],
    ];
  })
);

const keys: Fault[] = NUMBERS.flatMap(([name]): Fault[] => [
  [
    `${name} refuses options that do not exist`,
    () => MAKERS[name]({ ...REQUIRED[name], lastEpoch: 3 }),
    TypeError,
    'Cannot read option "lastEpoch" as it does not exist',
  ],
  [`${name} refuses options that are no object`, () => MAKERS[name](7), TypeError, "an object"],
]);

const missing: Fault[] = Object.keys(REQUIRED).map((name) => [
  `${name} refuses to do without what it needs`,
  () => MAKERS[name]({}),
  TypeError,
  "must be",
]);

const cycle = (options: object) => () => MAKERS.oneCycleLR({ maxLr: 1, ...options });
const step = stepLR({ stepSize: 2 });
const sequence = (schedules: unknown, milestones: unknown) => () =>
  sequentialLR(schedules as Schedule[], milestones as number[]);
const chain = (schedules: unknown) => () => MAKERS.chainedScheduler(schedules);
const multiply = (options: unknown) => () => MAKERS.multiplicativeLR(options);
const swa = (options: object) => () => MAKERS.swaLR({ swaLr: 1, ...options });
const cycles = (options: object) => () => MAKERS.cyclicLR({ baseLr: 0.1, maxLr: 1, ...options });
const schedule = (schedule: unknown, lrs = [1, 1]) => () =>
  new LRScheduler(optimizerOf(lrs).optimizer, schedule as Schedule, { warn: false });
const restore = (dict: object) => () => {
  const full = { last_epoch: 1, base_lrs: [1, 1], _last_lr: [1, 1], ...dict };
  new LRScheduler(optimizerOf([1, 1]).optimizer, step, { warn: false }).loadStateDict(
    full as LRSchedulerStateDict,
  );
};
const restorePlateau = (dict: object) => () => {
  const full = { ...plateau({}).stateDict(), ...dict };
  plateau({}).loadStateDict(full as LRSchedulerStateDict);
};

const others: Fault[] = [
  ["a factor that is no function", multiply(0.5), TypeError, "lrLambda as it must be a function"],
  ["milestones that are no array", () => MAKERS.multiStepLR({ milestones: 3 }), TypeError, "is 3"],
  [
    "a milestone that is no step",
    () => MAKERS.multiStepLR({ milestones: [1, -2] }),
    RangeError,
    "Cannot set milestones[1] as it must be a whole number >= 0: current value is -2",
  ],
  ["a cycle of no length", cycle({ epochs: 3 }), TypeError, "both epochs and stepsPerEpoch"],
  ["no epochs", cycle({ epochs: 0, stepsPerEpoch: 3 }), RangeError, "Cannot set epochs"],
  ["half a step", cycle({ epochs: 1, stepsPerEpoch: 0.5 }), RangeError, "Cannot set stepsPerEpoch"],
  [
    "an unknown strategy",
    cycle({ totalSteps: 9, annealStrategy: "sin" }),
    TypeError,
    'Cannot set annealStrategy as it must be "cos" or "linear": current value is "sin"',
  ],
  ["a switch of 1", cycle({ totalSteps: 9, threePhase: 1 }), TypeError, "Cannot set threePhase"],
  ["another switch of 1", cycle({ totalSteps: 9, cycleMomentum: 1 }), TypeError, "cycleMomentum"],
  [
    "a step after a cycle",
    () => oneCycleLR({ maxLr: 1, totalSteps: 9 })(10, 1),
    RangeError,
    "at most totalSteps, which is 9: current value is 10",
  ],
  [
    "a step after the momentum's cycle",
    () => oneCycleLR({ maxLr: 1, totalSteps: 9 }).momentum!(10),
    RangeError,
    "current value is 10",
  ],
  ["half a step of a schedule", () => step(0.5, 1), RangeError, "Cannot set step"],
  ["a negative step", () => oneCycleLR({ maxLr: 1, totalSteps: 9 })(-1, 1), RangeError, "is -1"],
  ["a base of another type", () => step(1, "1" as never), TypeError, "Cannot set baseLr"],
  ["a base that is not finite", () => step(1, Infinity), RangeError, "current value is Infinity"],
  ["no schedules", sequence([], []), RangeError, "at least one"],
  ["schedules that are none", chain([step, 3]), TypeError, "schedules[1]"],
  ["schedules that are no array", chain(step), TypeError, "an array: current value is a function"],
  ["too many milestones", sequence([step, step], [1, 2]), RangeError, "there must be 1"],
  [
    "milestones that fall",
    sequence([step, step, step], [3, 2]),
    RangeError,
    "Cannot set milestones as they must not descend: current value is [3, 2]",
  ],
  ["a factor that is no function", multiply({ lrLambda: 0.5 }), TypeError, "Cannot set lrLambda"],
  [
    "a factor that is text",
    () => (multiply(() => "0.5")() as Schedule)(1, 1),
    TypeError,
    'Cannot use lrLambda as its result must be a number: current value is "0.5"',
  ],
  ["an unknown way to anneal", swa({ annealStrategy: "sin" }), TypeError, '"cos" or "linear"'],
  [
    "an unknown mode of cycles",
    cycles({ mode: "square" }),
    TypeError,
    'Cannot set mode as it must be "triangular", "triangular2" or "exp_range"',
  ],
  ["an unknown scale mode", cycles({ scaleMode: "step" }), TypeError, '"cycle" or "iterations"'],
  ["a scale that is no function", cycles({ scaleFn: 2 }), TypeError, "it must be a function"],
  [
    "a scale that is nothing",
    () => (cycles({ scaleFn: () => undefined })() as Schedule)(1, 1),
    TypeError,
    "Cannot use scaleFn as its result must be a number: current value is undefined",
  ],
  ["a switch of 0", cycles({ cycleMomentum: 0 }), TypeError, "Cannot set cycleMomentum"],
  [
    "half a step of momentum",
    () => (cycles({})() as Schedule).momentum!(0.5),
    RangeError,
    "is 0.5",
  ],
  [
    "cycles that move momentum in a chain",
    () => chain([cycles({})()])(),
    TypeError,
    "schedules[0]",
  ],
  [
    "a part that moves momentum",
    chain([step, oneCycleLR({ maxLr: 1, totalSteps: 9 })]),
    TypeError,
    "schedules[1] as it moves momentum, which others do not: set cycleMomentum to false",
  ],
  ["a scheduler without a schedule", schedule(undefined), TypeError, "current value is undefined"],
  ["a schedule that is a number", schedule([step, 0.1]), TypeError, "current value is 0.1"],
  ["a schedule too few", schedule([step]), RangeError, "there must be 2, one for each group"],
  [
    "a momentum that is a number",
    schedule(Object.assign(() => 1, { momentum: 0.9 })),
    TypeError,
    "momentum of the schedule",
  ],
  ["a schedule below zero", schedule(() => -1), RangeError, "Cannot set lr"],
  ["a schedule that gives text", schedule(() => "1"), TypeError, 'current value is "1"'],
  [
    "a scheduler without an optimizer",
    () => new LRScheduler(null as never, step, { warn: false }),
    TypeError,
    "current value is null",
  ],
  ["an unknown mode", () => plateau({ mode: "least" }), TypeError, '"min" or "max"'],
  ["an unknown threshold mode", () => plateau({ thresholdMode: 1 }), TypeError, '"rel" or "abs"'],
  ["a floor too few", () => plateau({ minLr: [0] }), RangeError, "Cannot set minLr as there must"],
  ["a floor below zero", () => plateau({ minLr: [0, -1] }), RangeError, "current value is -1"],
  ["no metric", () => plateau({}).step(undefined as never), TypeError, "metric must be a number"],
  ["a metric without bounds", () => plateau({}).step(-Infinity), RangeError, "-Infinity"],
  ["a state that is none", () => plateau({}).loadStateDict(null as never), TypeError, "null"],
  [
    "a state that was not saved",
    () => plateau({}).loadStateDict(undefined as never),
    TypeError,
    "it has no lr_scheduler: saveState(path, optimizer, { scheduler }) saves it",
  ],
  [
    "a state of more bases than learning rates",
    restore({ base_lrs: [1, 1, 1] }),
    RangeError,
    "Cannot set base_lrs as there must be at most 2, like _last_lr: there are 3",
  ],
  ["a state of no groups", restore({ _last_lr: [], base_lrs: [] }), RangeError, "are 0"],
  ["a state without a base", restore({ base_lrs: undefined }), TypeError, "lr_scheduler.base_lrs"],
  ["a state of half a step", restore({ last_epoch: 0.5 }), TypeError, "lr_scheduler.last_epoch"],
  ["a state below zero", restore({ _last_lr: [1, -1] }), RangeError, "in lr_scheduler._last_lr"],
  ["a plateau's best that is NaN", restorePlateau({ best: NaN }), TypeError, "lr_scheduler.best"],
  [
    "a plateau's best that is infinitely good",
    restorePlateau({ best: -Infinity }),
    RangeError,
    'lr_scheduler.best must not be infinitely good for the mode "min": current value is -Infinity',
  ],
  ["a base of -1e-6", restore({ base_lrs: [-1e-6] }), RangeError, "in lr_scheduler.base_lrs"],
  [
    "a plateau's state without a count",
    restorePlateau({ num_bad_epochs: undefined }),
    TypeError,
    "lr_scheduler.num_bad_epochs must be a whole number >= 0",
  ],
  ["a plateau's state of no groups", restorePlateau({ _last_lr: [] }), RangeError, "are 0"],
  ...[-1, 0.5, NaN, Infinity, 2 ** 53].map((step): Fault => [
    `a jump to step ${step}`,
    () =>
      new LRScheduler(optimizerOf([1]).optimizer, stepLR({ stepSize: 2 }), { warn: false }).stepTo(
        step,
      ),
    RangeError,
    `Cannot set step as it must be a whole number >= 0: current value is ${step}`,
  ]),
  [
    "a jump to text",
    () => new LRScheduler(optimizerOf([1]).optimizer, step, { warn: false }).stepTo("3" as never),
    TypeError,
    'Cannot set step as it must be a number: current value is "3"',
  ],
  [
    "a jump behind a cycle",
    () => {
      const cycle = oneCycleLR({ maxLr: 1, totalSteps: 9 });
      new LRScheduler(optimizerOf([1]).optimizer, cycle, { warn: false }).stepTo(10);
    },
    RangeError,
    "at most totalSteps, which is 9: current value is 10",
  ],
  [
    "an added schedule where one is for all groups",
    () => new LRScheduler(optimizerOf([1]).optimizer, step, { warn: false }).addSchedule(step),
    TypeError,
    "Cannot add a schedule as the scheduler must have a list of schedules",
  ],
  [
    "an added schedule where each group has one",
    () => new LRScheduler(optimizerOf([1]).optimizer, [step], { warn: false }).addSchedule(step),
    RangeError,
    "there are 1 groups and 1 schedules; add the group first",
  ],
  [
    "an added schedule that is none",
    () =>
      new LRScheduler(optimizerOf([1]).optimizer, [step], { warn: false }).addSchedule(3 as never),
    TypeError,
    "current value is 3",
  ],
  ["an added floor below zero", () => plateau({ minLr: [0, 0] }).addMinLr(-1), RangeError, "is -1"],
  ["an added floor too many", () => plateau({ minLr: [0, 0] }).addMinLr(0), RangeError, "2 minLr"],
  ["an added floor to one for all", () => plateau({}).addMinLr(0), TypeError, "a list of minLr"],
];

for (const [what, fault, kind, message] of [...numbers, ...keys, ...missing]) {
  Deno.test(what, () => assertStringIncludes(assertThrows(fault, kind).message, message));
}

for (const [what, fault, kind, message] of others) {
  Deno.test(`schedules and schedulers refuse ${what}`, () => {
    assertStringIncludes(assertThrows(fault, kind).message, message);
  });
}

Deno.test("a state that is refused changes nothing", () => {
  const { optimizer } = optimizerOf([1, 1]);
  const cycle = oneCycleLR({ maxLr: 1, totalSteps: 9 });
  const scheduler = new LRScheduler(optimizer, cycle, { warn: false });
  const before = JSON.stringify([optimizer.stateDict(), scheduler.stateDict()]);
  for (const dict of [{ last_epoch: 10 }, { base_lrs: [1, NaN] }, { _last_lr: [0.5, Infinity] }]) {
    const full = { last_epoch: 1, base_lrs: [1, 1], _last_lr: [0.5, 1], ...dict };
    assertThrows(() => scheduler.loadStateDict(full), RangeError);
    assertEquals(JSON.stringify([optimizer.stateDict(), scheduler.stateDict()]), before);
  }
});

Deno.test("a scheduler or a jump that fails changes nothing, the base neither", () => {
  const { optimizer } = optimizerOf([1, 1]);
  const before = JSON.stringify([optimizer.stateDict()]);
  const unchanged = () => JSON.stringify([optimizer.stateDict()]);
  assertThrows(() => new LRScheduler(optimizer, [step, () => NaN], { warn: false }), RangeError);
  assertEquals(unchanged(), before);
  optimizer.paramGroups[0].lr = 2;
  assertEquals(optimizer.paramGroups[0].initialLr, 2);

  const scheduler = new LRScheduler(optimizer, [step, (at) => at < 5 ? 1 : -1], { warn: false });
  scheduler.step();
  const stepped = JSON.stringify([unchanged(), scheduler.stateDict(), scheduler.lastEpoch]);
  assertThrows(() => scheduler.stepTo(7), RangeError, "Cannot set lr");
  assertEquals(JSON.stringify([unchanged(), scheduler.stateDict(), scheduler.lastEpoch]), stepped);
});

for (const initialLr of [-1, NaN, Infinity, "1", null]) {
  Deno.test(`an initialLr of ${initialLr} is refused where it comes in`, () => {
    const kind = typeof initialLr === "number" ? RangeError : TypeError;
    const group = { params: [{ data: new Float32Array(1), grad: null }], lr: 1, initialLr };
    assertThrows(() => new SGD([group as never], { lr: 1 }), kind, "Cannot set initialLr");
    const { optimizer } = optimizerOf([1]);
    const dict = optimizer.stateDict();
    const broken = { ...dict, param_groups: [{ ...dict.param_groups[0], initial_lr: initialLr }] };
    const message = assertThrows(() => optimizer.loadStateDict(broken as never), kind).message;
    assertStringIncludes(message, "Cannot set initialLr");
    assertStringIncludes(message, "in param_groups[0]");
    assertEquals(optimizer.stateDict(), dict);
  });
}
