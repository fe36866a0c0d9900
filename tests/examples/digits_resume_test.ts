/** The demo stops and resumes: `--checkpoint` and `--resume`. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { saveState } from "@descent/sgd";
import type { ParamGroupStateDict } from "@descent/sgd";
import { loadRun } from "../../examples/digits/checkpoint.ts";
import { UsageError } from "../../examples/digits/options.ts";

const ROOT = new URL("../..", import.meta.url);

function demo(...args: string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", "--no-check", "examples/digits.ts", ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  });
}

async function run(...args: string[]) {
  const { code, stdout, stderr } = await demo(...args).output();
  const decoder = new TextDecoder();
  const out = decoder.decode(stdout);
  return { code, out, lines: epochs(out), err: decoder.decode(stderr) };
}

function epochs(out: string): string[] {
  return out.split("\n").filter((line) => line.startsWith("epoch"));
}

function backendOf(out: string): string | undefined {
  return out.match(/, backend (\w+)$/m)?.[1];
}

/** Kills the demo once it has printed so many epochs. */
async function interrupt(after: number, ...args: string[]): Promise<void> {
  const child = demo(...args).spawn();
  let out = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    out += text;
    if (epochs(out).length >= after) break;
  }
  child.kill("SIGKILL");
  await child.stderr.cancel();
  assertEquals((await child.status).signal, "SIGKILL", "it must not have come to its end");
}

for (const options of [["--nesterov"], ["--sign", "--backend", "js"]]) {
  Deno.test(`a killed demo (${options.join(" ")}) resumes and reaches the same final loss, digit for digit`, async () => {
    const folder = await Deno.makeTempDir();
    const file = `${folder}/new/run.safetensors`;
    const all = [...options, "--seed", "7", "--epochs", "40"];
    const straight = await run(...all, "--plot", `${folder}/straight.svg`);
    assertEquals(straight.lines.length, 40);
    await interrupt(3, ...all, "--checkpoint", file, "--plot", `${folder}/none.svg`);
    await interrupt(2, "--resume", file, "--checkpoint", file);
    const resumed = await run("--resume", file, "--plot", `${folder}/resumed.svg`);
    assertEquals(resumed.code, 0, resumed.err);
    assertEquals(backendOf(resumed.out), backendOf(straight.out));
    assert(resumed.lines.length > 0 && resumed.lines.length <= 37, resumed.lines.join("\n"));
    assertEquals(resumed.lines, straight.lines.slice(-resumed.lines.length));
    assertEquals(
      await Deno.readTextFile(`${folder}/resumed.svg`),
      await Deno.readTextFile(`${folder}/straight.svg`),
    );
    await Deno.remove(folder, { recursive: true });
  });
}

Deno.test("a resumed demo names the options that it does not take", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/run`;
  const plot = ["--plot", `${folder}/a.svg`];
  const first = await run("--epochs", "1", "--lr", "0.05", "--checkpoint", file, ...plot);
  assertEquals(first.code, 0, first.err);
  const cases: [string[], RegExp][] = [
    [
      ["--lr", "0.1"],
      /^Cannot set --lr as the run in .* continues with 0.05: current value is 0.1$/m,
    ],
    [["--seed", "2"], /^Cannot set --seed as .* continues with 1: current value is 2$/m],
    [["--nesterov"], /^Cannot set --nesterov as .* continues with false: current value is true$/m],
    [
      ["--epochs", "1"],
      /^Cannot resume .* as it has had 1 epochs: --epochs must be more, and is 1$/m,
    ],
    [["--resume", `${folder}/none`], /^Cannot resume .* as there is no such file$/m],
    [["--resume", `${folder}/a.svg`], /^Cannot load .*a\.svg: Cannot read the checkpoint/m],
    [["--checkpoint", folder, "--epochs", "2"], /^Cannot save .*: it is a directory$/m],
  ];
  for (const [args, message] of cases) {
    const { code, err } = await run("--resume", file, ...args, ...plot);
    assertEquals(code, 2, err);
    assertMatch(err, message);
  }
  const over = await run("--resume", file, ...plot);
  assertEquals([over.code, over.lines.length], [0, 0], over.err);
  assertMatch(
    over.out,
    /^The run in .* has completed all of its 1 epochs: a higher --epochs continues/,
  );
  const same = await run("--resume", file, "--lr", "0.05", "--epochs", "2", ...plot);
  assertEquals([same.code, same.lines.length], [0, 1], same.err);
  const js = await run("--resume", file, "--backend", "js", "--epochs", "2", ...plot);
  assertEquals([js.code, backendOf(js.out), js.lines], [0, "js", same.lines], js.err);
  await Deno.remove(folder, { recursive: true });
});

const RESULT = { epoch: 1, trainLoss: 1, testLoss: 1, testAccuracy: 0.5 };
const NOTES = { seed: 1, batch: 32, epochs: 2, backend: "js", history: [RESULT] };
const FOREIGN: (string | undefined)[] = [
  undefined,
  "not json",
  "null",
  "[]",
  "{}",
  ...[
    { seed: -1 },
    { batch: 0 },
    { epochs: 1.5 },
    { backend: "gpu" },
    { history: {} },
    { history: [] },
    { history: [null] },
    { history: [{ ...RESULT, epoch: 2 }] },
    { history: [{ ...RESULT, testLoss: "1" }] },
  ].map((change) => JSON.stringify({ ...NOTES, ...change })),
];
const GROUP = { lr: 0.1, momentum: 0.9, dampening: 0, weight_decay: 0, params: [] };

Deno.test("notes that are not the demo's own are refused", async () => {
  const path = await Deno.makeTempFile();
  const save = (digits: string | undefined, param_groups: ParamGroupStateDict[]) =>
    saveState(path, {
      state: {},
      param_groups,
      ...(digits === undefined ? {} : { metadata: { digits } }),
    });
  const message = `Cannot resume ${path} as it is not a checkpoint of the demo`;
  for (const digits of FOREIGN) {
    await save(digits, [GROUP]);
    await assertRejects(() => loadRun(path), UsageError, message);
  }
  await save(JSON.stringify(NOTES), []);
  await assertRejects(() => loadRun(path), UsageError, message);
  await save(JSON.stringify(NOTES), [GROUP]);
  const { dict: _, ...notes } = await loadRun(path);
  assertEquals(notes, NOTES as typeof notes);
  const { code, err } = await run("--resume", path);
  assertEquals(code, 2, err);
  assertMatch(err, /^Cannot load the parameters as the state dict has none/);
  await Deno.remove(path);
});
