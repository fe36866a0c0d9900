/** Schedules against the learning rates that torch's schedulers set. */

import { assert, assertEquals } from "@std/assert";
import { LRScheduler, ReduceLROnPlateau } from "@descent/sgd/schedules";
import { courses, optimizerOf, plateaus, schedulesOf } from "./golden.ts";
import type { Course } from "./golden.ts";

/** Cosines and powers of V8 and of torch's Python differ in the last bit, which steps add up. */
const TOLERANCE = 1e-12;

/** Compares with torch's numbers, which may be below zero where rounding or a line takes them. */
function assertClose(found: number, torchs: number, exact: boolean, where: string): void {
  const expected = Math.max(0, torchs);
  const isClose = exact
    ? found === expected
    : Math.abs(found - expected) <= TOLERANCE * Math.max(found, expected);
  assert(isClose, `${found} for ${torchs} ${where}`);
}

/** Compares all groups with the rows of a course, if the step has one. */
function assertRow(course: Course, step: number, what: "lr" | "momentum", found: number[]): void {
  const row = course[what]?.[course.at.indexOf(step)];
  for (const [i, torchs] of row?.entries() ?? []) {
    assertClose(found[i], torchs, course.exact, `in group ${i} at step ${step}`);
  }
}

for (const course of courses) {
  const name = JSON.stringify(course.schedule);
  const last = course.at.at(-1)!;
  Deno.test(`a scheduler sets torch's learning rates, step by step: ${name}`, () => {
    const { optimizer } = optimizerOf(course.lrs);
    const scheduler = new LRScheduler(optimizer, schedulesOf(course), { warn: false });
    for (let step = 0; step <= last; step++) {
      if (step > 0) scheduler.step();
      assertEquals(scheduler.lastEpoch, step);
      assertEquals(scheduler.lastLr, optimizer.paramGroups.map(({ lr }) => lr));
      assertRow(course, step, "lr", scheduler.lastLr);
      assertRow(course, step, "momentum", optimizer.paramGroups.map(({ momentum }) => momentum));
    }
  });

  Deno.test(`jumping to a step equals stepping there, in any order: ${name}`, () => {
    const { optimizer } = optimizerOf(course.lrs);
    const scheduler = new LRScheduler(optimizer, schedulesOf(course), { warn: false });
    const walked = [scheduler.lastLr];
    for (let step = 1; step <= last; step++) walked.push((scheduler.step(), scheduler.lastLr));
    const jumped = schedulesOf(course);
    const steps = [...course.at, ...course.at.toReversed(), 3, 1, 2].filter((at) => at <= last);
    for (const step of steps) {
      const lrs = jumped.map((schedule, i) => schedule(step, course.lrs[i]));
      assertEquals(lrs, walked[step]);
    }
    const shared = course.lrs.map((lr) => jumped[0](last, lr));
    const fresh = course.lrs.map((lr) => schedulesOf(course)[0](last, lr));
    assertEquals(shared, fresh);
  });
}

for (const { plateau, lrs, metrics, rows } of plateaus) {
  Deno.test(`a plateau reduces as torch does: ${JSON.stringify(plateau)}`, () => {
    const { optimizer } = optimizerOf(lrs);
    const scheduler = new ReduceLROnPlateau(optimizer, plateau);
    let reductions = 0;
    for (const [i, [expected, best, bad, cooldown]] of rows.entries()) {
      const before = scheduler.lastLr;
      scheduler.step(Number(metrics[i]));
      reductions += Number(String(before) !== String(expected));
      assertEquals(scheduler.lastLr, expected, `after metric ${i}`);
      assertEquals(optimizer.paramGroups.map(({ lr }) => lr), expected);
      assertEquals(scheduler.stateDict(), {
        last_epoch: i + 1,
        _last_lr: expected,
        best: Number(best),
        num_bad_epochs: bad,
        cooldown_counter: cooldown,
      });
    }
    assert(reductions > 0, "it never reduced");
  });
}
