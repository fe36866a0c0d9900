/** What ranks do together, and that they notice when they do not, under each engine. */

import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { openWorld } from "@descent/sgd/mpi";
import { ENGINES, runJob, testOn } from "./jobs.ts";
import type { JobEnding } from "./jobs.ts";

/** Sums of the elements of ranks 0, 1, ... in this order, each rounded to float32. */
function orderedSum(size: number, of: (rank: number) => number): number {
  let sum = Math.fround(of(0));
  for (let rank = 1; rank < size; rank++) sum = Math.fround(sum + Math.fround(of(rank)));
  return sum;
}

/** Element `i` of rank `rank`: sums of these depend on their order. */
const element = (rank: number, i: number) => Math.fround((i % 97 + 1) * 10 ** ((rank * 3 + i) % 7));

function assertEnded(ending: JobEnding, code: number): void {
  assertEquals(ending.code, code, ending.err);
}

Deno.test("without a launcher the world has one rank, and needs no library", () => {
  using world = openWorld({ library: "/no/such/library" });
  const { rank, size, localRank, localSize, engine } = world;
  assertEquals({ rank, size, localRank, localSize, engine }, {
    ...{ rank: 0, size: 1, localRank: 0, localSize: 1, engine: "none" },
  });
  assertEquals(world.gather("a"), ["a"]);
  assertEquals(world.sum(new Float32Array([2])), new Float32Array([2]));
  world.barrier();
  assertThrows(() => world.broadcast(new Float32Array(1), 1), RangeError, "from 0 to 0");
});

for (
  const [name, options, message] of [
    ["an unknown option", { libraries: "x" }, 'Cannot read option "libraries"'],
    ["a timeout of 0", { timeout: 0 }, "Cannot set timeout"],
    ["a library that is not a string", { library: 1 }, "Cannot set library"],
  ] as const
) {
  Deno.test(`openWorld refuses ${name}`, () => {
    // deno-lint-ignore no-explicit-any
    assertThrows(() => openWorld(options as any), Error, message);
  });
}

