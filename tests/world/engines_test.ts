/** The libraries of MPI: which one a job gets, and what happens with one that does not belong to it. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { diagnose } from "../../doctor.ts";
import { cpuMissing } from "../support/backends.ts";
import { missing, runJob, testOn } from "./jobs.ts";

const STEPS = `
using world = openWorld();
for (const exchange of ["gradients", "shards"]) {
  const w = { data: new Float32Array(10_000), grad: new Float32Array(10_000).fill(world.rank + 1) };
  const optimizer = new SGD([w], { lr: 1, momentum: 0.5, world, exchange });
  optimizer.step();
  await optimizer.stepAsync({ maxNorm: 1e9 });
  world.verify(optimizer);
  say(w.data[9999]);
}
say(world.engine);
`;

testOn("MPI 5", "the library of the MPI 5 standard steps", async () => {
  for (const size of [2, 3]) {
    const ending = await runJob("MPI 5", size, STEPS);
    const value = -2.5 * (size + 1) / 2;
    const expected = new RegExp(`^${value}\\n${value}\\nMPICH 5[.\\d]+$`);
    for (const out of ending.out) assertMatch(out, expected, ending.err);
  }
});

testOn("MPI 5", "a rank that fails under it ends the others", async () => {
  const program = `const world = openWorld();
    if (world.rank === 1) throw new Error("no data");
    world.barrier();`;
  const ending = await runJob("MPI 5", 2, program);
  assert(ending.code !== 0);
  assertMatch(ending.err, /rank 1 has failed before its first step: Error: no data/);
});

const both = missing("Open MPI") ?? missing("MPICH");

for (
  const [launcher, library, version] of [
    ["MPICH", "libmpi.so.40", "Open MPI v"],
    ["Open MPI", "libmpich.so.12", "MPICH Version:"],
  ] as const
) {
  Deno.test({
    name: `the launcher of ${launcher} with ${library} is an error that names both` +
      (both === null ? "" : ` (skipped: ${both})`),
    ignore: both !== null || Deno.build.os !== "linux",
    async fn() {
      const program = `
        try { openWorld(); } catch (error) { say(error.name + ": " + error.message); }`;
      const ending = await runJob(launcher, 2, program, { DESCENT_MPI: library });
      const [first, second] = ending.out;
      assertEquals(first, second);
      const start =
        `WorldError: Cannot open the world as the launcher of ${launcher} has started 2 ` +
        `processes and the library ${library}, ${version}`;
      assertEquals(first.slice(0, start.length), start, ending.err);
      assertMatch(first, /knows of 1: start the job with the launcher that belongs to the library/);
    },
  });
}

Deno.test({
  name: "doctor names the libraries that a job would find, and opens no world",
  ignore: cpuMissing !== null,
  async fn() {
    const found = diagnose().split("\n").filter((line) => line.startsWith("mpi "));
    for (const engine of ["Open MPI", "MPICH"] as const) {
      const line = found.find((line) => line.includes(`${engine}: `)) ?? "";
      const isThere = missing(engine) === null;
      assertMatch(line, isThere ? /: \S+, (Open MPI v|MPICH Version: )\d/ : /./);
    }
    if (both !== null) return;
    const program = `
      import { diagnose } from "${new URL("../../doctor.ts", import.meta.url)}";
      const lines = diagnose().split("\\n").filter((line) => line.startsWith("mpi "));
      for (const line of lines) say(line);
      using world = openWorld();
      say(world.size);
    `;
    const { out: [first], err } = await runJob("MPICH", 2, program);
    assertMatch(
      first,
      /^mpi +started by the launcher of MPICH, 2 processes\nmpi +MPICH: .*MPICH.*\n2$/,
      err,
    );
  },
});
