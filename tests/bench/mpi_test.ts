import { assertEquals, assertRejects } from "@std/assert";
import type { Job } from "../../bench/mpi/jobs.ts";
import { takeSamples } from "../../bench/mpi/samples.ts";
import { formatMemory, formatPairs, formatSamples } from "../../bench/mpi/tables.ts";

/** A job whose samples take so many nanoseconds, and send so many bytes. */
function createJob(name: string, runs: readonly string[], log: string[], send = () => {}): Job {
  return {
    name,
    ready: { runs, about: name },
    sample(run) {
      log.push(`${name} ${run}`);
      send();
      return Promise.resolve(1000 * log.length);
    },
    close: () => Promise.resolve(void log.push(`${name} ends`)),
  };
}

Deno.test("bench:mpi takes samples of all runs of all jobs in turn", async () => {
  const log: string[] = [];
  const jobs = [createJob("torch", ["gloo"], log), createJob("MPICH", ["shards", "signs"], log)];
  const samples = await takeSamples(jobs, 2);
  const round = ["torch gloo", "MPICH shards", "MPICH signs"];
  assertEquals(log, [...round, ...round, "torch ends", "MPICH ends"]);
  assertEquals(samples.map(({ times }) => times), [[1000, 4000], [2000, 5000], [3000, 6000]]);
});

Deno.test("bench:mpi --link fails if what ranks exchange does not go over the cable", async () => {
  for (
    const [run, bytes, isEnough] of [["shards", 999, false], ["shards", 1000, true], [
      "a step's header",
      64,
      true,
    ]] as const
  ) {
    let sent = 0;
    const jobs = [createJob("MPICH", [run], [], () => sent += bytes)];
    const taking = takeSamples(jobs, 1, { sentBytes: () => sent, least: 1000 });
    if (isEnough) assertEquals((await taking)[0].sent, bytes);
    else {await assertRejects(
        () => taking,
        Error,
        "MPICH: shards over the cable as it has carried 999 bytes",
      );}
  }
});

Deno.test("bench:mpi compares whole steps with torch, and none that are too short", () => {
  const table = formatSamples([
    { job: "torch", run: "gloo", times: [6e6, 8e6, 9e6], sent: 0 },
    { job: "MPICH", run: "shards", times: [4e6, 3e6, 9e6], sent: 0 },
    { job: "MPICH", run: "a step's header", times: [1e3], sent: 0 },
  ]);
  const cells = table.split("\n").slice(2).map((line) => line.split("|").map((it) => it.trim()));
  assertEquals(cells.map((row) => row.slice(1, -1)), [
    ["torch: gloo", "8.00 ms", "6.00 ms", ""],
    ["MPICH: shards", "4.00 ms", "3.00 ms", "2.00"],
    ["MPICH: a step's header", "1.00 us", "1.00 us", ""],
  ]);
});

Deno.test("bench:mpi --link says what a rank sends per step: six steps make up a sample", () => {
  const [{ length }, ...rows] = formatSamples([
    { job: "MPICH", run: "signs", times: [4e6, 3e6], sent: 2 * 6 * 6.25e6 },
    { job: "MPICH", run: "one element", times: [1e3, 1e3], sent: 4000 },
  ]).split("\n").slice(1).map((line) => line.split("|").map((it) => it.trim()));
  assertEquals(rows.map((row) => row[length - 2]), ["6.25", ""]);
});

Deno.test("bench:mpi divides times of one rank, and names what memory is beyond a rank's part", () => {
  const last = (table: string) => table.split("\n").at(-1)!.split("|").map((it) => it.trim());
  const pair = formatPairs([{ what: "2 x 10 elements", withWorld: 210, without: 200 }]);
  assertEquals(last(pair).slice(1, -1), ["2 x 10 elements", "210 ns", "200 ns", "1.05"]);
  const memory = { engine: "MPICH 4.0.2", momentum: 50.5e6, staging: 2 ** 21 + 300_000 };
  assertEquals(last(formatMemory([memory], 25_000_000, 2)).slice(1, -1), [
    ...["MPICH 4.0.2", "50.5", "50.0", "0.5", "2.4", "2.1", "0.3"],
  ]);
});
