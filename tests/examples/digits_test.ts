import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { SGD } from "@descent/sgd";
import { parseOptions, UsageError } from "../../examples/digits/options.ts";
import {
  assertDraws,
  copyClone,
  deno,
  readCurves,
  readEpochs,
  train,
} from "../support/demo_runs.ts";

const demo = (...args: string[]) => train("demo", ...args);

function epochLines(out: string): string {
  return out.split("\n").filter((line) => line.startsWith("epoch")).join("\n");
}

function readSummary(out: string) {
  const line =
    /^Trained in (\S+) s with backend (\w+); the optimizer took (\S+) ms of it, (\S+) %$/m;
  const [, seconds, backend, ms, share] = out.match(line) ?? [];
  return { seconds: Number(seconds), backend, ms: Number(ms), share: Number(share) };
}

const AUTO = new SGD([{ data: new Float32Array(1), grad: null }], { lr: 1 }).backend;

for (
  const [args, backend] of [
    [[], AUTO],
    [["--sign"], AUTO],
    [["--backend", "js"], "js"],
  ] as const
) {
  Deno.test(`deno task demo ${args.join(" ")} recognizes 96 % and draws what it printed`, async () => {
    const { out, svg } = await demo(...args);
    const { loss, testLoss, accuracy } = readEpochs(out);
    assertEquals(accuracy.length, 30);
    assert(accuracy.at(-1)! >= 96, out);
    assert(loss.at(-1)! < loss[0] / 10, out);
    const summary = readSummary(out);
    assertEquals(summary.backend, backend);
    assert(summary.seconds > 0 && summary.seconds < 60, out);
    assert(summary.ms > 0 && summary.share > 0 && summary.share < 100, out);
    assert(
      Math.abs(summary.ms / summary.seconds / 10 - summary.share) < 0.02 * summary.share + 0.1,
    );
    const [lossCurve, testLossCurve, accuracyCurve, ...rest] = readCurves(svg);
    assertEquals(rest, []);
    assertDraws(lossCurve, loss.map(Math.log));
    assertDraws(testLossCurve, testLoss.map(Math.log));
    assertDraws(accuracyCurve, accuracy);
    for (const text of ["training loss", "test loss", "test accuracy", "epoch"]) {
      assert(svg.includes(`>${text}<`), `the picture says "${text}"`);
    }
  });
}

Deno.test("a seed gives the same run each time, and another seed another one", async () => {
  const [first, again, other] = [
    await demo("--epochs", "3", "--seed", "5"),
    await demo("--epochs", "3", "--seed", "5"),
    await demo("--epochs", "3", "--seed", "6"),
  ];
  assertEquals(readEpochs(first.out).loss.length, 3);
  assertEquals(epochLines(again.out), epochLines(first.out));
  assertEquals(again.svg, first.svg);
  const all = [readEpochs(first.out), readEpochs(other.out)];
  assert(all[0].loss.every((loss, i) => loss !== all[1].loss[i]), other.out);
});

Deno.test("every option changes the numbers", async () => {
  const variants = [
    [],
    ["--lr", "0.05"],
    ["--momentum", "0.5"],
    ["--nesterov"],
    ["--weight-decay", "0.01"],
    ["--sign"],
    ["--sign", "--lr", "0.002"],
    ["--batch", "48"],
  ];
  const runs = [];
  for (const args of variants) runs.push(epochLines((await demo("--epochs", "1", ...args)).out));
  assertEquals(new Set(runs).size, variants.length, runs.join("\n"));
});

Deno.test("unknown options and invalid values are refused by name", () => {
  const cases: [string[], string][] = [
    [["--lr"], "Cannot read --lr as its value is missing"],
    [["--lr", "fast"], "Cannot set --lr as it must be a number: current value is fast"],
    [["--lr", " "], "Cannot set --lr as it must be a number"],
    [["--epochs", "0"], "Cannot set --epochs as it must be an integer from 1 to 10000"],
    [["--epochs", "2.5"], "current value is 2.5"],
    [["--batch", "0"], "Cannot set --batch"],
    [["--seed=-1"], "Cannot set --seed"],
    [["--seed", "4294967296"], "Cannot set --seed"],
    [["--backend", "gpu"], "Cannot set --backend as it must be auto, cpu or js"],
    [["--plot="], "Cannot read --plot"],
    [["--sign=maybe"], "Cannot read --sign=maybe as it is not an option"],
    [["--learning-rate", "1"], "Cannot read --learning-rate as it is not an option"],
    [["-x"], "Cannot read -x"],
    [["fast"], "Cannot read fast"],
    [["--", "fast"], "Cannot read fast"],
    [["--__proto__", "x"], "Cannot read --__proto__"],
  ];
  for (const [args, message] of cases) {
    assertThrows(() => parseOptions(args), UsageError, message);
  }
});

for (
  const [args, message] of [
    [["--bogus"], /^Cannot read --bogus as it is not an option$/m],
    [["--lr=-1"], /^Cannot set lr as it must be finite and >= 0: current value is -1$/m],
    [["--nesterov", "--momentum", "0"], /^Cannot set nesterov/m],
    [["--lr", "1e6"], /^Cannot continue as the loss is NaN in epoch 1: lower --lr$/m],
    [["--epochs", "1", "--plot", "."], /^Cannot write \.: /m],
  ] as const
) {
  Deno.test(`deno task demo ${args.join(" ")} fails with one clear message`, async () => {
    const { code, err } = await deno(["task", "-q", "demo", ...args]);
    assertEquals(code, 2);
    assertMatch(err, message);
    assert(!/^ +at /m.test(err), err);
  });
}

Deno.test("--help describes every option", async () => {
  const { code, out } = await deno(["task", "-q", "demo", "--help"]);
  assertEquals(code, 0);
  const names = ["lr", "momentum", "nesterov", "weight-decay", "sign", "epochs", "batch", "seed"];
  for (const name of [...names, "backend", "checkpoint", "resume", "plot", "help"]) {
    assertMatch(out, RegExp(`--${name}\\b`));
  }
});

Deno.test("without cargo and kernels the demo prints that in one line and runs on the js backend", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await copyClone(folder);
    const line = `PATH='${folder}/none' deno task demo --epochs 12`;
    const { code, out, err } = await deno(["task", "-q", "--eval", line], {}, folder);
    assertEquals(code, 0, err);
    assertMatch(out, /^cargo is not installed: .*js backend/);
    assertEquals(out.match(/cargo/g)?.length, 1);
    assertEquals(readSummary(out).backend, "js");
    assert(readEpochs(out).accuracy.at(-1)! >= 96, out);
    assert(!err.includes("cargo'"), err);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
