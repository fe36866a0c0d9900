/** Saves of all ranks: when they are over, what the others hear of a failure, and jobs that end during one. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { runJob, testOn } from "./jobs.ts";

const IMPORTS = `import { loadState, saveState } from "${new URL(
  "../../mod.ts",
  import.meta.url,
)}";`;

/** Makes an optimizer; with votes, its momentum after `n` steps is `n` times the number of the rank from 1. */
const make = (exchange: string, length: number, timeout = 60_000) => `
  ${IMPORTS}
  using world = openWorld({ timeout: ${timeout} });
  const { rank } = world;
  const create = () => {
    const w = { name: "w", data: new Float32Array(${length}), grad: new Float32Array(${length}) };
    const options = { lr: 1, momentum: 1, sign: ${exchange === "signs"}, world };
    return { w, optimizer: new SGD([w], { ...options, exchange: "${exchange}" }) };
  };
  const { w, optimizer } = create();
  w.grad.fill(1 + rank);
  const told = async (name, body) => {
    try { say(name + ": " + ((await body()) ?? "done")); }
    catch (error) { say(name + ": " + error.name + ": " + error.message); }
  };
`;

const onRename = (rank: number, body: string) =>
  `if (rank === ${rank}) Deno.rename = async (from, to) => { ${body} };`;

/** Points of a save at which a rank is killed, and whether the new state counts then. */
const KILLS: readonly { name: string; code: string; isNew: boolean; isQuick?: true }[] = [
  { name: "the first save", code: "", isNew: true, isQuick: true },
  { name: "rank 0 writes", code: "if (rank === 0) options.onProgress = kill;", isNew: false },
  { name: "rank 1 writes", code: "if (rank === 1) options.onProgress = kill;", isNew: false },
  {
    name: "rank 1 has written",
    code: onRename(1, "await rename(from, to); kill();"),
    isNew: false,
  },
  { name: "all have written", code: onRename(0, "kill();"), isNew: false },
  {
    name: "rank 0 has replaced its file",
    code: onRename(0, "await rename(from, to); kill();"),
    isNew: true,
  },
  {
    name: "rank 1 replaces its file",
    code: onRename(1, 'to.endsWith("rank-1") ? kill() : await rename(from, to);'),
    isNew: true,
    isQuick: true, // Open MPI takes a second to end the others
  },
  { name: "a whole save", code: "", isNew: true },
  { name: "the last save", code: "", isNew: true, isQuick: true },
];

