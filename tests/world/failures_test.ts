/** How jobs end: each row of the table in `docs/distributed.md`, with its text, on the ranks that see it. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { ENGINES, runJob, testOn } from "./jobs.ts";
import type { JobEnding } from "./jobs.ts";

/** How long a job may take until all of its ranks have ended, in milliseconds. */
const MOST = 5000;

/** What a job that is meant to fail does. `w` is a parameter, `optimizer` steps it in the world. */
interface Failure {
  /** What all ranks run; what is thrown is said with `told`, and thrown again. */
  readonly body: string;
  /** What a rank says of the error that it sees, by rank; null for nothing. */
  readonly told?: readonly (RegExp | null)[];
  /** What is on the standard error output. */
  readonly err?: RegExp;
  /** What is in front of the body. */
  readonly world?: string;
  /** Elements of `w` on all ranks at the end, if any rank says them. */
  readonly data?: string;
  /** The exit code of the job, if it has to be this one. */
  readonly code?: number;
}

const OPEN = "using world = openWorld();";
const OPEN_WITHOUT_USING = "const world = openWorld();";

const program = ({ body, world = OPEN }: Failure) => `
import { GradScaler, saveState } from "${new URL("../../mod.ts", import.meta.url)}";
${world}
const { rank } = world;
const make = (length = 3) => ({ name: "w", data: new Float32Array(length), grad: new Float32Array(length).fill(1) });
const w = make();
const optimizer = new SGD([w], { lr: 1, momentum: 0.5, world });
const steps = (count: number) => { for (let i = 0; i < count; i++) optimizer.step(); };
try {
  ${body}
} catch (error) {
  say("threw " + error.name + ": " + error.message);
  say("data " + w.data.join());
  throw error;
}
`;

const both = (text: RegExp) => [text, text];

/** Rows that end the job. */
const FAILURES: Readonly<Record<string, Failure>> = {
  "parameters of other lengths": {
    body: "new SGD([make(10007 + rank)], { lr: 1, world });",
    told: both(
      /Cannot add parameters as the parameters differ between the ranks: parameter 0 \("w"\) has 10007 elements on rank 0 and 10008 on rank 1/,
    ),
    data: "0,0,0",
  },
  "parameters that change their length on one rank": {
    body: `if (rank === 1) { w.data = new Float32Array(4); w.grad = new Float32Array(4); }
      optimizer.step();`,
    told: both(/Cannot step as the parameters differ .*"w"\) has 3 elements on rank 0 and 4 on/),
  },
  "parameters of other types": {
    body: `const data = rank === 0 ? new Float32Array(2) : new Float64Array(2);
      new SGD([{ data, grad: null }], { lr: 1, world });`,
    told: both(/the type of parameter 0 is float32 on rank 0 and float64 on rank 1/),
  },
  "parameters of other names": {
    body: `new SGD([{ ...make(), name: "abc"[rank] }], { lr: 1, world });`,
    told: both(/parameter 0 is called "a" on rank 0 and "b" on rank 1/),
  },
  "another number of parameters": {
    body:
      "new SGD(Array.from({ length: 1 + rank }, () => ({ ...make(), name: undefined })), { lr: 1, world });",
    told: both(/the optimizer has 1 parameter on rank 0 and 2 parameters on rank 1/),
  },
  "a group that one rank adds": {
    body: `if (rank === 1) optimizer.addParamGroup({ params: [{ ...make(), name: "v" }] });
      else optimizer.step();`,
    told: both(/as rank 0 steps while rank 1 adds parameters/),
    data: "0,0,0",
  },
  "a schedule that one rank has advanced": {
    body: "if (rank === 0) optimizer.paramGroups[0].lr = 0.1; optimizer.step();",
    told: both(/hyperparameters differ .* lr of group 0 is 0.1 on rank 0 and 1 on rank 1/),
    data: "0,0,0",
  },
  "another option of a step": {
    body: "optimizer.step({ gradScale: 1 + rank });",
    told: both(/options differ between the ranks: gradScale is 1 on rank 0 and 2 on rank 1/),
    data: "0,0,0",
  },
  "a gradient that is null on one rank": {
    body: "if (rank === 1) w.grad = null; optimizer.step();",
    told: both(/grad of parameter 0 \("w"\) is an array on rank 0 and null on rank 1: use zeros/),
    data: "0,0,0",
  },
  "fewer batches on one rank": {
    body: "steps(6 - rank);",
    told: [/WorldError: Cannot step as rank 1 has ended at step 5/, null],
    code: 1,
  },
  "Deno.exit(0) on one rank": {
    body: "steps(3); if (rank === 1) Deno.exit(0); optimizer.step();",
    told: [/WorldError: Cannot step as rank 1 has ended at step 3/, null],
    code: 1,
  },
  "Deno.exit(3) on one rank": {
    body: "steps(3); if (rank === 1) Deno.exit(3); optimizer.step();",
    told: [/WorldError: Cannot step as rank 1 has ended at step 3/, null],
  },
  "a rank that throws, with using": {
    body: 'steps(5); if (rank === 1) throw new Error("no data"); optimizer.step();',
    told: [/WorldError: Cannot step as rank 1 has ended at step 5/, /no data/],
    err: /Error: no data/,
  },
  "a rank that throws, without using": {
    world: OPEN_WITHOUT_USING,
    body: 'steps(5); if (rank === 1) throw new Error("no data"); optimizer.step();',
    told: [/WorldError: Cannot step as rank 1 has failed at step 5: Error: no data/, /no data/],
    err: /Error: no data/,
  },
  "a promise that rejects on one rank": {
    world: OPEN_WITHOUT_USING,
    body: `steps(5);
      if (rank === 1) { Promise.reject(new RangeError("no data")); await pause(10_000); }
      optimizer.step();`,
    told: [/WorldError: Cannot step as rank 1 has failed at step 5: RangeError: no data/, null],
    err: /RangeError: no data/,
  },
  "saveState of a sharded optimizer on rank 0 only": {
    body: `const sharded = new SGD([make()], { lr: 1, momentum: 0.5, world, exchange: "shards" });
      sharded.step();
      if (rank === 0) await saveState("/nowhere/state", sharded);
      else sharded.step();`,
    told: both(/WorldError: Cannot save as rank 0 saves while rank 1 steps/),
  },
  "another exchange on one rank": {
    body: 'new SGD([make()], { lr: 1, world, exchange: rank === 0 ? "gradients" : "shards" });',
    told: both(/exchange is "gradients" on rank 0 and "shards" on rank 1/),
  },
  "a rank that is killed": {
    body: 'steps(2); if (rank === 1) Deno.kill(Deno.pid, "SIGKILL"); steps(2);',
  },
  "a rank that is terminated": {
    body:
      'steps(2); if (rank === 1) { Deno.kill(Deno.pid, "SIGTERM"); await pause(10_000); } steps(2);',
  },
  "a rank that is stuck": {
    world: "using world = openWorld({ timeout: 3000 });",
    body: "steps(2); if (rank === 1) await pause(20_000); steps(1);",
    err:
      /Cannot step as rank 1 has not answered rank 0 for 3 s, the timeout of the world, at step 2: all ranks/,
  },
  "a rank that computes without end": {
    world: "using world = openWorld({ timeout: 3000 });",
    body: "steps(2); if (rank === 1) for (;;); steps(1);",
    err:
      /Cannot step as rank 1 has not answered rank 0 for 3 s, the timeout of the world, at step 2: all ranks/,
  },
};