for (const engine of ENGINES) {
  for (const size of engine === "files" ? [3] : [2, 4]) {
    testOn(engine, `${size} ranks sum up in their order, broadcast and gather`, async () => {
      const ending = await runJob(
        engine,
        size,
        `
        using world = openWorld();
        const element = ${element};
        const hash = (a: Float32Array) => {
          let h = 0;
          for (const bits of new Uint32Array(a.buffer)) h = Math.imul(h ^ bits, 16777619) >>> 0;
          return h;
        };
        for (const n of [0, 1, 17, 5000, 3_000_001]) {
          const values = Float32Array.from({ length: n }, (_, i) => element(world.rank, i));
          say(hash(world.sum(values)));
        }
        say(world.broadcast(Float32Array.of(world.rank, 7), 1)[0]);
        say(world.gather(\`rank \${world.rank}\`).join());
        world.barrier();
        say(world.engine !== "none" && world.size);
        `,
      );
      assertEnded(ending, 0);
      const hashes = [0, 1, 17, 5000, 3_000_001].map((n) => {
        const sums = Float32Array.from(
          { length: n },
          (_, i) => orderedSum(size, (rank) => element(rank, i)),
        );
        let h = 0;
        for (const bits of new Uint32Array(sums.buffer)) h = Math.imul(h ^ bits, 16777619) >>> 0;
        return h;
      });
      const names = Array.from({ length: size }, (_, rank) => `rank ${rank}`).join();
      for (const out of ending.out) {
        assertEquals(out.split("\n"), [...hashes.map(String), "1", names, `${size}`]);
      }
    });
  }

  const both = (body: string) => `
    using world = openWorld();
    try {
      ${body}
    } catch (error) {
      say(\`\${error.name}: \${error.message}\`);
    }
  `;
  const refusals: Readonly<Record<string, { body: string; message: string }>> = {
    "arrays of different lengths": {
      body: "world.sum(new Float32Array(3 + world.rank));",
      message: "WorldError: Cannot sum as the length of the array is 3 on rank 0 and 4 on rank 1",
    },
    "different calls": {
      body: "world.rank === 0 ? world.barrier() : world.gather('x');",
      message:
        "WorldError: Cannot wait at a barrier as rank 0 waits at a barrier while rank 1 gathers",
    },
    "different sources": {
      body: "world.broadcast(new Uint8Array(2), world.rank);",
      message: "WorldError: Cannot broadcast as rank 0 takes the elements of rank 0 and " +
        "rank 1 takes the elements of rank 1",
    },
  };
  for (const [name, { body, message }] of Object.entries(refusals)) {
    testOn(engine, `${name} are an error with the same message on all ranks`, async () => {
      const ending = await runJob(engine, 2, both(`${body}`) + "\nworld.barrier(); say('on');");
      assertEnded(ending, 0);
      assertEquals(ending.out, [`${message}\non`, `${message}\non`]);
    });
  }

  const ends: Readonly<Record<string, { program: string; error: RegExp; code?: number }>> = {
    "a rank that returns early": {
      program: "using world = openWorld(); if (world.rank === 0) world.barrier();",
      error: /WorldError: Cannot wait at a barrier as rank 1 has ended before its first step/,
    },
    "a rank that exits with 0": {
      program: "const world = openWorld(); if (world.rank === 1) Deno.exit(0); world.barrier();",
      error: /WorldError: Cannot wait at a barrier as rank 1 has ended before its first step/,
    },
    "a rank that throws beneath using": {
      program: `using world = openWorld();
        if (world.rank === 1) throw new Error("no data");
        world.barrier();`,
      error: /rank 1 has ended[^]*no data|no data[^]*rank 1 has ended/,
    },
    "a rank that throws without using": {
      program: `const world = openWorld();
        if (world.rank === 1) throw new Error("no data");
        world.barrier();`,
      error: /rank 1 has failed before its first step: Error: no data/,
    },
    "a rank that rejects": {
      program: `const world = openWorld();
        if (world.rank === 1) await Promise.reject(new RangeError("no data"));
        world.barrier();`,
      error: /rank 1 has failed before its first step: RangeError: no data/,
    },
  };
  for (const [name, { program, error }] of Object.entries(ends)) {
    testOn(engine, `${name} ends the others with an error`, async () => {
      const ending = await runJob(engine, 2, program);
      assert(ending.code !== 0, "the job has exit code 0");
      assertMatch(ending.err, error);
      assert(engine === "files" || ending.milliseconds < 5000, `${ending.milliseconds} ms`);
    });
  }

  testOn(engine, "ranks that all return at different times end well", async () => {
    const program = "using world = openWorld(); await pause(world.rank * 300); say('end');";
    const ending = await runJob(engine, 2, program);
    assertEnded(ending, 0);
    assertEquals(ending.out, ["end", "end"]);
  });
}

testOn(
  "files",
  "a library that does not know its launcher is an error that names both",
  async () => {
    const ending = await runJob("files", 2, "openWorld();", { FAKE_MPI_SIZE: "1" });
    assert(ending.code !== 0);
    assertMatch(
      ending.err,
      /WorldError: Cannot open the world as the launcher of MPICH has started 2 /,
    );
    assertMatch(ending.err, /libfake_mpi\.\w+, Fake MPI 1\.0, of files, knows of 1/);
  },
);

testOn(
  "files",
  "a library that is alone although its launcher gave a rank is an error",
  async () => {
    const program = `using world = openWorld(); say(world.size + world.engine);`;
    const ending = await runJob("files", 2, program, { FAKE_MPI_SIZE: "1", PMI_SIZE: "" });
    assertMatch(ending.out[0], /^1Fake MPI/);
    assertMatch(
      ending.err,
      /WorldError: .* MPICH has started this process as rank 1 .* knows of 1:/,
    );
  },
);

testOn("files", "a library that is not there is named", async () => {
  const ending = await runJob("files", 2, "openWorld();", { DESCENT_MPI: "/no/libmpi.so" });
  assertMatch(ending.err, /WorldUnavailableError: .*\/no\/libmpi\.so/);
});

testOn("files", "a library that cannot be called from several threads is refused", async () => {
  const ending = await runJob("files", 2, "openWorld();", { FAKE_MPI_THREADS: "0" });
  assertMatch(ending.err, /WorldUnavailableError: .*several threads/);
});

testOn("files", "a second world is refused", async () => {
  const program = `using world = openWorld();
    try { openWorld(); } catch (error) { say(error.message); }`;
  const ending = await runJob("files", 2, program);
  assertMatch(ending.out[0], /this process has opened it before/);
});
