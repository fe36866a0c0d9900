/** A scheduler that steps before its optimizer warns once, when torch does. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { GradScaler } from "@descent/sgd";
import { exponentialLR, LRScheduler, ReduceLROnPlateau } from "@descent/sgd/schedules";
import type { LRSchedulerOptions } from "@descent/sgd/schedules";
import { optimizerOf } from "./golden.ts";

const halve = exponentialLR({ gamma: 0.5 });

/** The warnings that something prints. */
async function warningsOf(body: () => unknown): Promise<string[]> {
  const { warn } = console;
  const warnings: string[] = [];
  console.warn = (...data: unknown[]) => void warnings.push(data.join(" "));
  try {
    await body();
  } finally {
    console.warn = warn;
  }
  return warnings;
}

/** An optimizer, and schedulers of it. */
function start(options?: LRSchedulerOptions) {
  const { optimizer } = optimizerOf([1]);
  return { optimizer, scheduler: new LRScheduler(optimizer, halve, options) };
}

/** What is done, and how often torch 2.13 warns. */
const CASES: [string, number, () => unknown][] = [
  ["the scheduler steps first", 1, () => {
    const { optimizer, scheduler } = start();
    for (let i = 0; i < 3; i++) {
      scheduler.step();
      optimizer.step();
    }
  }],
  ["the optimizer never steps", 1, () => {
    const { scheduler } = start();
    for (let i = 0; i < 3; i++) scheduler.step();
  }],
  ["the optimizer steps first", 0, () => {
    const { optimizer, scheduler } = start();
    optimizer.step();
    for (let i = 0; i < 3; i++) scheduler.step();
  }],
  ["the optimizer has stepped before the scheduler was made", 1, () => {
    const { optimizer } = optimizerOf([1]);
    optimizer.step();
    new LRScheduler(optimizer, halve).step();
  }],
  ["another scheduler was there when it stepped", 0, () => {
    const { optimizer } = start();
    optimizer.step();
    new LRScheduler(optimizer, halve).step();
  }],
  ["two schedulers step first", 2, () => {
    const { optimizer, scheduler } = start();
    const other = new LRScheduler(optimizer, halve);
    for (const each of [scheduler, other, scheduler, other]) each.step();
  }],
  ["the scheduler has resumed", 0, () => {
    const { scheduler } = start();
    scheduler.loadStateDict({ last_epoch: 2, base_lrs: [1], _last_lr: [0.25] });
    scheduler.step();
  }],
  ["the state is of the beginning", 1, () => {
    const { scheduler } = start();
    scheduler.loadStateDict({ last_epoch: 0, base_lrs: [1], _last_lr: [1] });
    scheduler.step();
  }],
  ["a plateau steps first", 0, () => {
    const { optimizer } = optimizerOf([1]);
    new ReduceLROnPlateau(optimizer).step(1);
  }],
];

for (const [what, count, body] of CASES) {
  Deno.test(`a scheduler warns as often as torch's: ${what}`, async () => {
    assertEquals((await warningsOf(body)).length, count);
  });
}

Deno.test("the warning says what to do, and can be turned off", async () => {
  const [warning] = await warningsOf(() => start().scheduler.step());
  assert(warning.includes("call optimizer.step() before scheduler.step()"), warning);
  assert(warning.includes("{ warn: false }"), warning);
  assertEquals(await warningsOf(() => start({ warn: false }).scheduler.step()), []);
  assertEquals((await warningsOf(() => start({}).scheduler.step())).length, 1);
  assertThrows(() => start({ warn: 0 } as never), TypeError, "Cannot set warn as it must be true");
  assertThrows(() => start({ verbose: true } as never), TypeError, 'option "verbose"');
});

Deno.test("steps that are skipped or still running count", async () => {
  const skipped = await warningsOf(() => {
    const { optimizer, scheduler } = start();
    optimizer.paramGroups[0].params[0].grad![0] = NaN;
    new GradScaler().step(optimizer);
    assert(optimizer.lastStep!.skipped);
    scheduler.step();
  });
  const running = await warningsOf(async () => {
    const { optimizer, scheduler } = start();
    const step = optimizer.stepAsync();
    scheduler.step();
    await step;
  });
  assertEquals([skipped, running], [[], []]);
});

Deno.test("a jump does not warn, and neither does what follows it", async () => {
  const warnings = await warningsOf(() => {
    const { scheduler } = start();
    scheduler.stepTo(3);
    scheduler.step();
  });
  assertEquals(warnings, []);
});

Deno.test("what does not say whether it has stepped is not warned of", async () => {
  const warnings = await warningsOf(() => {
    new LRScheduler({ paramGroups: [{ lr: 1, momentum: 0 }] }, halve).step();
  });
  assertEquals(warnings, []);
});
