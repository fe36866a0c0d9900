/** A process that is alone, or only seems to be. */

import { assertMatch } from "@std/assert";
import { fromFileUrl } from "@std/path/from-file-url";
import { join } from "@std/path/join";
import { cpuMissing } from "../support/backends.ts";
import { temporaryFolder } from "../publish/stage.ts";

const ROOT = new URL("../../", import.meta.url);
const CONFIG = fromFileUrl(new URL("deno.json", ROOT));

const PROGRAM = `
import { SGD } from "${new URL("mod.ts", ROOT)}";
import { openWorld } from "${new URL("mpi.ts", ROOT)}";
using world = openWorld();
const w = { data: new Float32Array(2), grad: new Float32Array(2).fill(1) };
const optimizer = new SGD([w], { lr: 1, world });
optimizer.step();
console.log([world.rank, world.size, world.engine, optimizer.backend, ...w.data].join());
`;

/** What launchers set, and the library: emptied, so that a test within a job is alone too. */
const NOTHING = {
  ...{ OMPI_COMM_WORLD_SIZE: "", OMPI_COMM_WORLD_RANK: "", PMIX_RANK: "", PRTE_LAUNCHED: "" },
  ...{ PMI_SIZE: "", PMI_RANK: "", PMI_FD: "", MPI_LOCALNRANKS: "", SLURM_PROCID: "" },
};

/** The native library may not be opened. */
const WITHOUT = ["--allow-read", "--allow-env"];

async function run(env: Readonly<Record<string, string>>, flags = ["--allow-all"]) {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "program.ts");
  await Deno.writeTextFile(file, PROGRAM);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "--no-prompt", ...flags, "--config", CONFIG, file],
    env: { NO_COLOR: "1", ...NOTHING, ...env },
  }).output();
  return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
}

Deno.test("without the native library a process without a launcher is alone, on the backend js", async () => {
  assertMatch(await run({}, WITHOUT), /^0,1,none,js,-1,-1$/m);
  assertMatch(await run({ PMI_SIZE: "1", PMI_RANK: "0" }, WITHOUT), /^0,1,none,js,-1,-1$/m);
});

Deno.test("without the native library a launcher is an error, also one that cannot be known", async () => {
  const launched = await run({ PMI_SIZE: "2", PMI_RANK: "0" }, WITHOUT);
  assertMatch(launched, /WorldUnavailableError: .* a launcher has started this process, and /);
  const unknown = await run({}, ["--allow-read"]);
  assertMatch(
    unknown,
    /WorldUnavailableError: .* not known without --allow-env=PMIX_RANK,PMI_RANK, and/,
  );
});

Deno.test({
  name: "a rank that srun does not connect with the others is an error",
  ignore: cpuMissing !== null,
  async fn() {
    const ranks = [await run({ SLURM_PROCID: "0" }), await run({ SLURM_PROCID: "2" })];
    assertMatch(ranks[0], /^0,1,none,/m);
    assertMatch(ranks[1], /WorldError: .* srun has started this process as rank 2 .*--mpi=pmix/);
  },
});
