/** Calls of the native library on another thread. */

import { assertEquals, assertRejects } from "@std/assert";
import { createLater } from "../../src/world/link.ts";

const HEADERS = { own: new Uint8Array(64), all: new Uint8Array(128) };
const TABLES = { rows: new BigUint64Array(0), count: 0, groupCount: 0, inPlace: false };
const WORK = { what: "step", tables: TABLES, measure: { scale: 1, normType: 2 }, mode: "shards" };

for (
  const [name, later] of Object.entries({
    "throws": () => {
      throw new Error("not made");
    },
    "rejects": () => Promise.reject(new Error("not made")),
  })
) {
  Deno.test(`a call on another thread that ${name} is not waited for`, async () => {
    const owed: number[] = [];
    const symbols = { descent_world_owe: (withdraw: number) => owed.push(withdraw) };
    const pinned = { later, maxPins: () => 0 };
    // deno-lint-ignore no-explicit-any
    const link = createLater({ symbols } as any, symbols as any, pinned as any);
    // deno-lint-ignore no-explicit-any
    await assertRejects(() => link.later(HEADERS, WORK as any), Error, "not made");
    assertEquals(owed, [0, 1]);
  });
}

Deno.test("a call on another thread that has been made takes its announcement back itself", async () => {
  const owed: number[] = [];
  const symbols = { descent_world_owe: (withdraw: number) => owed.push(withdraw) };
  const pinned = { later: () => Promise.resolve(8), maxPins: () => 0 };
  // deno-lint-ignore no-explicit-any
  const link = createLater({ symbols } as any, symbols as any, pinned as any);
  // deno-lint-ignore no-explicit-any
  assertEquals(await link.later(HEADERS, WORK as any), false);
  assertEquals(owed, [0]);
});
