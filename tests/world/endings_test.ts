/** Ranks that never start, fail, are aborted or end in a way of their own, under each engine. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { OPERATIONS } from "../../src/world/header.ts";
import { ENGINES, runJob, testOn } from "./jobs.ts";
import type { Engine } from "./jobs.ts";

/** How long a job may take besides what it waits for on purpose, in milliseconds. */
const MOST = 4000;

/** A job of two ranks, and how it ends. */
interface End {
  readonly program: string;
  /** What is on the standard error output, all of it. */
  readonly err?: readonly RegExp[];
  /** What each rank says; null for anything. */
  readonly out?: readonly (string | null)[];
  /** Whether the job is to end well. @default {false} */
  readonly isWell?: boolean;
  /** Milliseconds that it waits on purpose. @default {0} */
  readonly waits?: number;
  /** Engines on which it can be arranged. @default all */
  readonly engines?: readonly Engine[];
  readonly env?: Readonly<Record<string, string>>;
}

const OPEN = "const world = openWorld({ timeout: 1000 }); const { rank } = world;";
const UNLOAD = (body: string) => `addEventListener("unload", (event) => { ${body} });`;
const LAUNCHED: readonly Engine[] = ["Open MPI", "MPICH"];
const LATE = /Cannot leave the job as rank 0 has not answered rank 1 for 1 s, the timeout of the/;
const STEPPER = `
  const w = { data: new Float32Array(4), grad: new Float32Array(4).fill(1) };
  const optimizer = new SGD([w], { lr: 1, world });`;

const ENDS: Readonly<Record<string, End>> = {
  "a rank that ends before openWorld ends those who wait in it": {
    program: `if (rankOf() === "1") Deno.exit(0); ${OPEN}`,
    err: [
      /Cannot open the world as other ranks of the job have not opened it within 1 s of rank 0/,
    ],
    waits: 1000,
    engines: LAUNCHED,
  },
  "a rank that cannot open the world ends those who wait in it": {
    program: `openWorld(rankOf() === "1" ? { library: "/no/such/libmpi.so" } : { timeout: 1000 });`,
    err: [/WorldUnavailableError: Cannot open the world as .*\/no\/such\/libmpi.so/],
    waits: 1000,
  },
  "a rank that throws prints its error at once, and does not wait for one that is stuck": {
    program: `${OPEN} await pause(100); if (rank === 1) throw new Error("no data"); for (;;);`,
    err: [/Error: no data[^]*Cannot leave the job/, LATE],
    waits: 1000,
    engines: LAUNCHED,
  },
  "an error whose default is prevented later does not end a rank": {
    program: `${OPEN}
      for (const kind of ["error", "unhandledrejection"]) {
        addEventListener(kind, (event) => event.preventDefault());
      }
      if (rank === 1) {
        Promise.reject(new Error("prevented"));
        setTimeout(() => { throw new Error("prevented"); });
      }
      await pause(50);
      world.barrier();
      say("on");
      world[Symbol.dispose]();`,
    out: ["on", "on"],
    isWell: true,
  },
  "what has no text is thrown": {
    program: `${OPEN}
      if (rank === 1) setTimeout(() => { throw Object.create(null); });
      await pause(50);
      world.barrier();`,
    err: [
      /Cannot wait at a barrier as rank 1 has failed before its .*: something that has no text/,
    ],
  },
  "a listener of error that exits": {
    program: `${OPEN}
      addEventListener("error", () => Deno.exit(3));
      if (rank === 1) setTimeout(() => { throw new Error("no data"); });
      await pause(50);
      world.barrier();`,
    err: [/Rank 1 has failed: Error: no data/],
  },
  "an earlier listener of unload that exits": {
    program: `if (rankOf() === "1") ${UNLOAD("Deno.exit(0);")}
      ${OPEN} if (rank === 0) world.barrier();`,
    err: [/Cannot leave the job as this process ends without a goodbye/],
    engines: LAUNCHED,
  },
  "an earlier listener of unload that stops the others": {
    program: `if (rankOf() === "1") ${UNLOAD("event.stopImmediatePropagation();")}
      ${OPEN} if (rank === 0) world.barrier();`,
    err: [/Cannot leave the job as this process ends without a goodbye/],
    engines: LAUNCHED,
  },
  "abort does not wait for the rank's own stepAsync": {
    program: `const world = openWorld(); ${STEPPER}
      if (world.rank === 1) await pause(20_000);
      else { optimizer.stepAsync(); await pause(100); world.abort("enough"); }`,
    err: [/enough/],
    engines: LAUNCHED,
  },
  "an error of one rank's native library in the middle of something ends all": {
    program: `import { openLink } from "${new URL("../../src/world/link.ts", import.meta.url)}";
      const link = openLink("", 10_000);
      const { rank } = link.position;
      link.broadcast(new Uint8Array(4), rank === 1 ? 7 : 1);
      say("on");`,
    err: [
      /Cannot broadcast as there is no such rank \(on rank 1, before its first step\): all ranks/,
    ],
    out: ["", ""],
    engines: LAUNCHED,
  },
  "a message that MPI refuses once it is on its way ends all": {
    program: `${OPEN} ${STEPPER} optimizer.step(); say("stepped"); optimizer.step(); say("on");`,
    err: [/Cannot step as MPI refuses it on rank \d, at step 1: a fake error: all ranks are ended/],
    out: ["stepped", "stepped"],
    engines: ["files"],
    env: { FAKE_MPI_REFUSE: "9" },
  },
  "a deadline says what the ranks were about to do": {
    program: `${OPEN} if (rank === 1) await pause(20_000); world.sum(new Float32Array(3));`,
    err: [
      /Cannot sum as rank 1 has not answered rank 0 for 1 s, .*, before its first step: all ranks/,
    ],
    waits: 1000,
    engines: LAUNCHED,
  },
};

