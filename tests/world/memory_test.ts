/** What a rank takes of memory, by the pages that are resident. */

import { assert } from "@std/assert";
import { ENGINES, runJob, testOn } from "./jobs.ts";

const LENGTH = 8_000_000;
const MIB = 2 ** 20;

/** Each rank says how many bytes an optimizer takes that has stepped, without momentum and with it. */
const PROGRAM = (exchange: string) => `
  using world = openWorld();
  const make = () => new Float32Array(${LENGTH}).fill(1);
  const params = [{ data: make(), grad: make() }];
  const resident = () => {
    const status = Deno.readTextFileSync("/proc/self/status");
    return 1024 * Number(/^RssAnon:\\s+(\\d+) kB$/m.exec(status)[1]);
  };
  for (const momentum of [0, 0.9]) {
    const before = resident();
    new SGD(params, { lr: 0.1, momentum, world, exchange: "${exchange}" }).step();
    say(resident() - before);
  }
`;

/** Keeps glibc from using freed memory again, which would hide some. */
const ENV = { MALLOC_MMAP_THRESHOLD_: "131072" };

const obstacle = Deno.build.os === "linux" ? null : "it needs Linux, which counts resident pages";

for (const engine of ENGINES) {
  for (
    const [exchange, size, share] of [
      ["shards", 2, 1 / 2],
      ["shards", 4, 1 / 4],
      ["gradients", 2, 1],
    ] as const
  ) {
    const part = share === 1 ? "all" : `1/${size}`;
    testOn(
      engine,
      `${size} ranks with "${exchange}" have ${part} of the momentum each`,
      async () => {
        const { out, code, err } = await runJob(engine, size, PROGRAM(exchange), ENV);
        assert(code === 0, err);
        for (const rank of out) {
          const [staging, momentum] = rank.split("\n").map(Number);
          const expected = 4 * LENGTH * share;
          assert(momentum > 0.95 * expected && momentum < expected + MIB, `momentum: ${momentum}`);
          assert(staging < 3 * MIB, `staging: ${staging}`);
        }
      },
      obstacle,
    );
  }
}
