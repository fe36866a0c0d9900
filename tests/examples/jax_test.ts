/** The example with jax-js: it learns, and a run that was stopped resumes with the same numbers. */

import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path/join";
import { ROOT, temporaryFolder } from "../publish/stage.ts";
import { deno } from "../support/demo_runs.ts";

const JAX = "npm:@jax-js/jax@0.1.25";

const fetched = await deno(["cache", JAX]);
const noJax = fetched.code === 0
  ? null
  : `jax-js cannot be fetched: ${fetched.err.trim().split("\n")[0]}`;
const adapter = await navigator.gpu?.requestAdapter() ?? null;
const noAdapter = adapter === null ? "WebGPU finds no adapter" : noJax;

function test(name: string, reason: string | null, fn: () => Promise<void>): void {
  Deno.test({
    name: reason === null ? name : `${name} (skipped: ${reason})`,
    ignore: reason !== null,
    fn,
  });
}

async function runExample(...args: string[]): Promise<string[]> {
  const { code, out, err } = await deno(["run", "-q", "-A", "examples/jax_digits.ts", ...args]);
  assertEquals(code, 0, err);
  return out.trim().split("\n");
}

function lossesOf(lines: readonly string[]): [train: number, test: number][] {
  return lines.map((line, i) => {
    const [, epoch, train, test] = line.match(/^epoch (\d+)\/10 {2}loss (\S+) {2}test (\S+)$/)!;
    assertEquals(Number(epoch), i + 1);
    return [Number(train), Number(test)];
  });
}

/** Starts the example, and kills it after some epochs. */
async function runUntil(epochs: number, ...args: string[]): Promise<void> {
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", "examples/jax_digits.ts", ...args],
    cwd: ROOT,
    stdout: "piped",
  }).spawn();
  let text = "";
  for await (const part of process.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.split("\n").length > epochs + 1) break; // the file has so many epochs at least
  }
  process.kill("SIGKILL");
  await process.status;
}

async function learns(...flags: string[]): Promise<[train: number, test: number][]> {
  await using folder = await temporaryFolder();
  const lines = await runExample(...flags, join(folder.path, "whole.safetensors"));
  const losses = lossesOf(lines);
  assertEquals(losses.length, 10);
  assert(losses[9][0] < 0.06 && losses[9][1] < 0.15, `${losses}`);
  const path = join(folder.path, "parts.safetensors");
  await runUntil(3, ...flags, path);
  const rest = await runExample(...flags, path);
  assert(rest.length < 8 && rest.length > 0, `${rest}`);
  assertEquals(rest, lines.slice(-rest.length));
  return losses;
}

test("examples/jax_digits.ts learns on WebAssembly, and resumes from its file", noJax, async () => {
  await learns();
});

test(
  "examples/jax_digits.ts --webgpu learns alike on the device of jax-js",
  noAdapter,
  async () => {
    const [onDevice, onHost] = [await learns("--webgpu"), await learns()];
    onDevice.flat().forEach((loss, i) => {
      assert(Math.abs(loss - onHost.flat()[i]) < 1e-3, `${onDevice}\n${onHost}`);
    });
  },
);
