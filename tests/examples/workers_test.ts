/** The data-parallel example: workers have the numbers of one thread that computes all shares. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { deno, readEpochs } from "../support/demo_runs.ts";

async function runDemo(...args: string[]): Promise<string> {
  const { code, out, err } = await deno(["task", "-q", "demo:workers", ...args]);
  assertEquals(code, 0, err);
  return out;
}

/** The lines of the epochs, without those of the build. */
const linesOf = (out: string) => out.split("\n").filter((line) => line.startsWith("epoch"));

for (const workers of ["2", "3"]) {
  Deno.test(`${workers} workers have the losses of one thread, digit for digit`, async () => {
    const options = ["--workers", workers, "--epochs", "3"];
    const [apart, alone] = [await runDemo(...options), await runDemo(...options, "--alone")];
    assertEquals(linesOf(apart), linesOf(alone));
    const { loss } = readEpochs(apart);
    assertEquals(loss.length, 3);
    assert(loss[2] < loss[0] / 2, apart);
  });
}

Deno.test("two workers train the digits to 96 %", async () => {
  const { accuracy } = readEpochs(await runDemo());
  assertEquals(accuracy.length, 10);
  assert(accuracy.at(-1)! >= 96, `${accuracy}`);
});

Deno.test("the options are described, and wrong ones are refused", async () => {
  const help = await runDemo("--help");
  for (const name of ["workers", "alone", "epochs", "help"]) {
    assertStringIncludes(help, `--${name}`);
  }
  for (
    const [args, text] of [
      [["--workers", "0"], "Cannot set --workers as it must be an integer from 1 to 32"],
      [["--epochs", "x"], "Cannot set --epochs as it must be an integer"],
      [["--worker", "2"], "Cannot read --worker as it is not an option"],
    ] as const
  ) {
    const { code, err } = await deno(["task", "-q", "demo:workers", ...args]);
    assertEquals(code, 2);
    assertStringIncludes(err, text);
  }
});