/** Runs a test with a folder of its own. */
async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const engine of ["Open MPI", "MPICH"] as const) {
  testOn(
    engine,
    "a save that takes longer than the timeout ends when the file is there",
    () =>
      inFolder(async (folder) => {
        const ending = await runJob(
          engine,
          2,
          `${make("shards", 100_000, 1000)}
        optimizer.step();
        const { write } = Deno.FsFile.prototype;
        Deno.FsFile.prototype.write = async function (bytes) {
          await pause(2000);
          return await write.call(this, bytes);
        };
        let ticks = 0;
        setInterval(() => ticks++, 50);
        const saving = saveState("${folder}/state", optimizer);
        await told("step", () => optimizer.step());
        await saving.catch((error) => say(error.message));
        ticks = 0;
        const again = saveState("${folder}/state", optimizer);
        if (rank === 1) optimizer.resetState(); // what the others save stays
        await again;
        say(Deno.statSync("${folder}/state").size > 400_000);
        say(ticks >= 20);
        const { state } = await loadState("${folder}/state");
        say(state[0].momentum_buffer.every((value) => value === 1.5));
        world.barrier();
        Deno.exit(0);`,
        );
        const step = "step: Error: Cannot step as the state is being saved: await saveState first";
        for (const out of ending.out) {
          const [stepped, failed, ...rest] = out.split("\n");
          assertEquals([stepped, ...rest], [step, "true", "true", "true"], ending.err);
          assertMatch(failed, /as the optimizer has stepped meanwhile: await saveState/);
        }
      }),
  );

  testOn(
    engine,
    "a rank that cannot save is named on all ranks, which go on with the old files",
    () =>
      inFolder(async (folder) => {
        const ending = await runJob(
          engine,
          2,
          `${make("shards", 10)}
        for (const exchange of ["shards", "signs"]) {
          const path = "${folder}/" + exchange;
          const w = { name: "w", data: new Float32Array(5000), grad: new Float32Array(5000).fill(1) };
          const sign = exchange === "signs";
          const optimizer = new SGD([w], { lr: 1, momentum: 1, sign, world, exchange });
          optimizer.step();
          await saveState(path, optimizer);
          const broken = sign ? 1 : 0;
          await told("folder", () => saveState(rank === broken ? "${folder}/no/a" : path, optimizer));
          const metadata = rank === broken ? { format: "mine" } : {};
          await told("metadata", () => saveState(path, optimizer, { metadata }));
          await told("progress", () => saveState(path, optimizer, {
            onProgress() { if (rank === broken) throw new RangeError("enough"); },
          }));
          optimizer.step();
          optimizer.loadStateDict(await loadState(path, { world }));
          say(optimizer.stateDict().state[0].momentum_buffer.every((value) => value === 1));
        }
        say([...Deno.readDirSync("${folder}")].map(({ name }) => name).sort());`,
        );
        for (const [rank, out] of ending.out.entries()) {
          const lines = out.split("\n");
          for (const [at, broken] of [0, 1].entries()) {
            const [folder, metadata, progress, isOld] = lines.slice(4 * at);
            const failed = `CheckpointError: Cannot save the state as rank ${broken} has failed: `;
            assert(folder.startsWith(`folder: ${failed}Cannot save `), `${folder} ${ending.err}`);
            const own = rank === broken;
            assert(metadata.startsWith(`metadata: ${own ? "TypeError: " : failed}`), metadata);
            const expected = `progress: ${own ? "" : failed}RangeError: enough`;
            assertEquals([progress, isOld], [expected, "true"]);
          }
          assertEquals(lines.slice(8), ["shards,signs,signs.rank-1"]);
        }
      }),
  );

  testOn(
    engine,
    "rank 0 writes what the others send as if it had all of it",
    () =>
      inFolder(async (folder) => {
        const ending = await runJob(
          engine,
          3,
          `import { Buffer } from "node:buffer";
        import { BFloat16Array } from "@descent/sgd";
        ${make("shards", 1)}
        const settings = [
          { momentumBits: 8 }, { masterWeights: true }, { masterWeights: "split", momentumBits: 8 },
          { masterWeights: "split24" },
        ];
        for (const [i, setting] of settings.entries()) {
          for (const exchange of ["gradients", "shards"]) {
            // Files are written in pieces of 4 MiB, which end within tensors.
            const params = [2_500_001, 63, 5000, 4097, 1].map((length) => ({
              data: new BFloat16Array(new Uint16Array(length).map((_, i) => 16_000 + i % 999)),
              grad: new Float32Array(length).map((_, i) => i % 7 - 3 + rank),
            }));
            const sgd = new SGD(params, { lr: 0.1, momentum: 0.9, ...setting, world, exchange });
            sgd.step();
            sgd.step();
            const path = "${folder}/" + exchange;
            if (rank === 0 || exchange === "shards") await saveState(path, sgd);
          }
          const [a, b] = ["gradients", "shards"].map((name) => Deno.readFileSync("${folder}/" + name));
          say(i + " " + (a.length > 2_500_001) + " " + (Buffer.compare(a, b) === 0));
        }`,
        );
        const expected = [0, 1, 2, 3].map((i) => `${i} true true`).join("\n");
        assertEquals(ending.out, [expected, expected, expected], ending.err);
      }),
  );

  testOn(
    engine,
    "rank 0 alone writes the weights of ranks that vote",
    () =>
      inFolder(async (folder) => {
        const ending = await runJob(
          engine,
          2,
          `${make("signs", 3)}
        optimizer.step();
        const path = "${folder}/" + (rank === 0 ? "weights" : "no/weights");
        await saveState(path, optimizer, { parameters: true, state: false });
        say([...Deno.readDirSync("${folder}")].map(({ name }) => name));`,
        );
        assertEquals(ending.out, ["weights", "weights"], ending.err);
      }),
  );

  testOn(
    engine,
    "a rank that has had the momentum of all keeps that of its part",
    () =>
      inFolder(async (folder) => {
        const length = 8_000_000;
        const ending = await runJob(
          engine,
          2,
          `${make("shards", length)}
          const resident = async () => {
            for (let i = 0; i < 3; i++) { await pause(20); gc(); }
            const status = Deno.readTextFileSync("/proc/self/status");
            return 1024 * Number(/^RssAnon:\\s+(\\d+) kB$/m.exec(status)[1]);
          };
          optimizer.step();
          const before = await resident();
          const sayMore = async () => say(await resident() - before);
          let most = 0;
          await saveState("${folder}/state", optimizer, {
            onProgress() {
              const status = Deno.readTextFileSync("/proc/self/status");
              most = Math.max(most, 1024 * Number(/^RssAnon:\\s+(\\d+) kB$/m.exec(status)[1]));
            },
          });
          say(most - before);
          optimizer.stateDict();
          optimizer.step();
          await sayMore();
          optimizer.loadStateDict(await loadState("${folder}/state"));
          optimizer.step();
          await sayMore();`,
          { DENO_V8_FLAGS: "--expose-gc", MALLOC_MMAP_THRESHOLD_: "131072" },
        );
        for (const out of ending.out) {
          const more = out.split("\n").map(Number);
          assertEquals(more.length, 3, ending.err);
          for (const bytes of more) assert(bytes < 4 * length / 4, `${more} bytes more`);
        }
      }),
    Deno.build.os === "linux" ? null : "it needs Linux, which counts resident pages",
  );

  testOn(
    engine,
    "a job that is killed at any point of a save leaves the files of one whole save",
    () =>
      inFolder(async (folder) => {
        let saved = 0; // the steps whose state there is
        const kills = engine === "MPICH" ? KILLS : KILLS.filter(({ isQuick }) => isQuick);
        for (const { name, code, isNew } of kills) {
          const ending = await runJob(
            engine,
            2,
            `${make("signs", 5000)}
          const path = "${folder}/state";
          if (${saved} > 0) optimizer.loadStateDict(await loadState(path, { world }));
          say((optimizer.state.get(w).momentumBuffer?.[0] ?? 0) / (1 + rank));
          optimizer.step();
          const { rename } = Deno;
          const kill = () => Deno.kill(Deno.pid, "SIGKILL");
          const options = {};
          ${code}
          await saveState(path, optimizer, options);`,
          );
          assertEquals(ending.out, [`${saved}`, `${saved}`], `before "${name}": ${ending.err}`);
          assertEquals(ending.code === 0, code === "", `${name}: ${ending.err}`);
          if (isNew) saved++;
        }
        const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
        assertEquals(names, ["state", "state.rank-1"]);
      }),
  );
}