/** Rows whose ranks are ended by the launcher, which the library of files does not have. */
const NEEDS_LAUNCHER = /killed|terminated|stuck|without end/;

function check(name: string, failure: Failure, ending: JobEnding): void {
  const { told = [], err, data, code } = failure;
  assert(ending.code !== 0, `the job has exit code 0: ${ending.err}`);
  if (code !== undefined) assertEquals(ending.code, code, ending.err);
  told.forEach((text, rank) => {
    const lines = ending.out[rank].split("\n");
    const threw = lines.find((line) => line.startsWith("threw ")) ?? null;
    if (text === null) assertEquals(threw, null, `rank ${rank} of ${name}`);
    else assertMatch(threw ?? "nothing", text, `rank ${rank} of ${name}: ${ending.err}`);
    if (data !== undefined) assert(lines.includes(`data ${data}`), `rank ${rank} has written`);
  });
  if (err !== undefined) assertMatch(ending.err, err);
}

for (const engine of ENGINES) {
  for (const [name, failure] of Object.entries(FAILURES)) {
    if (engine === "files" && NEEDS_LAUNCHER.test(name)) continue;
    testOn(engine, `${name}: an error in words, on the ranks that see it`, async () => {
      const ending = await runJob(engine, 2, program(failure));
      check(name, failure, ending);
      assert(ending.milliseconds < MOST, `it took ${ending.milliseconds} ms`);
    });
  }
}

/** Programs whose ranks end well. */
const WELL: Readonly<Record<string, string>> = {
  "without using": "const world = openWorld(); world.barrier(); say('end');",
  "without using, by Deno.exit(0)": `const world = openWorld();
    world.barrier();
    console.log("[" + world.rank + "] end");
    Deno.exit(0);`,
  "while another computes for longer than the timeout": `
    using world = openWorld({ timeout: 1000 });
    if (world.rank === 0) for (const end = Date.now() + 2000; Date.now() < end;);
    say("end");`,
};

for (const engine of ENGINES) {
  for (const [name, program] of Object.entries(WELL)) {
    testOn(engine, `ranks that end well have exit code 0: ${name}`, async () => {
      const { code, out, err } = await runJob(engine, 2, program);
      assertEquals([code, ...out], [0, "end", "end"], err);
    });
  }
}
