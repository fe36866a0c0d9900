/** Tests of what a tensor table records as changed, and of what settles it. */

import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { measureMemory } from "../../src/memory/locks.ts";
import { Changes } from "../../src/plan/changes.ts";

/** What the comparisons of a step get: rows, null for all rows, or nothing at all. */
function settle(changes: Changes) {
  const compared: unknown[] = [];
  changes.settleWritten((rows) => compared.push(rows && [...rows]));
  changes.settleGradients(() => compared.push("gradients"));
  return compared;
}

Deno.test("what has changed is compared once, and new gradients without the rest", () => {
  const changes = new Changes();
  assertEquals(settle(changes), [null, "gradients"]);
  assertEquals(settle(changes), []);
  changes.recordGradient(3);
  changes.recordGradient(1);
  assertEquals(settle(changes), [[3, 1], "gradients"]);
  changes.recordGradient(2);
  changes.recordWritten();
  changes.recordGradient(4);
  assertEquals(settle(changes), [null, "gradients"]);
  changes.recordWritten();
  assertEquals(settle(changes), [null]);
  changes.recordRemoved();
  assertEquals(settle(changes), []);
  changes.recordAll();
  assertEquals(settle(changes), [null, "gradients"]);
  assertEquals(settle(changes), []);
});

Deno.test("a comparison that throws leaves its changes recorded", () => {
  const changes = new Changes();
  const fail = () => {
    throw new RangeError("they overlap");
  };
  settle(changes);
  changes.recordGradient(5);
  assertThrows(() => changes.settleWritten(fail), RangeError);
  assertThrows(() => changes.settleGradients(fail), RangeError);
  assertEquals(settle(changes), [[5], "gradients"]);
  changes.recordWritten();
  assertThrows(() => changes.settleWritten(fail), RangeError);
  assertEquals(settle(changes), [null]);
});

Deno.test("native calls and memory are kept until an array changes", () => {
  const ranges = [{ from: 0, to: 1, pins: [] }];
  const memory = measureMemory([new Float32Array(1)]);
  const kinds = [
    (changes: Changes) => changes.recordRemoved(),
    (changes: Changes) => changes.recordWritten(),
    (changes: Changes) => changes.recordGradient(0),
    (changes: Changes) => changes.recordAll(),
  ];
  for (const record of kinds) {
    const changes = new Changes();
    changes.keepCallRanges(ranges);
    changes.keepMemory(memory);
    settle(changes);
    assertStrictEquals(changes.callRanges, ranges);
    assertStrictEquals(changes.memory, memory);
    record(changes);
    assertEquals([changes.callRanges, changes.memory], [null, null]);
  }
});