for (const engine of ENGINES) {
  for (const [name, end] of Object.entries(ENDS)) {
    if (!(end.engines ?? ENGINES).includes(engine)) continue;
    testOn(engine, name, async () => {
      const { program, err = [], out = [], isWell = false, waits = 0, env } = end;
      const ending = await runJob(engine, 2, program, env);
      assertEquals(ending.code === 0, isWell, ending.err);
      for (const text of err) assertMatch(ending.err, text);
      out.forEach((text, rank) =>
        text === null || assertEquals(ending.out[rank], text, ending.err)
      );
      assert(ending.milliseconds < MOST + waits, `it took ${ending.milliseconds} ms`);
    });
  }

  testOn(engine, "a job of one process is a world without MPI", async () => {
    const program = `using world = openWorld({ timeout: 1e300 });
      say([world.rank, world.size, world.engine].join());
      const make = () => ({ data: new Float32Array(3), grad: new Float32Array(3).fill(1) });
      new SGD([make()], { lr: 0.1, world, backend: "js" }).step();
      const w = make();
      const optimizer = new SGD([w], { lr: 0.1, momentum: 0.5, world, exchange: "shards" });
      optimizer.step({ addGradients: [[new Float32Array(3)]], maxNorm: 1, normType: 1 });
      say(optimizer.state.get(w).momentumBuffer.length);
      for (const more of [{ exchange: "signs" }, { exchange: "all" }]) {
        try { new SGD([make()], { lr: 0.1, world, ...more }); } catch (error) { say(error.name); }
      }`;
    const ending = await runJob(engine, 1, program, { DESCENT_MPI: "/no/such/libmpi.so" });
    assertEquals(ending.code, 0, ending.err);
    assertEquals(ending.out, ["0,1,none\n3\nTypeError\nTypeError"]);
  });

  testOn(engine, "arrays are what they are, and texts keep their first mark", async () => {
    const program = `using world = openWorld();
      const array = new Float32Array(4).fill(world.rank + 1);
      for (const name of ["length", "byteLength", "byteOffset"]) {
        Object.defineProperty(array, name, { value: 50_000_000 });
      }
      say(world.sum(array)[3]);
      world.broadcast(array, 1);
      const gone = new Float32Array(2);
      gone.buffer.transfer();
      try { world.sum(gone); } catch (error) { say(error.name + ": " + error.message); }
      say(world.gather("\ufeffx").every((text) => text === "\ufeffx"));`;
    const ending = await runJob(engine, 2, program);
    const expected = "3\nTypeError: Cannot sum as the array has been detached\ntrue";
    assertEquals(ending.out, [expected, expected], ending.err);
  });
}

Deno.test("a deadline has words for everything that ranks do together", async () => {
  const file = new URL("../../kernels/src/world/header.rs", import.meta.url);
  const [, list] = /const WORDS[^=]*= \[([^\]]*)\]/.exec(await Deno.readTextFile(file))!;
  assertEquals(list.match(/"[^"]+"/g)?.length, Object.keys(OPERATIONS).length);
});
