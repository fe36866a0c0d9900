/** Two machines, played by two network namespaces of Linux with a cable between them that is cut. */

import { assert, assertMatch, assertStringIncludes } from "@std/assert";
import { basename } from "node:path";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { type Machines, openMachines, whyNoMachines } from "../../bench/mpi/machines.ts";
import { temporaryFolder } from "../publish/stage.ts";
import { testOn } from "./jobs.ts";

const ROOT = new URL("../../", import.meta.url);
const CONFIG = fromFileUrl(new URL("deno.json", ROOT));

/** The ranks' own deadline. */
const TIMEOUT = 3000;

/** How long all ranks may take to end once the network is cut, in milliseconds: as in other tests. */
const MOST = 5000;

/** What rank 0, which is on the machine of the launcher, says just before. */
const CUT = "the network is cut";

const PROGRAM = `
import { SGD } from "${new URL("mod.ts", ROOT)}";
import { openWorld } from "${new URL("mpi.ts", ROOT)}";
using world = openWorld({ timeout: ${TIMEOUT} });
const w = { data: new Float32Array(100_000), grad: new Float32Array(100_000) };
const optimizer = new SGD([w], { lr: 1, momentum: 0.5, world });
if (world.localSize !== 1) throw new Error("the ranks are on one machine");
for (let i = 0; i < 1000; i++) {
  if (i === 5 && world.rank === 0) console.error("${CUT}");
  if (i === 5 && world.rank === 1) {
    new Deno.Command("ip", { args: ["link", "set", "cable-1", "down"] }).outputSync();
  }
  optimizer.step();
}
`;

const MESSAGE =
  /Cannot step as rank \d has not answered rank \d for 3 s, the timeout of the world, at step \d: all ranks/;

/** What Open MPI prints if it loses a machine before the ranks' deadline. */
const LOST = /ORTE has lost communication with a remote daemon/;

/** Lets `mpirun` notice within 3 seconds that a machine does not answer. */
const KEEPALIVE = ["time", "intvl", "probes"].flatMap((name) => [
  ...["--mca", `oob_tcp_keepalive_${name}`, "1"],
]);

function mpich({ hosts, agent }: Machines): string[] {
  const hydra = ["-launcher", "ssh", "-launcher-exec", agent, "-hosts", hosts.join()];
  return ["mpiexec.mpich", ...hydra, "-n", "2"];
}

function openMpi({ hosts, agent, network }: Machines): string[] {
  const place = ["--host", hosts.join(), "--mca", "plm_rsh_agent", agent];
  const cards = ["btl_tcp_if_include", "oob_tcp_if_include"]
    .flatMap((name) => ["--mca", name, network]);
  return ["mpirun.openmpi", "--allow-run-as-root", ...place, ...cards, "-n", "2"];
}

/** Starts the program on two machines, and collects what it prints as errors. */
function startJob(machines: Machines, launcher: readonly string[], program: string) {
  const deno = [Deno.execPath(), "run", "-A", "--no-check", "--config", CONFIG, program];
  const [command, ...args] = [...machines.enter(0), ...launcher, ...deno];
  const child = new Deno.Command(command, {
    ...{ args, env: { NO_COLOR: "1", UCX_TLS: "tcp,self", TMPDIR: machines.folder } },
    ...{ stdin: "null", stdout: "null", stderr: "piped" },
  }).spawn();
  let [text, cut] = ["", performance.now()];
  const reading = (async () => {
    for await (const part of child.stderr.pipeThrough(new TextDecoderStream())) {
      if (part.includes(CUT)) cut = performance.now();
      text += part;
    }
  })();
  /** Milliseconds since the network has been cut. */
  const since = () => performance.now() - cut;
  return { child, reading, text: () => text, since };
}

/** Runs a test with two machines, which are gone after it, and after 20 seconds. */
async function onMachines(test: (machines: Machines, program: string) => Promise<void>) {
  await using folder = await temporaryFolder();
  const program = join(folder.path, "program.ts");
  await Deno.writeTextFile(program, PROGRAM);
  using machines = openMachines();
  const timer = setTimeout(() => machines[Symbol.dispose](), 20_000);
  try {
    await test(machines, program);
  } finally {
    clearTimeout(timer);
  }
}

const obstacle = whyNoMachines();

for (
  const [engine, launcher, message] of [
    ["MPICH", mpich, MESSAGE],
    [
      "Open MPI",
      (machines: Machines) => [...openMpi(machines), ...KEEPALIVE],
      new RegExp(`${MESSAGE.source}|${LOST.source}`),
    ],
  ] as const
) {
  testOn(
    engine,
    "a network that is cut ends the job with a message",
    () =>
      onMachines(async (machines, program) => {
        const job = startJob(machines, launcher(machines), program);
        const { code } = await job.child.status;
        await job.reading;
        const milliseconds = job.since();
        assert(code !== 0);
        assertMatch(job.text(), message);
        assertStringIncludes(job.text(), CUT);
        assert(milliseconds < MOST, `it took ${milliseconds} ms`);
      }),
    obstacle,
  );
}

testOn(
  "Open MPI",
  "a network that is cut ends all ranks, also if mpirun waits",
  () =>
    onMachines(async (machines, program) => {
      const job = startJob(machines, openMpi(machines), program);
      const deno = basename(Deno.execPath());
      while (!MESSAGE.test(job.text()) || machines.programs().includes(deno)) {
        const milliseconds = job.since();
        assert(milliseconds < MOST, `after ${milliseconds} ms: ${job.text()}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      assertStringIncludes(job.text(), CUT);
      machines[Symbol.dispose]();
      await job.child.status;
      await job.reading;
    }),
  obstacle,
);
